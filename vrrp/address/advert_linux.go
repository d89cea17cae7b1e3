package address

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// The groups of RFC 9568 section 5.1.
var (
	group4 = netip.AddrFrom4([4]byte{224, 0, 0, 18})
	group6 = netip.AddrFrom16([16]byte{0xff, 0x02, 15: 0x12})
)

// internetControl is the type of service that routing protocols use, RFC 791.
const internetControl = 0xc0

// group is the multicast group of the adverts' family.
func (p *Port) group() netip.Addr {
	if p.vips[0].Is4() {
		return group4
	}
	return group6
}

// openVRRP opens the socket of the adverts.
func (p *Port) openVRRP() error {
	domain, options := unix.AF_INET, []option{
		{unix.IPPROTO_IP, unix.IP_PKTINFO, 1},
		{unix.IPPROTO_IP, unix.IP_TTL, 255},
		{unix.IPPROTO_IP, unix.IP_TOS, internetControl},
		{unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, 255},
		{unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 0},
		{unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0}, // of other programs' groups
	}
	if p.vips[0].Is6() {
		domain, options = unix.AF_INET6, []option{
			{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1},
			{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1},
			{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 255},
			{unix.IPPROTO_IPV6, unix.IPV6_TCLASS, internetControl},
			{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255},
			{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0},
			{unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0},
		}
	}
	s, err := openSocket(domain, unix.SOCK_RAW, protoVRRP)
	if err != nil {
		return err
	}
	p.vrrp = s
	return s.set(options...)
}

// joinLocked joins the multicast group where the interface is now.
func (p *Port) joinLocked(index int) error {
	if len(p.o.Peers) > 0 || (index == p.joined && !p.watching.reborn) {
		return nil
	}
	if p.joined != 0 {
		// The old interface is gone, mostly: then so is the membership, but not
		// the socket's memory of it, which would use up the limit of 20.
		_ = p.member(false, p.joined)
	}
	p.joined, p.watching.reborn = 0, false
	if index == 0 {
		return nil
	}
	if err := p.member(true, index); err != nil {
		return fmt.Errorf("join %s on %s: %w", p.group(), p.o.Interface, err)
	}
	p.joined = index
	return nil
}

// member joins or leaves the group.
func (p *Port) member(join bool, index int) error {
	g := p.group()
	return p.vrrp.control(func(fd int) error {
		if g.Is4() {
			name := unix.IP_ADD_MEMBERSHIP
			if !join {
				name = unix.IP_DROP_MEMBERSHIP
			}
			return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, name,
				&unix.IPMreqn{Multiaddr: g.As4(), Ifindex: int32(index)})
		}
		name := unix.IPV6_JOIN_GROUP
		if !join {
			name = unix.IPV6_LEAVE_GROUP
		}
		return unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, name,
			&unix.IPv6Mreq{Multiaddr: g.As16(), Interface: uint32(index)})
	})
}

// Destinations are where adverts go: the multicast group, or the peers.
func (p *Port) Destinations() []netip.Addr {
	if len(p.o.Peers) > 0 {
		return slices.Clone(p.o.Peers)
	}
	return []netip.Addr{p.group()}
}

// SendAdvert sends one VRRP packet, without IP header, to one of Destinations. Source
// is the sender.
func (p *Port) SendAdvert(to netip.Addr, packet []byte) error {
	index, source := p.Link().Index, p.Source()
	if index == 0 {
		return fmt.Errorf("advert by %s: %w", p.o.Interface, ErrNoInterface)
	}
	if !source.IsValid() {
		return fmt.Errorf("advert by %s: %w", p.o.Interface, ErrNoSource)
	}
	by := 0 // unicast goes where the routes say
	if to.IsMulticast() {
		by = index
	}
	if to.Is4() != source.Is4() {
		return fmt.Errorf("advert from %s to %s: not of one family", source, to)
	}
	if err := p.vrrp.send(packet, from(source, by), p.sockaddr(to)); err != nil {
		return fmt.Errorf("advert from %s to %s: %w", source, to, err)
	}
	return nil
}

// from makes the control message that names source and interface of a packet.
func from(source netip.Addr, index int) []byte {
	if source.Is4() {
		return unix.PktInfo4(&unix.Inet4Pktinfo{Ifindex: int32(index), Spec_dst: source.As4()})
	}
	return unix.PktInfo6(&unix.Inet6Pktinfo{Ifindex: uint32(index), Addr: source.As16()})
}

// sockaddr is an address for a raw socket.
func (p *Port) sockaddr(to netip.Addr) unix.Sockaddr {
	if to.Is4() {
		return &unix.SockaddrInet4{Addr: to.As4()}
	}
	s := &unix.SockaddrInet6{Addr: to.As16()}
	if to.IsLinkLocalUnicast() || to.IsLinkLocalMulticast() {
		s.ZoneId = uint32(p.Link().Index)
	}
	return s
}

// heardAdvert passes a packet on unless it is our own or came a wrong way.
func (p *Port) heardAdvert(m message) {
	var packet Packet
	index := 0
	if p.vips[0].Is4() {
		var err error
		if packet, err = decodeIPv4(m.b); err != nil {
			return
		}
		index = readIndex4(m.oob)
	} else {
		sender, ok := m.from.(*unix.SockaddrInet6)
		if !ok {
			return
		}
		c := readControl6(m.oob)
		index = c.index
		packet = Packet{Source: netip.AddrFrom16(sender.Addr), Destination: c.to, TTL: c.hops, Payload: m.b}
	}
	packet.OnInterface = index == p.Link().Index
	p.mu.Lock()
	own := p.locals[packet.Source] || packet.Source == p.Source()
	p.mu.Unlock()
	if own {
		return
	}
	if !p.fits(packet) {
		p.refused.Add(1)
		return
	}
	packet.Payload = slices.Clone(packet.Payload)
	select {
	case p.adverts <- packet:
	default:
		p.dropped.Add(1)
	}
}

// fits reports that a packet came the way that is configured, so that a router that
// is set up otherwise is not taken for one of ours.
func (p *Port) fits(packet Packet) bool {
	if len(p.o.Peers) > 0 {
		return !packet.Destination.IsMulticast() && slices.ContainsFunc(p.o.Peers, func(a netip.Addr) bool {
			return a.WithZone("") == packet.Source
		})
	}
	return packet.OnInterface && packet.Destination == p.group()
}

// decodeIPv4 takes a packet apart; its payload is not copied.
func decodeIPv4(b []byte) (Packet, error) {
	const least = 20
	if len(b) < least || b[0]>>4 != 4 {
		return Packet{}, errors.New("no IPv4 header")
	}
	head, whole := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	if head < least || whole < head || whole > len(b) {
		return Packet{}, errors.New("IPv4 lengths do not fit")
	}
	return Packet{
		Source:      netip.AddrFrom4([4]byte(b[12:])),
		Destination: netip.AddrFrom4([4]byte(b[16:])),
		TTL:         int(b[8]),
		Payload:     b[head:whole],
	}, nil
}
