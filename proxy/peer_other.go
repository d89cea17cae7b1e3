//go:build !linux

package proxy

import "net"

// ofOwnUser cannot tell without Linux's SO_PEERCRED.
func ofOwnUser(net.Conn) bool { return false }

// peerName is not known without it either.
func peerName(net.Conn) string { return "" }
