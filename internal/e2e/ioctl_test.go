package e2e

import "golang.org/x/sys/unix"

// ioctlInq is SIOCINQ, the unread bytes of a TCP socket: tcp(7).
func ioctlInq(fd int) (int, error) {
	return unix.IoctlGetInt(fd, unix.TIOCINQ)
}
