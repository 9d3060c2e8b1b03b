#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
# ./run test fresh: the README's two commands in a minimal Debian 12, from a clone of HEAD. The system comes from the
# package sources that this machine already uses for Debian, is kept outside the checkout, and is unpacked anew each time.
# `./run test fresh user` runs them as a user with sudo instead of as root.
# VH_FRESH="test headers unit" runs other commands instead, separated by semicolons.
set -euo pipefail
top=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
cache=${VH_CACHE:-${HOME:-/root}/.cache/libvh}
export LC_ALL=C
if [ "$(id -u)" != 0 ]; then
	echo "fresh: a chroot needs root; going on with sudo" >&2
	exec sudo env "VH_CACHE=$cache" "VH_FRESH=${VH_FRESH:-}" "$0" "$@"
fi
. /etc/os-release
mkdir -p "$cache"

# The lines of a sources.list for bookworm and its updates and security suites, as this machine has them.
sources() {
	apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT) $(ORIGIN)' 'Created-By: Packages' |
		while read -r site suite component origin; do
			[ "$origin" = Debian ] && [ "$component" = main ] || continue
			case $suite in bookworm | bookworm-updates | bookworm-security) echo "deb $site $suite main" ;; esac
		done | sort -u
}
lists=$(sources)
if ! grep -q ' bookworm main' <<<"$lists" || ! grep -q ' bookworm-security main' <<<"$lists"; then
	apt-get update -q >/dev/null
	lists=$(sources)
fi
grep -q ' bookworm-security main' <<<"$lists" || {
	echo "fresh: bookworm and bookworm-security are not among apt's sources here" >&2
	exit 1
}

base=$cache/bookworm-minbase.tar
if [ ! -e "$base" ] || [ -n "$(find "$base" -mtime +7)" ]; then
	echo "making a minimal Debian 12"
	aptopts=()
	while read -r line; do
		aptopts+=(--aptopt="$line")
	done < <(apt-config dump | grep '^Acquire::Check-' || true)
	mmdebstrap --quiet --variant=minbase --include=ca-certificates "${aptopts[@]}" bookworm "${base%.tar}-new.tar" - <<<"$lists"
	mv "${base%.tar}-new.tar" "$base"
fi

root=$(mktemp -d "${TMPDIR:-/var/tmp}/libvh-fresh.XXXXXX")
trap 'rm -rf --one-file-system "$root"' EXIT
tar -C "$root" -xf "$base"
git -c safe.directory="$top" -c safe.directory="$top/.git" clone -q --no-local --no-hardlinks "$top" "$root/root/libvh"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
cp -L /etc/hosts "$root/etc/hosts"

cat >"$root/root/go" <<'INSIDE'
#!/bin/bash
set -eu
mount -t proc proc /proc
umount -l /outside && rmdir /outside
mount -t sysfs sys /sys 2>/dev/null || true
mkdir -p /dev/shm /dev/pts
mount -t tmpfs tmpfs /dev/shm
cd /root/libvh
as=()
if [ "${2:-}" = user ]; then
	apt-get update -q >/dev/null
	apt-get install -y -q --no-install-recommends sudo >/dev/null
	useradd -m tester
	echo 'tester ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/tester
	mv /root/libvh /home/tester/
	chown -R tester: /home/tester/libvh
	cd /home/tester/libvh
	as=(sudo -u tester --login env "CI=${CI:-}" sh -c 'cd libvh && exec "$@"' sh)
fi
IFS=';' read -ra commands <<<"$1"
for command in "${commands[@]}"; do
	echo "== ./run $command"
	started=$SECONDS
	# shellcheck disable=SC2086 -- words of the command
	"${as[@]}" ./run $command </dev/null
	echo "== ./run $command took $((SECONDS - started)) s"
done
INSIDE
chmod +x "$root/root/go"

# Everything that is mounted or started inside ends with the namespaces.
unshare --mount --pid --fork --kill-child bash -eu -c '
	root=$1
	mount --make-rprivate /
	mount --bind "$root" "$root"
	mount --rbind /dev "$root/dev"
	mount --make-rslave "$root/dev"
	# Not only a chroot, in which there would be no user namespaces, which programs inside may want.
	mkdir "$root/outside"
	cd "$root"
	pivot_root . outside
	exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM="${TERM:-dumb}" \
		CI="${CI:-}" chroot . /root/go "$2" "$3"
' fresh "$root" "${VH_FRESH:-demo;test}" "${1:-}"
