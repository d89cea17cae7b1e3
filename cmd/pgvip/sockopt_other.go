//go:build !linux

package main

import (
	"syscall"

	"github.com/pgvip/pgvip/config"
)

// setKeepalive leaves the system's: pgvip runs on Linux, elsewhere it only has to
// build.
func setKeepalive(syscall.RawConn, *config.Keepalive) error { return nil }

// setBacklog leaves Go's.
func setBacklog(syscall.RawConn, int) error { return nil }

// setFreebind leaves it.
func setFreebind(syscall.RawConn, string) error { return nil }

// bindNoPort leaves it.
func bindNoPort(_, _ string, _ syscall.RawConn) error { return nil }

// setTransparent leaves it.
func setTransparent(syscall.RawConn) error { return nil }
