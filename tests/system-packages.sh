#!/bin/sh
# The servers and the browser that the tests drive, from Debian's packages: installed when this is root, named when it is not.
set -eu

missing=""
need() { # package, then a file or command that it brings
    for each in $2; do
        if [ -x "$each" ] || command -v "$each" >/dev/null 2>&1; then return; fi
    done
    missing="$missing $1"
}

need postgresql "/usr/lib/postgresql/*/bin/initdb"
need chromium chromium
need prometheus promtool
need prometheus-alertmanager amtool
need docker-compose docker-compose

[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "the tests need Debian packages that are not installed; run as root: apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
echo "Installing$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { apt-get update && apt-get install --yes --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "apt-get could not install$missing" >&2
    exit 1
fi
rm -f "$log"
