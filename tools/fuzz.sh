#!/bin/sh
# Usage: fuzz.sh TIME PACKAGE...
#
# Runs each fuzz target of the packages for TIME, one after the other: go test
# takes only one target at once. Ends at the first that finds something.
set -eu

GO=${GO:-go}
[ $# -ge 2 ] || { sed -n 's/^# \{0,1\}//; 2,5p' "$0" >&2 && exit 2; }
time=$1
shift

for pkg in $("$GO" list "$@"); do
	for target in $("$GO" test -list '^Fuzz' "$pkg" | grep '^Fuzz' || :); do
		echo "fuzz: $pkg $target for $time"
		"$GO" test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$pkg"
	done
done
