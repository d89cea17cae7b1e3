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

said=$(mktemp)
trap 'rm -f "$said"' EXIT

# out_of_time: go test has taken the end of its own time for a fault of the target.
# Go before 1.27 does so now and then (golang/go#75804); what a target finds is
# written to a file, and said.
out_of_time() {
	grep -q '^ *context deadline exceeded$' "$said" && ! grep -q 'Failing input written to\|panic' "$said"
}

for pkg in $("$GO" list "$@"); do
	for target in $("$GO" test -list '^Fuzz' "$pkg" | grep '^Fuzz' || :); do
		echo "fuzz: $pkg $target for $time"
		if "$GO" test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$pkg" >"$said" 2>&1 || out_of_time; then
			tail -n 3 "$said"
		else
			cat "$said"
			exit 1
		fi
	done
done
