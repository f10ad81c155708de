#!/usr/bin/env bash
# gpu_sweep.sh LOWBIT OUT.jsonl [SECONDS] [KEY=VALUE ...]: the sweep of configs/sweeps/gpu-decode.yaml, as far as it
# comes in SECONDS (420 by default). The same command again goes on where it was stopped; the exit status
# is 3 while cases are left. The records then make a report:
#   lowbit report OUT.jsonl ~/.cache/lowbit/roofline.jsonl -o report.html -o report.svg
set -euo pipefail
if (($# < 2)) || ! [[ ${3:-0} =~ ^[0-9]+$ ]]; then
  echo "gpu_sweep.sh: give LOWBIT OUT.jsonl [SECONDS] [KEY=VALUE ...], SECONDS a whole number" >&2
  exit 2
fi
lowbit=$1 out=$2 seconds=${3:-420}
shift $(($# < 3 ? 2 : 3))
config=$(dirname "${BASH_SOURCE[0]}")/../configs/sweeps/gpu-decode.yaml
status=0
# A case that is killed has left no row and runs again; what is finished is on the disk.
timeout --signal=KILL "$seconds" "$lowbit" bench "$config" --resume "out=$out" "$@" || status=$?
if ((status == 137)); then
  echo "gpu_sweep.sh: $(wc -l <"$out") cases are in $out; run this again for the rest" >&2
  exit 3
fi
exit "$status"
