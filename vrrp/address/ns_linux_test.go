package address

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what must come; it is no measure of speed.
const patience = 20 * time.Second

// host is a network namespace. It has no name: it is gone with its last socket.
type host struct {
	t   *testing.T
	ns  netns.NsHandle
	nl  *netlink.Handle
	mac net.HardwareAddr // of eth0
}

// newHost skips the test when this process may not make a namespace.
func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{t: t}
	err := onThread(func() (err error) {
		h.ns, err = netns.New()
		return err
	})
	if errors.Is(err, unix.EPERM) {
		t.Skip("making network namespaces takes root")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.ns.Close() })
	if h.nl, err = netlink.NewHandleAt(h.ns, unix.NETLINK_ROUTE); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.nl.Close)
	h.up("lo")
	// Tests of addresses that are the host's own, not of duplicate address detection.
	h.sysctl("net/ipv6/conf/default/accept_dad", "0")
	return h
}

// onThread runs f on a thread that ends with it.
func onThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked, so that the runtime ends the thread
		result <- f()
	}()
	return <-result
}

// do runs f in the namespace.
func (h *host) do(f func() error) {
	h.t.Helper()
	err := onThread(func() error {
		if err := netns.Set(h.ns); err != nil {
			return err
		}
		return f()
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// sysctl sets a kernel parameter of the namespace.
func (h *host) sysctl(name, value string) {
	h.t.Helper()
	h.do(func() error { return os.WriteFile("/proc/sys/"+name, []byte(value), 0) })
}

// link finds an interface.
func (h *host) link(name string) netlink.Link {
	h.t.Helper()
	l, err := h.nl.LinkByName(name)
	if err != nil {
		h.t.Fatalf("%s: %v", name, err)
	}
	return l
}

// up sets an interface up.
func (h *host) up(name string) {
	h.t.Helper()
	if err := h.nl.LinkSetUp(h.link(name)); err != nil {
		h.t.Fatal(err)
	}
}

// down sets an interface down.
func (h *host) down(name string) {
	h.t.Helper()
	if err := h.nl.LinkSetDown(h.link(name)); err != nil {
		h.t.Fatal(err)
	}
}

// add gives eth0 an address for good.
func (h *host) add(cidr string) {
	h.t.Helper()
	a, err := netlink.ParseAddr(cidr)
	if err != nil {
		h.t.Fatal(err)
	}
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	if err := h.nl.AddrAdd(h.link("eth0"), a); err != nil {
		h.t.Fatalf("add %s: %v", cidr, err)
	}
}

// remove removes every entry of an address from eth0, as somebody with ip(8) would.
func (h *host) remove(ip netip.Addr) {
	h.t.Helper()
	for _, a := range h.addresses() {
		if local(a) == ip {
			if err := h.nl.AddrDel(h.link("eth0"), &a); err != nil {
				h.t.Fatal(err)
			}
		}
	}
}

// addresses are those of eth0.
func (h *host) addresses() []netlink.Addr {
	h.t.Helper()
	list, err := h.nl.AddrList(h.link("eth0"), netlink.FAMILY_ALL)
	for errors.Is(err, netlink.ErrDumpInterrupted) {
		list, err = h.nl.AddrList(h.link("eth0"), netlink.FAMILY_ALL)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return list
}

// has finds an address on eth0.
func (h *host) has(ip netip.Addr) (netlink.Addr, bool) {
	h.t.Helper()
	for _, a := range h.addresses() {
		if local(a) == ip {
			return a, true
		}
	}
	return netlink.Addr{}, false
}

// open opens a Port on eth0 for the test's life.
func (h *host) open(o Options) *Port {
	h.t.Helper()
	var p *Port
	o.Interface = "eth0"
	h.do(func() (err error) {
		p, err = Open(o)
		return err
	})
	h.t.Cleanup(func() {
		if err := p.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return p
}

// lan is hosts on one bridge. Host i has the MAC 02:00:00:00:00:i, counted from 1, and
// on eth0 the addresses 10.9.0.i/24 and fd09::i/64.
type lan struct {
	hub   *host
	hosts []*host
}

// newLAN makes n hosts.
func newLAN(t *testing.T, n int) *lan {
	t.Helper()
	l := &lan{hub: newHost(t)}
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	if err := l.hub.nl.LinkAdd(bridge); err != nil {
		t.Skipf("no bridge in a namespace: %v", err)
	}
	l.hub.up("br0")
	for i := 1; i <= n; i++ {
		h := newHost(t)
		h.mac = net.HardwareAddr{2, 0, 0, 0, 0, byte(i)}
		l.hosts = append(l.hosts, h)
		l.plug(i)
		h.add(fmt.Sprintf("10.9.0.%d/24", i))
		h.add(fmt.Sprintf("fd09::%d/64", i))
	}
	return l
}

// plug gives host i an eth0 that is up.
func (l *lan) plug(i int) {
	h := l.hosts[i-1]
	h.t.Helper()
	port := fmt.Sprintf("p%d", i)
	err := l.hub.nl.LinkAdd(&netlink.Veth{
		LinkAttrs:        netlink.LinkAttrs{Name: port},
		PeerName:         "eth0",
		PeerHardwareAddr: h.mac,
		PeerNamespace:    netlink.NsFd(h.ns),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	if err := l.hub.nl.LinkSetMaster(l.hub.link(port), l.hub.link("br0")); err != nil {
		h.t.Fatal(err)
	}
	l.hub.up(port)
	h.up("eth0")
	l.forwards(i)
}

// forwards waits until frames of host i get through: a carrier is told up to a second
// late, and only then the bridge opens its port.
func (l *lan) forwards(i int) {
	l.hub.t.Helper()
	runs := func(h *host, name string) bool { return h.link(name).Attrs().RawFlags&unix.IFF_RUNNING != 0 }
	eventually(l.hub.t, "a carrier", func() bool {
		return runs(l.hosts[i-1], "eth0") && runs(l.hub, fmt.Sprintf("p%d", i))
	})
}

// neighbour is the MAC that the host's kernel has for an address.
func (h *host) neighbour(ip netip.Addr) string {
	h.t.Helper()
	list, err := h.nl.NeighList(h.link("eth0").Attrs().Index, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		h.t.Fatal(err)
	}
	for _, n := range list {
		if a, _ := netip.AddrFromSlice(n.IP); a.Unmap() == ip {
			return n.HardwareAddr.String()
		}
	}
	return ""
}

// eventually waits for what must come.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s did not come within %v", what, patience)
		}
	}
}

// next waits for an event of a kind and skips others.
func next(t *testing.T, p *Port, k Kind) Event {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case e := <-p.Events():
			if e.Kind == Failed {
				t.Logf("failed: %v", e.Err)
			}
			if e.Kind == k {
				return e
			}
		case <-timeout:
			t.Fatalf("no event %q within %v", k, patience)
		}
	}
}

// discard reads events that a test has no use for, until the Port is closed.
func discard(p *Port) {
	go func() {
		for range p.Events() {
		}
	}()
}

// keep holds and announces as an owner does until the test ends or stop is called.
func keep(t *testing.T, p *Port) (stop func()) {
	t.Helper()
	quit, gone := make(chan struct{}), make(chan struct{})
	hold := func() {
		p.Allow(boot() + time.Minute)
		if err := p.Hold(); err != nil {
			t.Errorf("hold: %v", err)
		}
	}
	hold()
	go func() {
		defer close(gone)
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				hold()
			}
		}
	}()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			close(quit)
			<-gone
		}
	}
	t.Cleanup(stop)
	return stop
}

// prefixes parses addresses of virtual routers.
func prefixes(list ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// both are options with an address of each family.
func both() Options {
	return Options{Addresses: prefixes("10.9.0.100/32", "fd09::100/128"), Repeat: 5}
}
