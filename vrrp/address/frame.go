package address

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
)

// claim is what a frame says: the address is at this MAC.
type claim struct {
	address netip.Addr
	mac     net.HardwareAddr
}

// errNoClaim says of a well-formed packet that it claims nothing: a probe, a question.
var errNoClaim = errors.New("it claims no address")

// decodeARP reads an ARP packet, from its own header on. Requests claim the address
// of their sender as much as replies do.
func decodeARP(b []byte) (claim, error) {
	var p arp.Packet
	if len(b) >= 8 && (b[4] != 6 || b[5] != 4) {
		return claim{}, fmt.Errorf("ARP: addresses of %d and %d bytes", b[4], b[5])
	}
	if err := p.UnmarshalBinary(b); err != nil {
		return claim{}, fmt.Errorf("ARP: %w", err)
	}
	if p.ProtocolType != uint16(ethernet.EtherTypeIPv4) {
		return claim{}, fmt.Errorf("ARP: protocol %#x", p.ProtocolType)
	}
	if p.Operation != arp.OperationRequest && p.Operation != arp.OperationReply {
		return claim{}, fmt.Errorf("ARP: operation %d", p.Operation)
	}
	// RFC 5227 section 1.1: the sender address of a probe is 0.0.0.0.
	if p.SenderIP.IsUnspecified() || !station(p.SenderHardwareAddr) {
		return claim{}, errNoClaim
	}
	return claim{p.SenderIP, p.SenderHardwareAddr}, nil
}

// decodeNA reads a neighbour advertisement, from its ICMPv6 header on. One that does
// not name a MAC, which only answers to unicast questions may leave out, tells nothing.
func decodeNA(b []byte) (claim, error) {
	m, err := ndp.ParseMessage(b)
	if err != nil {
		return claim{}, err
	}
	na, ok := m.(*ndp.NeighborAdvertisement)
	if !ok {
		return claim{}, errNoClaim
	}
	for _, o := range na.Options {
		l, ok := o.(*ndp.LinkLayerAddress)
		if ok && l.Direction == ndp.Target && station(l.Addr) {
			return claim{na.TargetAddress, l.Addr}, nil
		}
	}
	return claim{}, errNoClaim
}

// station reports that one host can have this MAC: it is neither a group's nor zero.
func station(mac net.HardwareAddr) bool {
	return len(mac) == 6 && mac[0]&1 == 0 && [6]byte(mac) != [6]byte{}
}

// frame is a packet with its addresses on the link.
type frame struct {
	proto   ethernet.EtherType
	to      net.HardwareAddr
	payload []byte
}

// announcement gives the frames that move an address to our MAC in other hosts'
// caches. For IPv4 it is a gratuitous request as keepalived sends it and a reply:
// Linux's arp_is_garp wants of replies that the target's MAC is the sender's, and
// hosts that ignore one form may heed the other.
func announcement(mac net.HardwareAddr, vip netip.Addr, router bool) ([]frame, error) {
	if vip.Is6() {
		f, err := advertisement(mac, vip, router)
		return []frame{f}, err
	}
	request, err := arpFrame(arp.OperationRequest, mac, vip, ethernet.Broadcast, vip)
	if err != nil {
		return nil, err
	}
	reply, err := arpFrame(arp.OperationReply, mac, vip, mac, vip)
	return []frame{request, reply}, err
}

// question asks who has the address, as one that has no address itself: RFC 5227's
// probe, and the solicitation of RFC 4862 section 5.4.2, which is answered to all nodes.
func question(mac net.HardwareAddr, vip netip.Addr) (frame, error) {
	if vip.Is4() {
		return arpFrame(arp.OperationRequest, mac, netip.IPv4Unspecified(), make(net.HardwareAddr, 6), vip)
	}
	group, err := ndp.SolicitedNodeMulticast(vip)
	if err != nil {
		return frame{}, err
	}
	return icmpFrame(&ndp.NeighborSolicitation{TargetAddress: vip}, netip.IPv6Unspecified(), group)
}

// arpFrame is a broadcast ARP packet.
func arpFrame(op arp.Operation, mac net.HardwareAddr, ip netip.Addr, target net.HardwareAddr, targetIP netip.Addr) (frame, error) {
	p, err := arp.NewPacket(op, mac, ip, target, targetIP)
	if err != nil {
		return frame{}, err
	}
	b, err := p.MarshalBinary()
	return frame{ethernet.EtherTypeARP, ethernet.Broadcast, b}, err
}

// advertisement is unsolicited and to all nodes, RFC 4861 section 7.2.6; RFC 9568
// section 6.4.1 has the flags.
func advertisement(mac net.HardwareAddr, vip netip.Addr, router bool) (frame, error) {
	na := &ndp.NeighborAdvertisement{
		Router:        router,
		Override:      true,
		TargetAddress: vip,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: mac}},
	}
	return icmpFrame(na, vip, netip.IPv6LinkLocalAllNodes())
}

// icmpFrame is an IPv6 packet to a group, with the hop limit 255 that RFC 4861 wants.
func icmpFrame(m ndp.Message, from, group netip.Addr) (frame, error) {
	body, err := ndp.MarshalMessageChecksum(m, from, group)
	if err != nil {
		return frame{}, err
	}
	b := append(ipv6Header(from, group, protoICMPv6, ndp.HopLimit, len(body)), body...)
	to := group.As16()
	// RFC 2464 section 7.
	mac := net.HardwareAddr{0x33, 0x33, to[12], to[13], to[14], to[15]}
	return frame{ethernet.EtherTypeIPv6, mac, b}, nil
}

// Numbers of IANA's registry of protocols.
const (
	protoTCP    = 6
	protoICMPv6 = 58
	protoVRRP   = 112
)

// ipv6Header has no extension.
func ipv6Header(from, to netip.Addr, proto, hops uint8, payload int) []byte {
	b := make([]byte, 40, 40+payload)
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], uint16(payload))
	b[6], b[7] = proto, hops
	f, t := from.As16(), to.As16()
	copy(b[8:], f[:])
	copy(b[24:], t[:])
	return b
}
