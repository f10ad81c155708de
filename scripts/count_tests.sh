#!/usr/bin/env bash
# count_tests.sh BUILD_DIR: prints "N passed, N failed, N skipped" for the last ctest run there.
# A GoogleTest binary counts by its cases (test_results/<name>.json); a test that left no such file
# (it crashed, timed out, or is no GoogleTest) counts as one, by ctest's own verdict.
set -euo pipefail
cd "$1"
passed=0 failed=0 skipped=0
cases() { grep -c "$2" "test_results/$1.json" || true; }
while IFS=$'\t' read -r name status; do
  if [[ -s test_results/$name.json ]]; then
    case_failed=$(cases "$name" '"failures": \[')
    case_skipped=$(cases "$name" '"result": "SKIPPED"')
    ran=$(cases "$name" '"result": "COMPLETED"')
    # An error outside the cases (in an environment's tear-down, say) must not be lost.
    [[ $status == fail && $case_failed == 0 ]] && failed=$((failed + 1))
    failed=$((failed + case_failed))
    skipped=$((skipped + case_skipped))
    passed=$((passed + ran - case_failed))
  elif [[ $status == run ]]; then
    passed=$((passed + 1))
  elif [[ $status == notrun || $status == disabled ]]; then
    skipped=$((skipped + 1))
  else
    failed=$((failed + 1))
  fi
done < <(sed -n 's/.*<testcase name="\([^"]*\)".* status="\([^"]*\)".*/\1\t\2/p' junit.xml)
echo "$passed passed, $failed failed, $skipped skipped"
