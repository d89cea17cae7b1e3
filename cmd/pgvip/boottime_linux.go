package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// bootTime is the time since this machine was booted, by which the keeper counts.
func bootTime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		panic("BUG: no CLOCK_BOOTTIME: " + err.Error())
	}
	return time.Duration(now.Nano())
}
