# shellcheck shell=sh
# Bare Debian root file systems, for rootfs and scripts/newcomer; POSIX sh, sourced, as root. No mount outlives a command.
#
#   root_make DIR              debootstrap's smallest bookworm; one that is there is taken as it is
#   root_run DIR COMMAND...    COMMAND in it, with /proc, /sys, /dev and the network of this host, and its NIGHTREEL_CUDA

root_mirror=${NIGHTREEL_MIRROR:-http://deb.debian.org/debian}

root_fail() {
  printf '%s: %s\n' "$(basename "$0")" "$1" >&2
  exit 3
}

root_make() {
  [ "$(id -u)" = 0 ] || root_fail "debootstrap and chroot need root"
  command -v debootstrap >/dev/null || root_fail "debootstrap is missing: apt-get install debootstrap"
  if [ ! -e "$1/etc/debian_version" ]; then
    debootstrap --variant=minbase --include=ca-certificates bookworm "$1" "$root_mirror"
    # debootstrap names the release alone; what was mended since is in these two.
    {
      printf 'deb %s bookworm main\ndeb %s bookworm-updates main\n' "$root_mirror" "$root_mirror"
      printf 'deb %s-security bookworm-security main\n' "$root_mirror"
    } >"$1/etc/apt/sources.list"
  fi
  # Services stay off; names are found as this host finds them.
  printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
  chmod 755 "$1/usr/sbin/policy-rc.d"
  cp /etc/resolv.conf "$1/etc/resolv.conf"
  printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$(hostname)" >"$1/etc/hosts"
}

# Proxies that sign with an authority of their own are trusted, by pip, as this host trusts them.
root_trust() {
  [ ! -e /etc/ssl/certs/ca-certificates.crt ] || cp /etc/ssl/certs/ca-certificates.crt "$1/root/trusted.crt"
}

root_run() {
  root_dir=$1
  shift
  # shellcheck disable=SC2016  # its own $1
  unshare --mount --propagation private sh -ceu '
    mount --bind "$1" "$1" # what builds images inside wants / to be a mount
    mount -t proc proc "$1/proc"
    mount --rbind /sys "$1/sys"
    mount --rbind /dev "$1/dev"
    root=$1
    shift
    exec chroot "$root" "$@"' sh "$root_dir" env -i HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    ${NIGHTREEL_CUDA:+NIGHTREEL_CUDA="$NIGHTREEL_CUDA"} PIP_CERT=/root/trusted.crt "$@"
}
