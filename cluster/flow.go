package cluster

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
)

// Flow is one TCP connection of a client to the virtual IP.
type Flow struct {
	Client netip.AddrPort
	VIP    netip.AddrPort
}

// MaxFlows bounds the clients of one node that the others are told of. Those beyond
// are counted, and not reset when the address moves.
const MaxFlows = 50_000

// normal gives the flow with addresses in the form that a message has them in, and
// reports whether it is one.
func (f Flow) normal() (Flow, bool) {
	f.Client = netip.AddrPortFrom(f.Client.Addr().Unmap().WithZone(""), f.Client.Port())
	f.VIP = netip.AddrPortFrom(f.VIP.Addr().Unmap().WithZone(""), f.VIP.Port())
	return f, f.Client.IsValid() && f.VIP.IsValid()
}

// flowDelta says how a node's flows have changed from the version before seq.
type flowDelta struct {
	seq            uint64
	opened, closed []Flow
}

// flowImage is all the flows of a node as of version seq.
type flowImage struct {
	seq   uint64
	flows []Flow
}

func (d flowDelta) append(b []byte) []byte {
	b = binary.AppendUvarint(b, d.seq)
	b = appendFlows(b, d.opened)
	return appendFlows(b, d.closed)
}

func parseFlowDelta(d *decoder) (flowDelta, error) {
	v := flowDelta{seq: d.uint(), opened: d.flows(), closed: d.flows()}
	if d.bad {
		return flowDelta{}, errMessage
	}
	return v, nil
}

func (i flowImage) append(b []byte) []byte {
	b = binary.AppendUvarint(b, i.seq)
	return appendFlows(b, i.flows)
}

func parseFlowImage(d *decoder) (flowImage, error) {
	v := flowImage{seq: d.uint(), flows: d.flows()}
	if d.bad {
		return flowImage{}, errMessage
	}
	return v, nil
}

// appendFlows writes flows by the address that the clients are at: each address
// once, then for each length of an address, 4 and 16, the number of clients and the
// clients themselves. That is 6 bytes for a client with IPv4.
func appendFlows(b []byte, flows []Flow) []byte {
	byVIP := make(map[netip.AddrPort][2][]netip.AddrPort)
	for _, f := range flows {
		group := byVIP[f.VIP]
		family := 0
		if f.Client.Addr().Is6() {
			family = 1
		}
		group[family] = append(group[family], f.Client)
		byVIP[f.VIP] = group
	}
	b = binary.AppendUvarint(b, uint64(len(byVIP)))
	for _, vip := range slices.SortedFunc(maps.Keys(byVIP), netip.AddrPort.Compare) {
		b = appendAddrPort(b, vip)
		for _, clients := range byVIP[vip] {
			b = binary.AppendUvarint(b, uint64(len(clients)))
			for _, c := range clients {
				b = append(b, c.Addr().AsSlice()...)
				b = binary.BigEndian.AppendUint16(b, c.Port())
			}
		}
	}
	return b
}

// smallestGroup is an address of IPv4, its port and two empty lists.
const smallestGroup = 1 + 4 + 2 + 2

func (d *decoder) flows() []Flow {
	var flows []Flow
	for range d.count(smallestGroup) {
		vip := d.addrPort()
		for _, size := range []int{4, 16} {
			n := d.count(size + 2)
			if len(flows)+n > MaxFlows {
				d.fail()
			}
			for range n {
				client := d.addrPortOf(size)
				if d.bad {
					return nil
				}
				flows = append(flows, Flow{Client: client, VIP: vip})
			}
		}
	}
	if d.bad {
		return nil
	}
	return flows
}
