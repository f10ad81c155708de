#!/usr/bin/env bash
# gpu_test.sh [FOLDER]: runs the GPU test binaries that were built before (build/dev/tests/cuda), with
# no need of cmake; then compute-sanitizer over the list of gpu_sanitize.sh where that is installed. Fails
# if there is no GPU, since a run that skips everything would prove nothing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${1:-$here/../build/dev/tests/cuda}
if ! [[ -e /dev/nvidia0 ]] && ! nvidia-smi -L >/dev/null 2>&1; then
  echo "gpu_test.sh: no GPU on this machine" >&2
  exit 2
fi
shopt -s nullglob
tests=()
for file in "$folder"/*_test; do [[ -x $file ]] && tests+=("$file"); done
((${#tests[@]})) || { echo "gpu_test.sh: no test binaries in $folder" >&2; exit 2; }

status=0
export LOWBIT_SOURCE=${here%/*}
for test in "${tests[@]}"; do
  "$test" --gtest_brief=1 || status=1
done
if command -v compute-sanitizer >/dev/null || [[ -x /usr/local/cuda/bin/compute-sanitizer ]]; then
  "$here/gpu_sanitize.sh" "$folder" || status=1
else
  echo "compute-sanitizer: skipped, it is not installed"
fi
exit $status
