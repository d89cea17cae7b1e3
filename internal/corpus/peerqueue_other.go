//go:build !linux

package corpus

import (
	"errors"
	"net"
)

// peerQueue needs Linux; elsewhere transcripts are only read, not split.
type peerQueue struct{}

func newPeerQueue(*net.TCPConn) (*peerQueue, error) {
	return nil, errors.New("peer queue: needs Linux")
}

// AwaitRead needs Linux.
func AwaitRead(*net.TCPConn) error {
	return errors.New("peer queue: needs Linux")
}

func (*peerQueue) close() {}

func (*peerQueue) awaitRead() error { return nil }
