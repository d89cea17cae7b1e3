package echo

import (
	"context"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// tos is the class of routing protocols, CS6, that VRRP has too: pings are to
// arrive when a link is full.
const tos = 0xc0

// listen opens the socket of one local end.
func listen(ctx context.Context, local netip.AddrPort) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			// Without it pings are ordinary traffic, which is no reason not to send them.
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, tos)
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, tos)
		})
	}}
	conn, err := lc.ListenPacket(ctx, "udp", local.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// transmit sends without waiting. net's own Write waits while the socket's buffer
// is full, and the keeper's loop must not.
func transmit(conn *net.UDPConn, datagram []byte, to netip.AddrPort) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	sa := sockaddr(to)
	// A datagram that cannot leave is lost, as one on the way: silence tells.
	_ = raw.Control(func(fd uintptr) {
		_ = unix.Sendto(int(fd), datagram, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, sa)
	})
}

func sockaddr(to netip.AddrPort) unix.Sockaddr {
	if to.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	sa := &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	if ifi, err := net.InterfaceByName(to.Addr().Zone()); err == nil {
		sa.ZoneId = uint32(ifi.Index)
	}
	return sa
}
