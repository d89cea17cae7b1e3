#!/bin/sh
# Usage: install-deps.sh [-n] PACKAGE...
#
# Installs those of the named Debian packages that are missing, for the lab,
# the demo and the benchmark. -n only says what would be installed.
#
# It starts no daemon, now or at the next boot, and changes none that runs:
#   - a policy-rc.d that answers "forbidden by policy" (101) is in place while
#     apt-get runs; one that was there before is put back, whatever happens;
#   - postgresql-common is told not to create (and start) a cluster "main";
#   - packages that are there are neither upgraded nor removed;
#   - units and init scripts of what was installed here are disabled.
set -eu

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
POLICY=/usr/sbin/policy-rc.d
SAVED=$POLICY.pgvip-saved # the policy of before; empty when there was none
CREATE_DIR=/etc/postgresql-common/createcluster.d
DROP_IN=$CREATE_DIR/pgvip-lab.conf
LOCK=/var/lock/pgvip-install-deps.lock

say() { echo "install-deps: $*" >&2; }

# missing prints the named packages that are not fully installed.
missing() {
	for p in "$@"; do
		status=$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null) || status=
		[ "$status" = installed ] || echo "$p"
	done
}

# apt runs apt-get so that it asks nothing, upgrades and removes nothing, waits
# for another apt-get, and lets needrestart restart nothing afterwards.
apt() {
	DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 NEEDRESTART_MODE=l \
		apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold \
		--no-remove --no-upgrade --no-install-recommends "$@"
}

restore() {
	rm -f "$DROP_IN"
	rmdir "$CREATE_DIR" /etc/postgresql-common 2>/dev/null || :
	[ -e "$SAVED" ] || return 0
	# Renamed, not copied: at no moment is there half a policy.
	if [ -s "$SAVED" ] || [ -L "$SAVED" ]; then mv -f "$SAVED" "$POLICY"; else rm -f "$POLICY" "$SAVED"; fi
}

forbid() {
	if [ -e "$POLICY" ] || [ -L "$POLICY" ]; then mv "$POLICY" "$SAVED"; else : >"$SAVED"; fi
	printf '#!/bin/sh\n# Put here for the length of one installation by pgvip.\nexit 101\n' >"$POLICY.pgvip-new"
	chmod 755 "$POLICY.pgvip-new"
	mv "$POLICY.pgvip-new" "$POLICY"
	mkdir -p "$CREATE_DIR"
	echo 'create_main_cluster = false' >"$DROP_IN"
}

# daemons prints the units and init scripts of an installed package. Template
# units (x@.service) start nothing by themselves.
daemons() {
	dpkg -L "$1" | grep -E '^(/usr)?/lib/systemd/system/[^/@]+\.(service|timer|socket)$|^/etc/init\.d/[^/]+$' || :
}

# disable_new keeps the daemons of the given, newly installed packages from
# starting at the next boot. PostgreSQL's own unit starts only clusters, of
# which there are none: whoever makes one later wants it started.
disable_new() {
	for p in "$@"; do
		[ "$p" != postgresql-common ] || continue
		for f in $(daemons "$p"); do
			name=$(basename "$f")
			case $f in
			/etc/init.d/*) update-rc.d "$name" disable >/dev/null 2>&1 || : ;;
			*) [ -z "$(command -v systemctl)" ] || systemctl --quiet disable "$name" >/dev/null 2>&1 || : ;;
			esac
		done
	done
}

dry=
if [ "${1-}" = -n ]; then dry=1 && shift; fi
[ $# -gt 0 ] || { sed -n 's/^# \{0,1\}//; 2,5p' "$0" >&2 && exit 2; }

want=$(missing "$@")
[ -n "$want" ] || [ -e "$SAVED" ] || exit 0
[ -z "$dry" ] || { say "would install:" $want && exit 0; }
[ -n "$(command -v apt-get)" ] || { say "missing:" $want "(no apt-get here: install them by hand)" && exit 1; }
[ "$(id -u)" = 0 ] || { say "missing:" $want "(run as root, or: apt-get install" $want")" && exit 1; }

exec 9>"$LOCK"
flock 9 # one at a time: two would save each other's policy
restore # what an installation that was killed has left
want=$(missing $want)
[ -n "$want" ] || exit 0

apt install -s $want >/dev/null 2>&1 || apt update
plan=$(apt install -s $want)
new=$(echo "$plan" | sed -n 's/^Inst \([^ ]*\) (.*/\1/p')
old=$(echo "$plan" | sed -n 's/^Inst \([^ ]*\) \[.*/\1/p')
for p in $old; do
	[ -z "$(daemons "$p")" ] || { say "stopped: this would upgrade $p, which has a daemon" && exit 1; }
done
say "installing:" $want

trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
forbid
apt install $want 9>&-
disable_new $new
left=$(missing $want)
[ -z "$left" ] || { say "still missing:" $left && exit 1; }
