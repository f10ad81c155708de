#!/usr/bin/env bash
# gpu_test.sh [FOLDER]: runs the GPU test binaries that were built before (build/dev/tests/cuda), with
# no need of cmake; then again under compute-sanitizer's memcheck where that is installed. Fails if
# there is no GPU, since a run that skips everything would prove nothing.
set -euo pipefail
folder=${1:-$(dirname "${BASH_SOURCE[0]}")/../build/dev/tests/cuda}
sanitizer=$(command -v compute-sanitizer || true)
[[ -n $sanitizer || ! -x /usr/local/cuda/bin/compute-sanitizer ]] ||
  sanitizer=/usr/local/cuda/bin/compute-sanitizer
if ! [[ -e /dev/nvidia0 ]] && ! nvidia-smi -L >/dev/null 2>&1; then
  echo "gpu_test.sh: no GPU on this machine" >&2
  exit 2
fi
shopt -s nullglob
tests=()
for file in "$folder"/*_test; do [[ -x $file ]] && tests+=("$file"); done
((${#tests[@]})) || { echo "gpu_test.sh: no test binaries in $folder" >&2; exit 2; }

status=0
for test in "${tests[@]}"; do
  "$test" --gtest_brief=1 || status=1
done
if [[ -n $sanitizer ]]; then
  for test in "${tests[@]}"; do
    echo "memcheck: ${test##*/}"
    # Asking for more memory than there is is a test of its own, and an error to the sanitizer; what
    # is about the speed of the GPU is not what it is under it.
    "$sanitizer" --tool memcheck --leak-check full --error-exitcode 1 \
      "$test" --gtest_brief=1 --gtest_filter='-*OutOfMemory*:CudaCeiling.*:CudaProfile.*' || status=1
  done
else
  echo "memcheck: skipped, compute-sanitizer is not installed"
fi
exit $status
