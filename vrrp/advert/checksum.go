package advert

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Checksum is what the 16-bit one's complement sum of an advert covers. RFC 9568,
// section 5.2.8, says the message over IPv4, and a pseudo-header before it over IPv6;
// of version 3 over IPv4 implementations differ.
type Checksum uint8

// The ways there are.
const (
	Wrong        Checksum = iota // fits none of them
	PseudoHeader                 // pseudo-header and message; keepalived over IPv4, too
	PseudoGroup                  // the same, but with the multicast group for a unicast destination: keepalived before 1.3.7
	Plain                        // the message alone: version 2, RFC 9568 over IPv4, keepalived's v3_checksum_as_v2
)

func (c Checksum) String() string {
	switch c {
	case Wrong:
		return "wrong"
	case PseudoHeader:
		return "pseudo-header"
	case PseudoGroup:
		return "pseudo-header with the group"
	case Plain:
		return "rfc"
	default:
		return fmt.Sprintf("Checksum(%d)", uint8(c))
	}
}

// habit finds how the checksum of a received message was formed.
func habit(m []byte, version int, source, destination netip.Addr) Checksum {
	ways := []Checksum{PseudoHeader, PseudoGroup, Plain}
	switch {
	case version == 2:
		ways = []Checksum{Plain}
	case source.Is6():
		ways = ways[:1] // RFC and kernel leave no choice
	}
	for _, c := range ways {
		if c.sum(m, source, destination) == 0xffff {
			return c
		}
	}
	return Wrong
}

// sum is the one's complement sum (RFC 1071) of what c covers, the checksum field
// included: over a whole message it is 0xffff.
func (c Checksum) sum(m []byte, source, destination netip.Addr) uint16 {
	var s uint32
	if c != Plain {
		if c == PseudoGroup {
			destination = Group(source.Is6())
		}
		s = octets(source.AsSlice(), 0)
		s = octets(destination.AsSlice(), s)
		s += Protocol + uint32(len(m)) // the same for both families' pseudo-headers
	}
	s = octets(m, s)
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// octets adds pairs of octets to s. All that is summed here is even in length.
func octets(b []byte, s uint32) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(binary.BigEndian.Uint16(b))
	}
	return s
}
