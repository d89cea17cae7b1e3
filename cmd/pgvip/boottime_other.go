//go:build !linux

package main

import "time"

// bootTime is nothing here: there is no virtual IP.
func bootTime() time.Duration { return 0 }
