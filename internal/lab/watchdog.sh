# Clears one slot of the lab when its owner closes standard input, by stopping or
# by dying: kills the processes that work below the slot's directory, then
# removes it. Until this shell ends, descriptor 3 keeps the slot locked.
dir=$1

read -r _ || :

# The processes whose working directory is in the slot. One that does not go at
# all (in uninterruptible sleep) must not keep us for ever.
tries=0
while pids=$(find /proc -mindepth 2 -maxdepth 2 -path '/proc/[0-9]*/cwd' \
	\( -lname "$dir" -o -lname "$dir/*" \) 2>/dev/null | cut -d/ -f3) && [ -n "$pids" ]; do
	tries=$((tries + 1))
	[ $tries -le 500 ] || { echo "still running:" $pids && exit 1; }
	# shellcheck disable=SC2086 # one argument each
	kill -9 $pids 2>/dev/null
	sleep 0.02
done

# A killed postmaster leaves its System V segment, which the data directory's
# lock file names: line 7 is key and id.
find "$dir" -name postmaster.pid -exec sed -s -n '7s/.* //p' {} + 2>/dev/null |
	while read -r id; do ipcrm -m "$id" 2>/dev/null; done

rm -rf "$dir"
