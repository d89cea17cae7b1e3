package address

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// claimants remembers who claimed an address a short time ago, so that a rival that
// sends a thousand frames is one event.
type claimants struct {
	mu   sync.Mutex
	seen map[claimant]sighting
}

// claimant is a claim as the key of a map.
type claimant struct {
	mac     [6]byte
	address netip.Addr
}

// sighting is what was found out about a claimant.
type sighting struct {
	at   time.Duration // since boot
	ours bool          // another interface of this machine has the MAC
}

const (
	claimRepeat = time.Second // how often the same claim is told
	claimMost   = 64          // claimants that are remembered
)

// forget has the next claim told, whenever it comes.
func (c *claimants) forget() {
	c.mu.Lock()
	clear(c.seen)
	c.mu.Unlock()
}

// judge reports that a claim is a rival's, and whether to tell of it. ours asks if a
// MAC is this machine's; it is not asked often.
func (c *claimants) judge(k claimant, now time.Duration, ours func([6]byte) bool) (rival, tell bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.seen[k]
	if ok && now-s.at < claimRepeat {
		return !s.ours, false
	}
	if !ok && len(c.seen) >= claimMost {
		for old, s := range c.seen {
			if now-s.at >= claimRepeat {
				delete(c.seen, old)
			}
		}
		if len(c.seen) >= claimMost {
			return true, false // MACs without end: somebody forges them
		}
	}
	s = sighting{at: now, ours: ours(k.mac)}
	if c.seen == nil {
		c.seen = map[claimant]sighting{}
	}
	c.seen[k] = s
	return !s.ours, !s.ours
}

// drop has a claim told again that could not be.
func (c *claimants) drop(k claimant) {
	c.mu.Lock()
	delete(c.seen, k)
	c.mu.Unlock()
}

// openWire opens what reads ARP and sends ARP and IPv6 frames. The kernel writes and
// strips the link's own header.
func (p *Port) openWire() error {
	s, err := openSocket(unix.AF_PACKET, unix.SOCK_DGRAM, 0) // it receives nothing before it is bound
	if err != nil {
		return err
	}
	p.wire = s
	if !p.has(true) {
		return nil
	}
	prog, err := arpFilter(p.vips)
	if err != nil {
		return err
	}
	return errors.Join(s.filter(prog), s.control(func(fd int) error {
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: network(unix.ETH_P_ARP)})
	}))
}

// network puts a number into network byte order for the kernel.
func network(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}

// openICMP opens what reads neighbour advertisements.
func (p *Port) openICMP() error {
	if !p.has(false) {
		return nil
	}
	s, err := openSocket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6)
	if err != nil {
		return err
	}
	p.icmp = s
	prog, err := naFilter(p.vips)
	if err != nil {
		return err
	}
	return errors.Join(s.filter(prog), s.set(
		option{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1},
		option{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1}))
}

// heardARP looks at an ARP packet that claims a virtual address.
func (p *Port) heardARP(m message) {
	from, ok := m.from.(*unix.SockaddrLinklayer)
	if !ok || from.Ifindex != p.Link().Index || from.Pkttype == unix.PACKET_OUTGOING {
		return
	}
	if c, err := decodeARP(m.b); err == nil {
		p.heardClaim(c)
	}
}

// heardNA looks at a neighbour advertisement for a virtual address.
func (p *Port) heardNA(m message) {
	c6 := readControl6(m.oob)
	// RFC 4861 section 7.1.2: with another hop limit it came from beyond a router.
	if c6.index != p.Link().Index || c6.hops != 255 {
		return
	}
	if c, err := decodeNA(m.b); err == nil {
		p.heardClaim(c)
	}
}

// heardClaim tells of a claim unless it is our own.
func (p *Port) heardClaim(c claim) {
	k := claimant{[6]byte(c.mac), c.address}
	if !p.virtual(c.address) || string(c.mac) == string(p.Link().MAC) {
		return
	}
	rival, tell := p.claimants.judge(k, boot(), p.ours)
	if !rival {
		return
	}
	if p.held.Load() {
		p.claims.Add(1)
	}
	c.mac = clone(c.mac)
	if pr := p.probe.Load(); pr != nil {
		pr.answer(c)
	}
	if !tell {
		return
	}
	select {
	case p.events <- Event{Kind: Claimed, Address: c.address, MAC: c.mac}:
	default:
		p.claimants.drop(k) // it comes again; the socket must be read on
	}
}

// ours reports that an interface of this machine has the MAC: with two of them in one
// LAN, the kernel answers ARP on either.
func (p *Port) ours(mac [6]byte) bool {
	links, err := p.rtnl.LinkList()
	if err != nil {
		return false // an alarm too many is better than none
	}
	for _, l := range links {
		if string(l.Attrs().HardwareAddr) == string(mac[:]) {
			return true
		}
	}
	return false
}
