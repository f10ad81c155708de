#!/usr/bin/env bash
# fuzz.sh [SECONDS [TARGET]]: runs each fuzz target of build/fuzz (built before), SECONDS in all (30).
# Seeds: tests/fuzz/corpus/<target>/; what is found on the way is kept in build/fuzz/corpus/<target>/,
# a failing input in build/fuzz/failures/<target>/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=build/fuzz
shopt -s nullglob
targets=("$folder"/tests/fuzz/fuzz_"${2:-}"*)

runnable=()
for target in "${targets[@]}"; do [[ -f $target && -x $target ]] && runnable+=("$target"); done
if ((${#runnable[@]} == 0)); then
  echo "fuzz.sh: nothing to run: cmake --preset fuzz && cmake --build --preset fuzz" >&2
  exit 2
fi
each=$(((${1:-30} + ${#runnable[@]} - 1) / ${#runnable[@]}))
for target in "${runnable[@]}"; do
  name=${target##*/fuzz_}
  corpora=("$folder/corpus/$name")
  [[ -d tests/fuzz/corpus/$name ]] && corpora+=("tests/fuzz/corpus/$name")
  mkdir -p "$folder/corpus/$name" "$folder/failures/$name"
  echo "fuzz $name: $each s"
  log=$folder/failures/$name.log
  if ! "$target" -max_total_time="$each" -timeout=10 -rss_limit_mb=2048 -max_len=65536 \
    -print_final_stats=1 -artifact_prefix="$folder/failures/$name/" "${corpora[@]}" >"$log" 2>&1; then
    tail -n 60 "$log"
    exit 1
  fi
  grep -E 'number_of_executed_units|new_units_added' "$log"
done
