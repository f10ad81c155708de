#!/usr/bin/env bash
# need.sh build|test|check: makes sure that what scripts/packages.txt lists for this stage is there.
# Debian as root: installs what is missing (and asks the network nothing if nothing is). Elsewhere:
# says what to install and exits 2.
set -euo pipefail
stage=$1
list=$(dirname "${BASH_SOURCE[0]}")/packages.txt

folders_of() {  # header: or library:, one folder a line
  local triplet=x86_64-linux-gnu
  case $1 in
    header) printf '%s\n' /usr/include /usr/local/include "/usr/include/$triplet" ;;
    library)
      printf '%s\n' "/usr/lib/$triplet" /usr/lib /usr/lib64 /usr/local/lib /usr/local/lib64
      ls -d /usr/lib/llvm-14/lib/clang/*/lib/linux 2>/dev/null || true
      ;;
  esac
}

present() {  # present <kind> <name>
  [[ $1 == command ]] && { command -v "$2" >/dev/null; return; }
  local folder
  while read -r folder; do
    [[ -e $folder/$2 ]] && return 0
  done < <(folders_of "$1")
  return 1
}

wanted() {  # is a package of column $1 wanted at this stage?
  case $stage in
    build) [[ $1 == build ]] ;;
    test) [[ $1 != check ]] ;;
    check) true ;;
    *) echo "need.sh: unknown stage $stage" >&2; exit 2 ;;
  esac
}

packages=()
proofs=()
while read -r package proof column; do
  [[ $package == \#* || -z $package ]] && continue
  if wanted "$column" && ! present "${proof%%:*}" "${proof#*:}"; then
    packages+=("$package")
    proofs+=("${proof#*:}")
  fi
done <"$list"

system=$(sed -n 's/^ID\(_LIKE\)\?=//p' /etc/os-release 2>/dev/null | tr -d '"' | tr '\n' ' ')
if ((${#packages[@]})); then
  if [[ $system == "debian " && $EUID == 0 ]]; then
    echo "installing: ${packages[*]}" >&2
    {
      apt-get -o Acquire::Retries=3 update -q &&
        DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=3 \
          install -q -y --no-install-recommends "${packages[@]}"
    } >&2 || { echo "apt-get failed: see above" >&2; exit 2; }
  else
    echo "missing: ${proofs[*]}" >&2
    if [[ " $system " == *" debian "* || " $system " == *" ubuntu "* ]]; then
      echo "install with: sudo apt-get install ${packages[*]}" >&2
    else
      echo "install these with your package manager (the Debian packages that hold them are:" \
        "${packages[*]}; libraries are linked statically, so their .a files are needed)" >&2
    fi
    exit 2
  fi
fi

old() { echo "$1 $2 or newer is needed, this is $3: install a newer one (Debian 12 has it)" >&2; exit 2; }
at_least() { [[ $(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1) == "$1" ]]; }
version=$(cmake --version | head -n 1 | grep -o '[0-9][0-9.]*' | head -n 1)
at_least 3.25 "$version" || old CMake 3.25 "$version"
version=$(g++ -dumpfullversion)
at_least 12 "$version" || old g++ 12 "$version"
