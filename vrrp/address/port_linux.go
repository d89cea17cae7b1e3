package address

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Port is one interface with its virtual addresses. Its methods may be called from
// any goroutine; none of them waits for the network.
type Port struct {
	// Immutable after Open.
	o      Options
	vips   []netip.Addr
	router bool // the kernel forwards IPv6, so neighbour advertisements say so
	rtnl   *netlink.Handle
	news   *nl.NetlinkSocket
	wire   *socket // ARP both ways, and what is sent of IPv6
	icmp   *socket // neighbour advertisements; nil without an IPv6 address
	vrrp   *socket
	reset4 *socket // what Tickle sends; nil without an address of the family
	reset6 *socket

	events  chan Event
	adverts chan Packet
	done    chan struct{} // closed by Close
	wg      sync.WaitGroup

	// Atomic.
	link      atomic.Pointer[Link] // written under mu
	changes   atomic.Uint64        // of link
	held      atomic.Bool          // written under mu: Hold was called after the last Release
	source    atomic.Pointer[netip.Addr]
	allowed   atomic.Int64 // time since boot until which announcements may go out
	announced atomic.Uint64
	claims    atomic.Uint64
	tickled   atomic.Uint64
	dropped   atomic.Uint64
	refused   atomic.Uint64

	// mu guards what follows. Requests to the kernel's rtnetlink are made under it:
	// they do not wait for anybody outside, and what they answer must not be
	// overtaken by a Hold or Release.
	mu       sync.Mutex
	present  map[netip.Addr]bool
	locals   map[netip.Addr]bool // of the interface, of any kind
	joined   int                 // the index in which the multicast group was joined
	schedule schedule
	tickles  []round
	probes   int // number of the last one

	probe     atomic.Pointer[probe] // the one that is under way
	watching  watching
	announce  chan struct{} // capacity 1: the schedule changed
	tickle    chan struct{} // capacity 1: there is something to send
	claimants claimants
}

// queue is how many events and adverts wait while the reader is busy, with etcd for
// instance: half a second of adverts of five nodes.
const queue = 32

// Open opens the sockets. The interface need not exist yet. An address that is left
// over from an earlier life is not removed: Release does that.
func Open(o Options) (*Port, error) {
	if len(o.Addresses) == 0 {
		return nil, errors.New("no virtual address")
	}
	p := &Port{
		o:        o,
		router:   forwards(o.Interface),
		events:   make(chan Event, queue),
		adverts:  make(chan Packet, queue),
		done:     make(chan struct{}),
		present:  map[netip.Addr]bool{},
		announce: make(chan struct{}, 1),
		tickle:   make(chan struct{}, 1),
		schedule: schedule{delay: o.Delay, repeat: o.Repeat, refresh: o.Refresh},
	}
	for _, a := range o.Addresses {
		p.vips = append(p.vips, a.Addr())
	}
	p.link.Store(&Link{})
	p.source.Store(&netip.Addr{})
	if err := p.open(); err != nil {
		p.closeSockets()
		return nil, err
	}
	p.watching.first = true
	p.watching.events, _ = p.compareLocked() // nobody else is there yet; watch tells errors
	p.start()
	return p, nil
}

// open opens everything that the capabilities are for.
func (p *Port) open() error {
	var err error
	if p.rtnl, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	// The kernel answers rtnetlink while the request is being sent.
	if err := p.rtnl.SetSocketTimeout(time.Second); err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	p.news, err = nl.Subscribe(unix.NETLINK_ROUTE,
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR)
	if err != nil {
		return fmt.Errorf("netlink: subscribe: %w", err)
	}
	steps := []func() error{p.openWire, p.openICMP, p.openVRRP, p.openReset}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// start starts the goroutines.
func (p *Port) start() {
	p.wg.Go(p.watch)
	p.wg.Go(p.announceLoop)
	p.wg.Go(p.tickleLoop)
	p.wg.Go(func() { p.wire.serve(p.done, p.heardARP) })
	p.wg.Go(func() { p.vrrp.serve(p.done, p.heardAdvert) })
	if p.icmp != nil {
		p.wg.Go(func() { p.icmp.serve(p.done, p.heardNA) })
	}
}

// Close ends all goroutines and closes the sockets and both channels. Addresses stay
// until they expire: who wants them gone calls Release before. It is called once.
func (p *Port) Close() error {
	p.mu.Lock()
	close(p.done)
	p.mu.Unlock()
	p.closeSockets()
	p.wg.Wait()
	p.rtnl.Close()
	close(p.events)
	close(p.adverts)
	return nil
}

// closeSockets ends what reads them. rtnl stays for the goroutines that still run.
func (p *Port) closeSockets() {
	for _, s := range []*socket{p.wire, p.icmp, p.vrrp, p.reset4, p.reset6} {
		if s != nil {
			s.close()
		}
	}
	if p.news != nil {
		p.news.Close()
	}
}

// closed reports that Close was called.
func (p *Port) closed() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// emit waits for the reader; it is called from the Port's own goroutines only, and
// without mu.
func (p *Port) emit(events ...Event) {
	for _, e := range events {
		select {
		case p.events <- e:
		case <-p.done:
		}
	}
}

// Events are to be read until it is closed. The first one is a LinkChanged.
func (p *Port) Events() <-chan Event { return p.events }

// Adverts are the VRRP packets of others, in their order. When they are not read in
// time they are dropped and counted.
func (p *Port) Adverts() <-chan Packet { return p.adverts }

// Link is the interface's state as last heard.
func (p *Port) Link() Link { return *p.link.Load() }

// Source is the address that adverts are sent from: of the family of the first
// virtual address; link-local with IPv6. It is not valid while there is none.
func (p *Port) Source() netip.Addr { return *p.source.Load() }

// Counters returns a copy.
func (p *Port) Counters() Counters {
	return Counters{
		Announced:      p.announced.Load(),
		Claims:         p.claims.Load(),
		Tickled:        p.tickled.Load(),
		AdvertsDropped: p.dropped.Load(),
		AdvertsRefused: p.refused.Load(),
	}
}

// has reports that some virtual address is of IPv4, or of IPv6.
func (p *Port) has(v4 bool) bool {
	for _, a := range p.vips {
		if a.Is4() == v4 {
			return true
		}
	}
	return false
}

// clone copies a MAC that lies in a buffer.
func clone(mac net.HardwareAddr) net.HardwareAddr { return append(net.HardwareAddr(nil), mac...) }
