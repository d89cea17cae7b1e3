package keeper

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot is the clock of rule 36: it goes on while the machine sleeps, and
// nobody sets it.
func sinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("BUG: " + err.Error()) // since Linux 2.6.39 it is there
	}
	return time.Duration(ts.Nano())
}
