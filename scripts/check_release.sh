#!/usr/bin/env bash
# check_release.sh BINARY...: does it run on another x86-64 Linux with glibc 2.36? It may need only
# glibc's own libraries, no symbol newer than that, no debug sections.
set -euo pipefail
status=0
for binary in "$@"; do
  needed=$(objdump -p "$binary" | awk '$1 == "NEEDED" { print $2 }' |
    grep -v -x -E 'libc\.so\.6|libm\.so\.6|ld-linux-x86-64\.so\.2' || true)
  newest=$(objdump -T "$binary" | grep -o 'GLIBC_[0-9.]*' | sort -u -V | tail -n 1)
  if [[ -n $needed ]]; then
    echo "$binary: needs ${needed//$'\n'/ }" >&2
    status=1
  fi
  if [[ $(printf '%s\n' GLIBC_2.36 "$newest" | sort -V | tail -n 1) != GLIBC_2.36 ]]; then
    echo "$binary: needs $newest" >&2
    status=1
  fi
  if objdump -h "$binary" | grep -q ' \.debug_info'; then
    echo "$binary: not stripped" >&2
    status=1
  fi
  echo "$binary: $(stat -c %s "$binary") bytes, newest symbol $newest"
done
exit $status
