package address

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestNobodyRefreshesAndTheKernelRemoves(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1)
	p := l.hosts[0].open(both())
	began := boot()
	if err := p.Hold(); err != nil {
		t.Fatal(err)
	}
	for _, ip := range []netip.Addr{vip4, vip6} {
		if _, ok := l.hosts[0].has(ip); !ok {
			t.Errorf("%s is not there after Hold", ip)
		}
	}
	left := map[netip.Addr]bool{}
	for len(left) < 2 {
		e := next(t, p, Removed)
		if took := boot() - began; took < 2*time.Second {
			t.Errorf("%s expired after %v, want about %v", e.Address, took, Lifetime)
		}
		left[e.Address] = true
	}
	t.Logf("expired after %v", boot()-began)
	if there, err := p.Present(); there || err != nil {
		t.Errorf("Present = %t, %v after the expiry", there, err)
	}
}

func TestHeldAddressStaysAndIsNoSource(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	h := l.hosts[0]
	p := h.open(both())
	// Longer than a lifetime: what is told as removed here was not refreshed. A test
	// that was itself stopped for so long begins again.
	for removed := true; removed; {
		removed = false
		late := time.Duration(0)
		for began, last := boot(), boot(); boot()-began < Lifetime+time.Second; last = boot() {
			late = max(late, boot()-last)
			if err := p.Hold(); err != nil {
				t.Fatal(err)
			}
			select {
			case e := <-p.Events():
				removed = removed || e.Kind == Removed
			case <-time.After(Lifetime / 6):
			}
		}
		if removed && late < Lifetime/2 {
			t.Fatal("an address was removed while it was refreshed")
		}
	}
	keep(t, p)
	if there, err := p.Present(); !there || err != nil {
		t.Errorf("Present = %t, %v while held", there, err)
	}
	a, _ := h.has(vip6)
	if a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 || a.Flags&unix.IFA_F_DEPRECATED == 0 {
		t.Errorf("flags of %s are %#x, want deprecated and no duplicate address detection", vip6, a.Flags)
	}
	for to, want := range map[string]string{"10.9.0.2:9": "10.9.0.1", "[fd09::2]:9": "fd09::1"} {
		h.do(func() error {
			c, err := net.Dial("udp", to)
			if err != nil {
				return err
			}
			defer func() { _ = c.Close() }()
			if got := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().String(); got != want {
				t.Errorf("a connection to %s comes from %s, want %s", to, got, want)
			}
			return nil
		})
	}
}

// The address is the only one, and there is a gateway: the kernel must rather find no
// source than the virtual address.
func TestLoneAddressIsNoSourceThroughAGateway(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1)
	h := l.hosts[0]
	p := h.open(Options{Addresses: prefixes("10.9.0.100/32")})
	keep(t, p)
	h.remove(netip.MustParseAddr("10.9.0.1"))
	err := h.nl.RouteAdd(&netlink.Route{
		LinkIndex: h.link("eth0").Attrs().Index, Gw: net.IPv4(10, 9, 0, 2), Flags: int(netlink.FLAG_ONLINK),
	})
	if err != nil {
		t.Fatal(err)
	}
	h.do(func() error {
		c, err := net.Dial("udp", "192.0.2.1:9")
		if err != nil {
			return nil // no source at all is right
		}
		defer func() { _ = c.Close() }()
		if got := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr(); got == vip4 {
			t.Errorf("a connection through a gateway comes from the virtual address")
		}
		return nil
	})
}

func TestReleaseRemovesWhateverIsThere(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1)
	h := l.hosts[0]
	h.add("10.9.0.100/24") // left by somebody, for good, with another length
	p := h.open(both())
	if err := p.Hold(); err != nil {
		t.Fatal(err)
	}
	if err := p.Release(); err != nil {
		t.Fatal(err)
	}
	for _, a := range h.addresses() {
		if ip := local(a); ip == vip4 || ip == vip6 {
			t.Errorf("%s is there after Release", a.IPNet)
		}
	}
	if err := p.Release(); err != nil {
		t.Errorf("a second Release: %v", err)
	}
	if _, ok := h.has(netip.MustParseAddr("10.9.0.1")); !ok {
		t.Error("Release removed the node's own address")
	}
}

func TestClearNeedsNoPort(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1)
	h := l.hosts[0]
	h.add("10.9.0.100/24")
	h.add("fd09::100/128")
	h.do(func() error { return Clear("eth0", both().Addresses) })
	for _, ip := range []netip.Addr{vip4, vip6} {
		if _, ok := h.has(ip); ok {
			t.Errorf("%s is there after Clear", ip)
		}
	}
	h.do(func() error { return Clear("eth0", both().Addresses) }) // nothing there
	h.do(func() error { return Clear("eth7", both().Addresses) }) // no interface
}

// A new keeper finds what the one before it has left, and decides what becomes of it.
func TestWhatWasThereBeforeOpenIsNotTold(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1)
	h := l.hosts[0]
	h.add("10.9.0.100/32")
	p := h.open(Options{Addresses: prefixes("10.9.0.100/32")})
	if there, err := p.Present(); !there || err != nil {
		t.Errorf("Present = %t, %v", there, err)
	}
	next(t, p, LinkChanged)
	h.remove(vip4)
	eventually(t, "the end of it", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return !p.present[vip4]
	})
	if n := len(p.Events()); n != 0 { // a later look than the first has been made
		t.Errorf("told %v", <-p.Events())
	}
	h.add("10.9.0.100/32")
	next(t, p, Appeared)
}

