#!/usr/bin/env bash
# Formats all C++ and CUDA files in place; fmt.sh --check only says which ones differ.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
clang_format=${CLANG_FORMAT:-clang-format-14}
if ! "$clang_format" --version 2>/dev/null | grep -q 'version 14\.'; then
  echo "fmt.sh: clang-format 14 is needed (apt-get install clang-format-14): other versions format" \
    "differently" >&2
  exit 2
fi
mapfile -d '' files < <(find src tests -type f \
  \( -name '*.h' -o -name '*.inl' -o -name '*.cc' -o -name '*.cu' -o -name '*.cuh' \) -print0)
if [[ ${1:-} == --check ]]; then
  "$clang_format" --dry-run --Werror "${files[@]}"
else
  "$clang_format" -i "${files[@]}"
fi
