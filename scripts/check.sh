#!/usr/bin/env bash
# Everything that CI asks for beside `./run test`: formatting, layers, sizes, headers, clang-tidy,
# CUDA code, and all tests under ASan and UBSan. Runs every stage, then says which ones failed.
#   scripts/check.sh            all stages
#   scripts/check.sh format layers ...   only these
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
jobs=${LB_JOBS:-$(nproc)}
stages=(format layers sizes scripts headers tidy cuda asan fuzz)
(($#)) && stages=("$@")
bash scripts/need.sh check || exit 2

configured() {  # configured PRESET [-D...]; quiet unless it fails
  local log=build/configure-$1.log
  mkdir -p build
  cmake --preset "$@" >"$log" 2>&1 || { cat "$log"; return 1; }
}
# As `./run test` configures it, so that one build serves both.
dev() { configured dev -D LB_CUDA="${LB_CUDA:-AUTO}" -D LB_WERROR="${LB_WERROR:-OFF}"; }
sanitized() { configured fuzz && cmake --build --preset fuzz -j "$jobs"; }

stage_format() { scripts/fmt.sh --check; }
stage_layers() { python3 scripts/check_layers.py; }
stage_sizes() { python3 scripts/check_sizes.py; }
stage_scripts() {
  for test in tests/scripts/*_test.py; do python3 "$test" || return 1; done
}
stage_headers() { dev && cmake --build --preset dev -j "$jobs" --target header_check; }

# Over what build/dev compiles from src/. Diagnostics that clang and gcc disagree on are off.
stage_tidy() {
  dev && cmake --build --preset dev --target git_commit &&
    run-clang-tidy -quiet -j "$jobs" -p build/dev -extra-arg=-Wno-unknown-warning-option \
      "^$PWD/src/.*\.cc$" >build/tidy.log 2>&1 && echo "clang-tidy: ok" && return 0
  grep -E 'error:|warning:' -A 4 build/tidy.log | tail -n 100
  return 1
}

stage_cuda() {
  dev || return 1
  if ! grep -q 'CUDA backend: on' build/configure-dev.log; then
    echo "skipped: $(grep -h 'CUDA backend' build/configure-dev.log)"
    return 0
  fi
  grep -h 'CUDA backend' build/configure-dev.log
  cmake --build --preset dev -j "$jobs" --target lowbit_cuda
}

stage_asan() {
  sanitized && ctest --preset fuzz -j "$jobs" --output-on-failure
}

stage_fuzz() { sanitized && scripts/fuzz.sh "${LB_FUZZ_SECONDS:-30}"; }

failed=()
for stage in "${stages[@]}"; do
  if ! declare -F "stage_$stage" >/dev/null; then
    echo "check.sh: no stage \`$stage\`; there are: format layers sizes scripts headers tidy cuda" \
      "asan fuzz" >&2
    exit 2
  fi
  echo "== $stage"
  SECONDS=0
  "stage_$stage" || failed+=("$stage")
  echo "== $stage: $SECONDS s"
done
if ((${#failed[@]})); then
  echo "check.sh: failed: ${failed[*]}"
  exit 1
fi
echo "check.sh: ok"
