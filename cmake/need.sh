#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
# need.sh WORD...: installs the packages of cmake/packages that those words ask for and that are not there yet.
# The package lists are fetched at most once, and only when something is missing.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

wanted=()
for word in "$@"; do
	while read -r w package; do
		[ "$w" != "$word" ] || wanted+=("$package")
	done <"$here/packages"
done
if ! command -v dpkg-query >/dev/null; then
	echo "need.sh: this is no Debian; these packages must be there: ${wanted[*]}" >&2
	exit 0
fi

missing=()
have=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' | sed -n 's/ installed$//p')
for package in "${wanted[@]}"; do
	grep -qxF -- "$package" <<<"$have" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "need.sh: missing packages: ${missing[*]}; install them as root, or install sudo" >&2
		exit 1
	fi
	as_root=(sudo env "DEBIAN_FRONTEND=$DEBIAN_FRONTEND" "LC_ALL=$LC_ALL")
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
	"${as_root[@]}" apt-get install -y -q --no-install-recommends "$@" </dev/null >"$log" 2>&1
}
echo "installing ${missing[*]}"
# Without lists an install can't work; with lists it may fail because they are old.
if ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 && install "${missing[@]}"; then
	exit 0
fi
if ! "${as_root[@]}" apt-get update -q </dev/null >"$log" 2>&1; then
	tail -n 5 "$log" >&2
	echo "need.sh: apt-get update failed; is there a network, and a package source?" >&2
fi
install "${missing[@]}" && exit 0
# One that can't be had must not keep the others away.
rc=0
for package in "${missing[@]}"; do
	install "$package" || {
		tail -n 5 "$log" >&2
		echo "need.sh: apt-get could not install $package" >&2
		rc=1
	}
done
exit $rc
