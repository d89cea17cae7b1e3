package address

import (
	"encoding/binary"

	"github.com/pgvip/pgvip/vrrp/beat"
)

// segment is an IP packet with a TCP ACK from the virtual address to a client, whose
// numbers fit no connection. RFC 9293 section 3.10.7.4: a client that believes in the
// connection answers with an ACK that has its own numbers; our kernel knows no such
// connection and answers that with an RST that fits. If the connection lives here
// after all, the client's ACK is in order and nothing happens.
func segment(f beat.Flow) []byte {
	tcp := make([]byte, 20)
	binary.BigEndian.PutUint16(tcp[0:], f.VIP.Port())
	binary.BigEndian.PutUint16(tcp[2:], f.Client.Port())
	tcp[12] = 5 << 4                            // header of 5 words
	tcp[13] = 1 << 4                            // ACK
	binary.BigEndian.PutUint16(tcp[14:], 1<<10) // window
	from, to := f.VIP.Addr(), f.Client.Addr().WithZone("")
	binary.BigEndian.PutUint16(tcp[16:], checksum(from.AsSlice(), to.AsSlice(), []byte{0, protoTCP, 0, 20}, tcp))
	if from.Is6() {
		return append(ipv6Header(from, to, protoTCP, 64, len(tcp)), tcp...)
	}
	// The kernel fills in identification and checksum, raw(7).
	ip := make([]byte, 20, 40)
	ip[0] = 4<<4 | 5
	binary.BigEndian.PutUint16(ip[2:], 40)
	ip[8], ip[9] = 64, protoTCP
	copy(ip[12:], from.AsSlice())
	copy(ip[16:], to.AsSlice())
	return append(ip, tcp...)
}

// checksum is RFC 1071's, of parts of even length.
func checksum(parts ...[]byte) uint16 {
	var sum uint32
	for _, p := range parts {
		for i := 0; i < len(p); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(p[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
