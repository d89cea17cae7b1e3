package address

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// control6 is what the kernel tells of a received IPv6 packet besides.
type control6 struct {
	index int // of the interface
	to    netip.Addr
	hops  int
}

// readControl6 reads it from control messages.
func readControl6(oob []byte) control6 {
	var c control6
	for _, m := range controls(oob) {
		if m.Header.Level != unix.IPPROTO_IPV6 {
			continue
		}
		switch {
		case m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			c.to = netip.AddrFrom16([16]byte(m.Data))
			c.index = int(binary.NativeEndian.Uint32(m.Data[16:]))
		case m.Header.Type == unix.IPV6_HOPLIMIT && len(m.Data) >= 4:
			c.hops = int(binary.NativeEndian.Uint32(m.Data))
		}
	}
	return c
}

// readIndex4 reads by which interface an IPv4 packet came.
func readIndex4(oob []byte) int {
	for _, m := range controls(oob) {
		if m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= 4 {
			return int(binary.NativeEndian.Uint32(m.Data))
		}
	}
	return 0
}

// controls takes control messages apart; the kernel makes no broken ones.
func controls(oob []byte) []unix.SocketControlMessage {
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	return list
}
