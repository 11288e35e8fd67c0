#!/bin/bash
# Installs the Debian packages of debian-packages.txt that are missing; does nothing if none is.
# Needs root, or sudo, only if something is missing.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
wanted=()
while read -r package command; do
    case $package in '' | '#'*) continue ;; esac
    if [ -z "$command" ] || ! command -v "$command" > /dev/null; then wanted+=("$package"); fi
done < "$here/debian-packages.txt"

mapfile -t present < <(
    dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${wanted[@]}" 2> /dev/null |
        sed -n 's/ installed$//p'
)
mapfile -t missing < <(comm -23 <(printf '%s\n' "${wanted[@]}" | sort -u) \
    <(printf '%s\n' "${present[@]}" | sort -u))

as_root=()
become_root() {
    if [ "$(id -u)" = 0 ]; then return; fi
    if ! command -v sudo > /dev/null; then
        echo "setup: this needs root, and there is no sudo. As root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
}

# The guest image takes packages straight from the archive, so apt's lists must be there too.
if [ ${#missing[@]} -gt 0 ] || ! compgen -G "/var/lib/apt/lists/*_Packages*" > /dev/null; then
    become_root
    echo "setup: updating apt's lists"
    "${as_root[@]}" apt-get -qq update
fi
[ ${#missing[@]} -gt 0 ] || exit 0

echo "setup: installing ${#missing[@]} Debian packages (some minutes, once): ${missing[*]}"
# Debian starts each server that it installs. The tests start their own, elsewhere, so none of these
# is to run: refused by policy-rc.d now, and switched off for the next boot below.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    trap '"${as_root[@]}" rm -f $policy' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy > /dev/null
    "${as_root[@]}" chmod 755 $policy
fi
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -qq install --yes --no-install-recommends "${missing[@]}" < /dev/null > /dev/null

if [ -d /run/systemd/system ]; then
    for package in "${missing[@]}"; do
        case $package in
            tgt | redis-server | postgresql) service=$package ;;
            etcd-server) service=etcd ;;
            *) continue ;;
        esac
        "${as_root[@]}" systemctl --quiet disable "$service" || true
    done
fi
