#!/usr/bin/env bash
# gpu_sanitize.sh [FOLDER] [TOOLS] [SHARDS] [SECONDS]: compute-sanitizer over a list of tests that launches every
# family of kernels with small shapes, from a cuda_test that was built before.
#   FOLDER   holds cuda_test, there or below; build/dev by default
#   TOOLS    of memcheck,racecheck,initcheck,synccheck, which is the default: all at once
#   SHARDS   processes for each tool; by default as many as make one for each CPU
#   SECONDS  after which what still runs is stopped, and has failed; 360 by default
# Prints one line for each tool and, of those that found something, the reports. LOGS=FOLDER keeps all output.
set -uo pipefail
folder=${1:-$(dirname "${BASH_SOURCE[0]}")/../build/dev} tools=${2:-memcheck,racecheck,initcheck,synccheck}
IFS=, read -ra tools <<<"$tools"
shards=${3:-$((($(nproc) + ${#tools[@]} - 1) / ${#tools[@]}))} limit=${4:-360}
export PATH=$PATH:/usr/local/cuda/bin
LOWBIT_SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export LOWBIT_SOURCE

# Codes of every decoder, scales of every kind, 2:4, and what only the generic kernel reads.
formats=(bf16 f16 f32 int1 int1_asym int2 int3 int4 int5 int6 int7 int8 int4_g8 int4_g16_asym int4_g256
  int4_row int8_tensor int2_rzero ternary ternary5 fp8 fp8_e5m2 fp8_b128x128 fp6 fp6_e2m3 fp5 fp5_e3m1
  fp4 fp4_e3m0 fp3 mxfp8 mxfp6 mxfp4 nvfp4 q4_1 q6_k q4_k q2_k tq1_0 qqq int8_24 int4_g128_sym_sf16_24
  fp8_24 int4_24)
tests=(CudaCodes.* CudaOps.* RmsNorm.* CudaQuantize.CodesAndScalesAreThoseOfTheReference
  CudaSample.DrawsTheReferenceTokens CudaSample.DrawsAmongManyEquals
  CudaAttention.MatchesForCachesOfOtherFormats CudaAttention.MatchesForPromptsOfSeveralSequences
  CudaAttention.WritesTheFormatThatWasAskedFor CudaAttention.WithRopeIsRopeAppendThenAttention
  CudaAttention.OfOneTokenOverAShortContextIsRopeAppendThenAttention
  'Tokens/ChainsOnGpu.*' CudaEngine.PromptsOfUpTo32TokensAreReplayed)
for format in "${formats[@]}"; do tests+=("Formats/EveryRowOnGpu.*/*_$format"); done
filter=$(IFS=:; echo "${tests[*]}")

program=$(find "$folder" -name cuda_test -type f -perm -u+x | head -n 1)
[[ -n $program ]] || { echo "gpu_sanitize.sh: no cuda_test in $folder" >&2; exit 2; }
wanted=0
for test in "${tests[@]}"; do
  count=$("$program" --gtest_list_tests --gtest_filter="$test" | grep -c '^  ')
  ((count)) || { echo "gpu_sanitize.sh: $program has no test $test" >&2; exit 2; }
  wanted=$((wanted + count))
done
command -v compute-sanitizer >/dev/null || { echo "gpu_sanitize.sh: compute-sanitizer is not installed" >&2; exit 2; }
if ! [[ -e /dev/nvidia0 ]] && ! nvidia-smi -L >/dev/null 2>&1; then
  echo "gpu_sanitize.sh: no GPU on this machine" >&2
  exit 2
fi
logs=${LOGS:-$(mktemp -d)}
mkdir -p "$logs"

start() {  # start TOOL SHARD
  GTEST_TOTAL_SHARDS=$shards GTEST_SHARD_INDEX=$2 timeout --signal=KILL "$limit" \
    compute-sanitizer --tool "$1" --error-exitcode 9 --print-limit 20 \
    "$program" --gtest_filter="$filter" >"$logs/$1.$2" 2>&1
  echo $? >"$logs/$1.$2.status"
}
SECONDS=0
for tool in "${tools[@]}"; do
  (
    for ((shard = 0; shard < shards; ++shard)); do start "$tool" "$shard" & done
    wait
    echo "$SECONDS" >"$logs/$tool.seconds"
  ) &
done
wait

failed=0
for tool in "${tools[@]}"; do
  passed=$(cat "$logs/$tool".[0-9]* | grep -c '^\[       OK \]') found=""
  for ((shard = 0; shard < shards; ++shard)); do
    log=$logs/$tool.$shard status=$(cat "$logs/$tool.$shard.status")
    ((status == 0)) && continue
    case $status in
      137) found+=$'\n'"  shard $shard: stopped after $limit s in $(grep '^\[ RUN' "$log" | tail -n 1 | cut -c 14-)" ;;
      *) found+=$'\n'"  shard $shard: exit status $status"$'\n'$(grep -E '^=========|FAILED' "$log" | head -n 60) ;;
    esac
  done
  ((passed == wanted)) || found+=$'\n'"  $((wanted - passed)) tests did not pass or were skipped"
  echo "$tool: ${found:+not }clean, $passed tests in $shards processes, $(cat "$logs/$tool.seconds") s$found"
  [[ -z $found ]] || failed=1
done
exit $failed
