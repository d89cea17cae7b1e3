//go:build !linux

package main

import (
	"net"
	"syscall"
	"time"
)

// setUserTimeout does nothing: the option is Linux's.
func setUserTimeout(syscall.RawConn, time.Duration) error { return nil }

// setBacklog leaves Go's: pgvip runs on Linux, elsewhere it only has to build.
func setBacklog(net.Listener, int) error { return nil }
