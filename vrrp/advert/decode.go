package advert

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// Packet is an advert as it came, with what its IP header said.
type Packet struct {
	Advert
	Source, Destination netip.Addr
	TTL                 int // of IPv6 the hop limit
	// Checksum is how the sender forms it.
	Checksum Checksum
}

// Decode reads the payload of an IP packet of protocol 112. An error means that it
// is no whole advert: whether a whole one is this router's is for Judge to say.
// It keeps nothing of the payload.
func Decode(payload []byte, source, destination netip.Addr, ttl int) (Packet, error) {
	p := Packet{Source: source, Destination: destination, TTL: ttl}
	if len(payload) < header {
		return Packet{}, fmt.Errorf("%d octets: %w", len(payload), ErrShort)
	}
	p.Version = int(payload[0] >> 4)
	if p.Version != 2 && p.Version != 3 {
		return Packet{}, fmt.Errorf("version %d: %w", p.Version, ErrVersion)
	}
	if t := payload[0] & 0xf; t != kind {
		return Packet{}, fmt.Errorf("type %d: %w", t, ErrType)
	}
	v6 := source.Is6()
	if destination.Is6() != v6 || v6 && p.Version == 2 || !source.IsValid() || !destination.IsValid() {
		return Packet{}, fmt.Errorf("version %d from %s to %s: %w", p.Version, source, destination, ErrFamily)
	}
	m, err := message(payload, p.Version, v6)
	if err != nil {
		return Packet{}, err
	}
	p.Router, p.Priority = m[1], m[2]
	p.readInterval(m)
	if p.Interval == 0 {
		return Packet{}, fmt.Errorf("0: %w", ErrInterval)
	}
	p.readAddresses(m, v6)
	if p.Checksum = habit(m, p.Version, source, destination); p.Checksum == Wrong {
		return Packet{}, fmt.Errorf("%#04x: %w", binary.BigEndian.Uint16(m[6:]), ErrChecksum)
	}
	return p, nil
}

// message cuts off what fills an Ethernet frame up: some drivers hand it over. More
// than that is no padding, and nobody knows whether the checksum covers it.
func message(payload []byte, version int, v6 bool) ([]byte, error) {
	count, size := int(payload[3]), 4
	if v6 {
		size = 16
	}
	if count == 0 {
		return nil, ErrCount // RFC 9568, section 5.2.5: "MUST be ignored"
	}
	want := header + count*size
	if version == 2 {
		want += authData
	}
	switch {
	case len(payload) < want:
		return nil, fmt.Errorf("%d octets of %d: %w", len(payload), want, ErrShort)
	case len(payload) > want && (v6 || len(payload) > minFrame-ipv4):
		return nil, fmt.Errorf("%d octets, not %d: %w", len(payload), want, ErrLong)
	}
	return payload[:want], nil
}

func (p *Packet) readInterval(m []byte) {
	if p.Version == 2 {
		p.Auth.Type = m[4]
		p.Interval = time.Duration(m[5]) * time.Second
		copy(p.Auth.Data[:], m[len(m)-authData:])
		return
	}
	// Section 5.2.6: the four bits before the interval are "ignored on reception".
	p.Interval = time.Duration(binary.BigEndian.Uint16(m[4:])&maxV3) * 10 * time.Millisecond
}

func (p *Packet) readAddresses(m []byte, v6 bool) {
	p.Addresses = make([]netip.Addr, m[3])
	for i := range p.Addresses {
		if v6 {
			p.Addresses[i] = netip.AddrFrom16([16]byte(m[header+16*i:]))
		} else {
			p.Addresses[i] = netip.AddrFrom4([4]byte(m[header+4*i:]))
		}
	}
}
