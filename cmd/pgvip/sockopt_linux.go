package main

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pgvip/pgvip/config"
)

// setKeepalive sets up the liveness of a socket, and of those accepted from it.
func setKeepalive(raw syscall.RawConn, k *config.Keepalive) error {
	enabled := 0
	if k.Enabled {
		enabled = 1
	}
	return onSocket(raw, "setsockopt", func(fd int) error {
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, enabled),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(k.Idle.Seconds())),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(k.Interval.Seconds())),
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, k.Count),
			// 0 leaves it to the kernel.
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(k.UserTimeout.Milliseconds())),
		)
	})
}

// setBacklog bounds the connections that may wait to be accepted. Go asks for as
// many as the kernel allows; a second listen(2) changes that on the open socket.
func setBacklog(raw syscall.RawConn, backlog int) error {
	return onSocket(raw, "listen", func(fd int) error { return unix.Listen(fd, backlog) })
}

// setFreebind lets a listener have an address that is not here yet: ip(7).
func setFreebind(raw syscall.RawConn, network string) error {
	return onSocket(raw, "setsockopt", func(fd int) error {
		if network == "tcp6" {
			return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
		}
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
	})
}

// setTransparent lets connections that are accepted go on sending from their local
// address when that has gone to another node: what is said to a client then is its
// goodbye. Without it the kernel has no route from an address that is not its own:
// ip(7), IP_TRANSPARENT. It needs one of the capabilities of the virtual IP; without,
// clients are reset by the new owner instead.
func setTransparent(raw syscall.RawConn) error {
	return onSocket(raw, "setsockopt", func(fd int) error {
		six := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT, 1)
		four := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TRANSPARENT, 1)
		if six == nil {
			return nil // a socket of both families
		}
		return four
	})
}

// bindNoPort leaves the choice of a port to connect(2): chosen with the address
// alone it would be one that no other connection from there has, of which there
// are some ten thousands.
func bindNoPort(_, _ string, raw syscall.RawConn) error {
	return onSocket(raw, "setsockopt", func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
}

func onSocket(raw syscall.RawConn, call string, set func(fd int) error) error {
	var failure error
	if err := raw.Control(func(fd uintptr) { failure = set(int(fd)) }); err != nil {
		return err
	}
	return os.NewSyscallError(call, failure)
}
