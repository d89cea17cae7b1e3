package vip

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
)

const (
	ipv6Header  = 40
	protoICMPv6 = 58
	hopLimit    = 255 // RFC 4861: anything less has passed a router
)

// solicitation is the frame that asks who has an IPv6 address.
func solicitation(from *Host, vip netip.Addr) ([]byte, error) {
	group, err := ndp.SolicitedNodeMulticast(vip)
	if err != nil {
		return nil, err
	}
	message := &ndp.NeighborSolicitation{
		TargetAddress: vip,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: from.MAC}},
	}
	source := linkLocal(from.MAC)
	body, err := ndp.MarshalMessageChecksum(message, source, group)
	if err != nil {
		return nil, err
	}
	packet := make([]byte, ipv6Header, ipv6Header+len(body))
	packet[0], packet[6], packet[7] = 6<<4, protoICMPv6, hopLimit
	binary.BigEndian.PutUint16(packet[4:], uint16(len(body)))
	copy(packet[8:], source.AsSlice())
	copy(packet[24:], group.AsSlice())
	g := group.As16()
	return (&ethernet.Frame{
		Destination: net.HardwareAddr{0x33, 0x33, g[12], g[13], g[14], g[15]}, Source: from.MAC,
		EtherType: ethernet.EtherTypeIPv6, Payload: append(packet, body...),
	}).MarshalBinary()
}

// linkLocal is the address that the kernel makes of a MAC (RFC 4291, appendix A).
func linkLocal(mac net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
}

// readNA is readARP for IPv6.
func readNA(frame []byte, vip netip.Addr) (mac string, gratuitous, ok bool) {
	f := &ethernet.Frame{}
	if f.UnmarshalBinary(frame) != nil || len(f.Payload) < ipv6Header || f.Payload[6] != protoICMPv6 {
		return "", false, false
	}
	end := min(len(f.Payload), ipv6Header+int(binary.BigEndian.Uint16(f.Payload[4:])))
	message, err := ndp.ParseMessage(f.Payload[ipv6Header:end])
	na, isNA := message.(*ndp.NeighborAdvertisement)
	if err != nil || !isNA || na.TargetAddress != vip {
		return "", false, false
	}
	mac = f.Source.String()
	for _, o := range na.Options {
		if l, ok := o.(*ndp.LinkLayerAddress); ok && l.Direction == ndp.Target {
			mac = l.Addr.String()
		}
	}
	return mac, !na.Solicited, true
}
