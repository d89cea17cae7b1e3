//go:build !linux

package echo

import (
	"context"
	"net"
	"net/netip"
)

// listen opens the socket of one local end.
func listen(ctx context.Context, local netip.AddrPort) (*net.UDPConn, error) {
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(ctx, "udp", local.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// transmit sends; a datagram that cannot leave is lost, as one on the way.
func transmit(conn *net.UDPConn, datagram []byte, to netip.AddrPort) {
	_, _ = conn.WriteToUDPAddrPort(datagram, to)
}
