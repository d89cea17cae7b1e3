//go:build !linux

package keeper

import (
	"errors"
	"net"
	"time"
)

// The virtual IP is Linux's alone: address.Open says so. What stands here lets the
// rest be built.

func isPacketSocket(int) bool { return false }

func sendNow(conn *net.UnixConn, packet []byte) bool {
	_, err := conn.Write(packet)
	return err == nil
}

func sinceBoot() time.Duration { return 0 }

func prepare() {}

func confine() error { return errors.ErrUnsupported }
