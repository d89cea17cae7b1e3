package main

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout sets TCP_USER_TIMEOUT; 0 leaves it to the kernel.
func setUserTimeout(raw syscall.RawConn, d time.Duration) error {
	return onSocket(raw, "setsockopt TCP_USER_TIMEOUT", func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
}

// setBacklog bounds the connections that may wait to be accepted. Go asks for as
// many as the kernel allows; a second listen(2) changes that on the open socket.
func setBacklog(l net.Listener, backlog int) error {
	socket, ok := l.(syscall.Conn)
	if !ok {
		return errors.New("listener is no socket")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	return onSocket(raw, "listen", func(fd int) error { return unix.Listen(fd, backlog) })
}

func onSocket(raw syscall.RawConn, call string, set func(fd int) error) error {
	var failure error
	if err := raw.Control(func(fd uintptr) { failure = set(int(fd)) }); err != nil {
		return err
	}
	return os.NewSyscallError(call, failure)
}
