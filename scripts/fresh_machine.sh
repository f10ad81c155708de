#!/usr/bin/env bash
# fresh_machine.sh COMMAND ...: runs a command in a clone of this checkout's last commit on a fresh
# Debian 12: a debootstrap folder (kept for the next time) copied, entered with chroot, thrown away.
#   scripts/fresh_machine.sh ./run test
# Needs root, debootstrap and git; says so and exits 2 elsewhere. LB_FRESH: the folder to work in
# (/tmp/lowbit-fresh); LB_MIRROR: the package mirror.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=${LB_FRESH:-/tmp/lowbit-fresh}
mirror=${LB_MIRROR:-http://deb.debian.org/debian}
(($#)) || { sed -n '2,6s/^# //p' "${BASH_SOURCE[0]}"; exit 2; }
if ((EUID)) || ! command -v debootstrap >/dev/null || ! command -v git >/dev/null; then
  echo "fresh_machine.sh: skipped: needs root, git and debootstrap (apt-get install debootstrap)" >&2
  exit 2
fi
mkdir -p "$work"
if [[ ! -e $work/base.done ]]; then
  rm -rf --one-file-system "$work/base"
  debootstrap --variant=minbase --include=ca-certificates bookworm "$work/base" "$mirror"
  touch "$work/base.done"
fi

machine=$(mktemp -d "$work/machine.XXXXXX")
leave() {
  mountpoint -q "$machine/proc" && umount "$machine/proc"
  mountpoint -q "$machine/proc" || rm -rf --one-file-system "$machine"
}
trap leave EXIT
cp -a "$work/base/." "$machine"
cp /etc/resolv.conf /etc/hosts "$machine/etc/"
# This machine's way to the package mirror: proxies and certificates, not its sources.
cp -r /etc/apt/apt.conf.d/. "$machine/etc/apt/apt.conf.d/"
rm -f "$machine"/etc/apt/apt.conf.d/docker-*
[[ -e /etc/ssl/certs/ca-certificates.crt ]] &&
  cp /etc/ssl/certs/ca-certificates.crt "$machine/etc/ssl/certs/"
git clone -q "$root" "$machine/root/low bit"  # a space in the path must do no harm
mount -t proc proc "$machine/proc"
# shellcheck disable=SC2016  # the inner shell expands these
time env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM:-dumb}" \
  chroot "$machine" bash -c 'cd "/root/low bit" && "$@"' fresh "$@"
