package dial

import (
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func setUserTimeout(tcp *net.TCPConn, d time.Duration) error {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	err = raw.Control(func(fd uintptr) {
		failure = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("setsockopt TCP_USER_TIMEOUT", failure)
}

// duplicate returns a second descriptor of the socket, non-blocking and closed on
// exec. It does not use File().Fd(), which would switch the socket, and with it
// both descriptors, to blocking.
func duplicate(conn net.Conn) (int, error) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return -1, errNoSocket
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var failure error
	err = raw.Control(func(old uintptr) {
		if fd, failure = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0); failure != nil {
			return
		}
		if failure = unix.SetNonblock(fd, true); failure != nil {
			unix.Close(fd)
		}
	})
	if err != nil {
		return -1, err
	}
	if failure != nil {
		return -1, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", failure)
	}
	return fd, nil
}
