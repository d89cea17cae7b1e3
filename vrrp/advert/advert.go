// Package advert is the wire format of VRRP advertisements: version 3 (RFC 9568)
// over IPv4 and IPv6, and version 2 over IPv4 (RFC 3768, with the authentication
// data of RFC 2338 that keepalived still sends). Bytes in, values out; what a
// packet means to a router is decided elsewhere, Judge only compares.
//
//	octet   0               1               2               3
//	      +---------------+---------------+---------------+---------------+
//	      |version| type 1|  virtual rtr  |   priority    |   addresses   |
//	      +---------------+---------------+---------------+---------------+
//	  v3  | 0000  | interval, centiseconds|           checksum            |
//	  v2  |auth type      |interval, s    |           checksum            |
//	      +---------------+---------------+---------------+---------------+
//	      | addresses, 4 or 16 octets each; v2: then 8 octets of auth data |
package advert

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// What is the same for every advert (RFC 9568, section 5.1).
const (
	// Protocol is VRRP's number in the IP header.
	Protocol = 112
	// TTL is that of a packet which no router has forwarded; of IPv6 the hop limit.
	TTL = 255
	// TrafficClass is what keepalived sends, too: internetwork control (CS6).
	TrafficClass = 0xc0
)

const (
	header   = 8 // octets before the addresses
	authData = 8 // octets behind them in version 2
	kind     = 1 // the only type there is: ADVERTISEMENT
	maxV3    = 1<<12 - 1
	maxV2    = 255
	minFrame = 46 // octets in the smallest Ethernet frame; IP packets are filled up to it
	ipv4     = 20 // octets of an IPv4 header without options
)

// Reasons for which a packet is no advert at all. An error wraps exactly one.
var (
	ErrShort    = errors.New("shorter than it says")
	ErrLong     = errors.New("longer than it says")
	ErrVersion  = errors.New("version is neither 2 nor 3")
	ErrType     = errors.New("type is not ADVERTISEMENT")
	ErrCount    = errors.New("lists no address")
	ErrInterval = errors.New("interval out of range")
	ErrFamily   = errors.New("addresses of different families")
	ErrChecksum = errors.New("wrong checksum")
)

// Advert is one advertisement.
type Advert struct {
	Version  int   // 2 or 3
	Router   uint8 // virtual router identifier, 1..255
	Priority uint8 // 0: the sender leaves; 255: it owns the addresses
	// Interval between the sender's adverts: whole seconds in version 2, up to
	// 255 s; hundredths of a second in version 3, up to 40.95 s.
	Interval  time.Duration
	Addresses []netip.Addr
	// Auth is version 2's authentication; zero for none.
	Auth Auth
}

// Auth is what stands in version 2 in place of a proof.
type Auth struct {
	Type uint8 // 0 none, 1 a password in clear text, 2 AH
	Data [authData]byte
}

// Pass is keepalived's auth_type PASS: of a longer password it sends 8 octets.
func Pass(password string) Auth {
	if password == "" {
		return Auth{}
	}
	a := Auth{Type: 1}
	copy(a.Data[:], password)
	return a
}

// Group is the multicast address of adverts in a family (RFC 9568, section 5.1).
func Group(v6 bool) netip.Addr {
	if v6 {
		return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 0x12})
	}
	return netip.AddrFrom4([4]byte{224, 0, 0, 18})
}

// Append appends the advert's octets to b: the payload of an IP packet from source
// to destination. How the checksum of version 3 over IPv4 is formed is the caller's
// choice (PseudoHeader, PseudoGroup or Plain); the other two have one way only.
func (a Advert) Append(b []byte, c Checksum, source, destination netip.Addr) ([]byte, error) {
	interval, err := a.intervalField()
	if err != nil {
		return nil, err
	}
	if err := a.check(source, destination); err != nil {
		return nil, err
	}
	start := len(b)
	b = append(b, byte(a.Version)<<4|kind, a.Router, a.Priority, byte(len(a.Addresses)))
	b = binary.BigEndian.AppendUint16(b, interval)
	b = append(b, 0, 0)
	for _, addr := range a.Addresses {
		b = append(b, addr.AsSlice()...)
	}
	if a.Version == 2 {
		b = append(b, a.Auth.Data[:]...)
	}
	m := b[start:]
	switch {
	case a.Version == 2:
		c = Plain
	case source.Is6():
		c = PseudoHeader
	}
	binary.BigEndian.PutUint16(m[6:], ^c.sum(m, source, destination))
	return b, nil
}

// intervalField is octets 4 and 5, with version 2's type of authentication.
func (a Advert) intervalField() (uint16, error) {
	unit, most := 10*time.Millisecond, time.Duration(maxV3)
	if a.Version == 2 {
		unit, most = time.Second, maxV2
	}
	n := a.Interval / unit
	if n < 1 || n > most || a.Interval%unit != 0 {
		return 0, fmt.Errorf("version %d, %s: %w", a.Version, a.Interval, ErrInterval)
	}
	if a.Version == 2 {
		n |= time.Duration(a.Auth.Type) << 8
	}
	return uint16(n), nil
}

// check finds what Append cannot write down.
func (a Advert) check(source, destination netip.Addr) error {
	if a.Version != 2 && a.Version != 3 {
		return fmt.Errorf("version %d: %w", a.Version, ErrVersion)
	}
	if n := len(a.Addresses); n < 1 || n > 255 {
		return fmt.Errorf("%d addresses: %w", n, ErrCount)
	}
	v6 := source.Is6()
	if destination.Is6() != v6 || v6 && a.Version == 2 || !source.IsValid() || !destination.IsValid() {
		return fmt.Errorf("version %d from %s to %s: %w", a.Version, source, destination, ErrFamily)
	}
	for _, addr := range a.Addresses {
		if !addr.IsValid() || addr.Is6() != v6 {
			return fmt.Errorf("%s from %s: %w", addr, source, ErrFamily)
		}
	}
	return nil
}
