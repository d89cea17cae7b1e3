package keeper

import (
	"net"

	"golang.org/x/sys/unix"
)

// sendNow sends without waiting.
func sendNow(conn *net.UnixConn, packet []byte) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	sent := false
	err = raw.Control(func(fd uintptr) {
		sent = unix.Sendto(int(fd), packet, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil) == nil
	})
	return sent && err == nil
}

// isPacketSocket reports whether a descriptor can be the end of a pair.
func isPacketSocket(fd int) bool {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil && kind == unix.SOCK_SEQPACKET
}