func TestRemovedAddressIsToldAtOnce(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1)
	h := l.hosts[0]
	p := h.open(both())
	next(t, p, LinkChanged)
	var worst time.Duration
	for range 20 {
		if err := p.Hold(); err != nil {
			t.Fatal(err)
		}
		began := boot()
		h.remove(vip4)
		if e := next(t, p, Removed); e.Address != vip4 {
			t.Errorf("%s was removed, want %s", e.Address, vip4)
		}
		worst = max(worst, boot()-began)
	}
	t.Logf("told after %v at most", worst)
	// A look without news comes once in a second: so news did it.
	if worst > 20*look {
		t.Errorf("a removal was told after %v", worst)
	}
	if err := p.Release(); err != nil {
		t.Fatal(err)
	}
	h.add("10.9.0.100/32")
	if e := next(t, p, Appeared); e.Address != vip4 {
		t.Errorf("%s appeared, want %s", e.Address, vip4)
	}
}

// The kernel drops news when nobody reads them; a look finds what they would have told.
func TestLostNewsAreMadeUpFor(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1)
	h := l.hosts[0]
	p := h.open(both())
	next(t, p, LinkChanged)
	if err := p.Hold(); err != nil {
		t.Fatal(err)
	}
	if err := p.news.SetReceiveBufferSize(1, false); err != nil { // the kernel makes it its least
		t.Fatal(err)
	}
	p.mu.Lock() // watch waits here with the first of them
	for range 300 {
		for _, cidr := range []string{"10.9.0.77/32", "fd09::77/128"} {
			h.add(cidr)
			h.remove(netip.MustParsePrefix(cidr).Addr())
		}
	}
	h.remove(vip4)
	p.mu.Unlock()
	if e := next(t, p, Removed); e.Address != vip4 {
		t.Errorf("%s was removed, want %s", e.Address, vip4)
	}
}

func TestInterfaceVanishesAndComesBack(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1)
	h := l.hosts[0]
	p := h.open(both())
	first := next(t, p, LinkChanged).Link
	if !first.Up || first.Index == 0 || first.MAC.String() != h.mac.String() {
		t.Fatalf("the link is %+v at first", first)
	}
	if err := p.Hold(); err != nil {
		t.Fatal(err)
	}
	if err := h.nl.LinkDel(h.link("eth0")); err != nil {
		t.Fatal(err)
	}
	for e := next(t, p, LinkChanged); e.Link.Index != 0; e = next(t, p, LinkChanged) {
	}
	if err := p.Hold(); !errors.Is(err, ErrNoInterface) {
		t.Errorf("Hold without an interface: %v, want ErrNoInterface", err)
	}
	if err := p.Release(); err != nil {
		t.Errorf("Release without an interface: %v", err)
	}
	l.plug(1)
	e := next(t, p, LinkChanged)
	for ; !e.Link.Up; e = next(t, p, LinkChanged) {
	}
	if e.Link.Index == first.Index {
		t.Skip("the new interface has the old index")
	}
	if err := p.Hold(); err != nil {
		t.Fatal(err)
	}
	if _, ok := h.has(vip4); !ok {
		t.Error("the address is not on the new interface")
	}
}

func TestLinkDownAndUpIsTold(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1)
	p := l.hosts[0].open(both())
	next(t, p, LinkChanged)
	l.hub.down("p1") // the cable: the interface itself stays up
	if e := next(t, p, LinkChanged); e.Link.Up || e.Link.Index == 0 {
		t.Errorf("the link is %+v without a carrier", e.Link)
	}
	l.hub.up("p1")
	if e := next(t, p, LinkChanged); !e.Link.Up {
		t.Errorf("the link is %+v with its carrier back", e.Link)
	}
}

// The last owner may not be gone yet: duplicate address detection would find it, and
// leave the address unusable (dadfailed).
func TestIPv6IsUsableAtOnceThoughTheLastOwnerHasIt(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	o := Options{Addresses: prefixes("fd09::100/128")}
	keep(t, l.hosts[0].open(o))
	heir := l.hosts[1]
	for _, name := range []string{"all", "eth0"} {
		heir.sysctl("net/ipv6/conf/"+name+"/accept_dad", "1")
	}
	p := heir.open(o)
	for range 3 {
		if err := p.Hold(); err != nil {
			t.Fatal(err)
		}
		a, ok := heir.has(vip6)
		if !ok || a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 {
			t.Fatalf("there: %t, flags %#x, want it to be usable", ok, a.Flags)
		}
		heir.do(func() error {
			c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(vip6, 0)),
				net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[fd09::1]:9")))
			if err != nil {
				return err
			}
			return c.Close()
		})
	}
}

func TestWhatIsToldOfAddresses(t *testing.T) {
	there := []netlink.Addr{{IPNet: &net.IPNet{IP: vip4.AsSlice(), Mask: net.CIDRMask(32, 32)}}}
	tests := []struct {
		name          string
		held, was, is bool
		want          Kind // 0 for nothing
	}{
		{"held and there", true, true, true, 0},
		{"held and gone", true, true, false, Removed},
		{"held but never there", true, false, false, 0},
		{"held and just come", true, false, true, 0},
		{"a stranger's", false, false, true, Appeared},
		{"a stranger's still", false, true, true, 0},
		{"a stranger's no more", false, true, false, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := &Port{vips: []netip.Addr{vip4}, present: map[netip.Addr]bool{vip4: tt.was}}
			p.held.Store(tt.held)
			var list []netlink.Addr
			if tt.is {
				list = there
			}
			var got Kind
			for _, e := range p.compareAddressesLocked(list) {
				got = e.Kind
			}
			if got != tt.want {
				t.Errorf("told %q, want %q", got, tt.want)
			}
			if again := p.compareAddressesLocked(list); len(again) > 0 {
				t.Errorf("told again: %v", again)
			}
		})
	}
}
