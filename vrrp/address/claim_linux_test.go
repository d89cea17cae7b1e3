package address

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// talk has the host's kernel resolve and use an address.
func (h *host) talk(ip netip.Addr) {
	h.t.Helper()
	h.do(func() error {
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 9)))
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		_, err = c.Write([]byte("x"))
		return err
	})
}

func TestAnnouncementMovesNeighbours(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 3)
	old, heir, client := l.hosts[0], l.hosts[1], l.hosts[2]
	a, b := old.open(both()), heir.open(both())
	stop := keep(t, a)
	a.Announce()
	for _, ip := range []netip.Addr{vip4, vip6} {
		client.talk(ip)
		eventually(t, "the first owner's MAC for "+ip.String(), func() bool {
			return client.neighbour(ip) == old.mac.String()
		})
	}
	stop()
	if err := a.Release(); err != nil {
		t.Fatal(err)
	}
	sent := a.Counters().Announced
	if sent == 0 {
		t.Error("the first owner has counted no announcement")
	}
	keep(t, b)
	began := boot()
	b.Announce()
	for _, ip := range []netip.Addr{vip4, vip6} {
		// The client says nothing meanwhile: only the announcement can move it.
		eventually(t, "the heir's MAC for "+ip.String(), func() bool {
			return client.neighbour(ip) == heir.mac.String()
		})
		t.Logf("%s moved after %v", ip, boot()-began)
	}
	if got := a.Counters().Announced; got != sent {
		t.Errorf("%d announcements after Release", got-sent)
	}
	// Each had heard the other, and none itself.
	for name, p := range map[string]struct {
		port  *Port
		rival net.HardwareAddr
	}{"old owner": {a, heir.mac}, "heir": {b, old.mac}} {
		heard := map[netip.Addr]bool{}
		for !heard[vip4] || !heard[vip6] { // by ARP and by neighbour advertisement
			e := next(t, p.port, Claimed)
			heard[e.Address] = true
			if e.MAC.String() != p.rival.String() {
				t.Errorf("the %s heard a claim of %s, want %s", name, e.MAC, p.rival)
			}
		}
	}
}

func TestNothingIsAnnouncedThatIsNotOwned(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	p, ear := l.hosts[0].open(both()), l.hosts[1].open(both())
	silent := func(why string) {
		t.Helper()
		p.Announce()
		p.Rival()
		if _, err := p.announceDue(); err != nil { // as announceLoop does besides
			t.Error(err)
		}
		if n := p.Counters().Announced; n != 0 {
			t.Errorf("announced %d times %s", n, why)
		}
	}
	p.Allow(boot() + time.Minute)
	silent("without holding")
	p.Allow(boot() - 1)
	if err := p.Hold(); err != nil {
		t.Fatal(err)
	}
	silent("past the permission")
	// With it the schedule goes on by itself.
	p.Allow(boot() + time.Minute)
	if e := next(t, ear, Claimed); e.MAC.String() != l.hosts[0].mac.String() {
		t.Errorf("a claim of %s", e.MAC)
	}
}

// The order of the calls does not matter.
func TestAnnouncedOnceHeld(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	p, ear := l.hosts[0].open(both()), l.hosts[1].open(both())
	p.Announce()
	p.Allow(boot() + time.Minute)
	eventually(t, "a look at the schedule", func() bool { return len(p.announce) == 0 })
	if err := p.Hold(); err != nil {
		t.Fatal(err)
	}
	if e := next(t, ear, Claimed); e.MAC.String() != l.hosts[0].mac.String() {
		t.Errorf("a claim of %s", e.MAC)
	}
}

func TestRivalIsNamed(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 3)
	p, foreign := l.hosts[0].open(both()), l.hosts[1]
	keep(t, p)
	p.Announce()
	foreign.add("10.9.0.100/32")
	// The foreign host speaks in the address's name, so its kernel's question for the
	// third host does too, and everybody hears that.
	foreign.do(func() error {
		c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(vip4, 0)),
			net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.9.0.3:9")))
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		_, err = c.Write([]byte("x"))
		return err
	})
	if e := next(t, p, Claimed); e.MAC.String() != foreign.mac.String() || e.Address != vip4 {
		t.Errorf("%s is claimed by %s, want %s by %s", e.Address, e.MAC, vip4, foreign.mac)
	}
	if p.Counters().Claims == 0 {
		t.Error("no claim was counted")
	}
}

// A host that was given the addresses by mistake, and says nothing.
func TestSilentRivalIsFound(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	foreign := l.hosts[1]
	foreign.add("10.9.0.100/32")
	foreign.add("fd09::100/128")
	p := l.hosts[0].open(both())
	keep(t, p)
	p.Announce()
	found := map[netip.Addr]bool{}
	for !found[vip4] || !found[vip6] {
		e := next(t, p, Claimed)
		found[e.Address] = true
		if e.MAC.String() != foreign.mac.String() {
			t.Errorf("%s is claimed by %s, want %s", e.Address, e.MAC, foreign.mac)
		}
	}
}

// With two interfaces in one LAN the kernel answers for every address on both.
func TestOwnOtherInterfaceIsNoRival(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	h := l.hosts[0]
	second := net.HardwareAddr{2, 0, 0, 0, 1, 1}
	if err := l.hub.nl.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "q1"}, PeerName: "eth1",
		PeerHardwareAddr: second, PeerNamespace: netlink.NsFd(h.ns),
	}); err != nil {
		t.Fatal(err)
	}
	p := h.open(Options{Addresses: prefixes("10.9.0.100/32")})
	next(t, p, LinkChanged)
	theirs := claim{vip4, net.HardwareAddr{2, 0, 0, 0, 0, 2}}
	p.heardClaim(theirs)
	if n := p.Counters().Claims; n != 0 {
		t.Errorf("%d claims counted of an address that is not held", n)
	}
	next(t, p, Claimed)
	keep(t, p)
	p.heardClaim(claim{vip4, second})
	p.heardClaim(claim{vip4, h.mac})
	if n := p.Counters().Claims; n != 0 {
		t.Errorf("%d claims of own interfaces", n)
	}
	p.heardClaim(theirs) // told again at once, since the addresses are held now
	if e := next(t, p, Claimed); e.MAC[5] != 2 || p.Counters().Claims != 1 {
		t.Errorf("claim of %s, %d counted", e.MAC, p.Counters().Claims)
	}
}

func TestClaimsAreToldOnceInAWhile(t *testing.T) {
	var c claimants
	asked := 0
	ours := func([6]byte) bool { asked++; return false }
	k := claimant{[6]byte{2, 1}, vip4}
	for i, want := range []bool{true, false, false, true} {
		rival, tell := c.judge(k, time.Hour+time.Duration(i)*400*time.Millisecond, ours)
		if !rival || tell != want {
			t.Errorf("claim %d: rival %t, told %t, want %t", i, rival, tell, want)
		}
	}
	c.forget()
	if _, tell := c.judge(k, time.Hour+1300*time.Millisecond, ours); !tell {
		t.Error("a claim right after forget is not told")
	}
	asked = 0
	for i := range 1000 {
		c.judge(claimant{[6]byte{2, 2, byte(i >> 8), byte(i)}, vip4}, 2*time.Hour, ours)
	}
	if asked > claimMost || len(c.seen) > claimMost {
		t.Errorf("a thousand forged MACs: asked %d times and remembered %d, want at most %d", asked, len(c.seen), claimMost)
	}
	if _, tell := c.judge(k, 2*time.Hour+claimRepeat, ours); !tell {
		t.Error("after the storm a claim is not told")
	}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	a, b := l.hosts[0].open(both()), l.hosts[1].open(both())
	next(t, b, LinkChanged)
	n := b.Probe()
	if e := next(t, b, Probed); e.Probe != n || e.Err != nil || e.Address.IsValid() || e.MAC != nil {
		t.Errorf("nobody has the addresses, and the probe says %+v", e)
	}
	keep(t, a)
	n = b.Probe()
	if e := next(t, b, Probed); e.Probe != n || e.Err != nil || e.MAC.String() != l.hosts[0].mac.String() {
		t.Errorf("%s has the addresses, and the probe says %+v", l.hosts[0].mac, e)
	}
	// Neither claimed anything for the prober.
	if got := l.hosts[0].neighbour(vip4); got != "" {
		t.Errorf("the owner learned %s for its own address", got)
	}
}

func TestProbeOfIPv6(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	o := Options{Addresses: prefixes("fd09::100/128")}
	a, b := l.hosts[0].open(o), l.hosts[1].open(o)
	next(t, b, LinkChanged)
	b.Probe()
	if e := next(t, b, Probed); e.Err != nil || e.MAC != nil {
		t.Errorf("nobody has the address, and the probe says %+v", e)
	}
	keep(t, a)
	b.Probe()
	if e := next(t, b, Probed); e.Address != vip6 || e.MAC.String() != l.hosts[0].mac.String() {
		t.Errorf("%s has the address, and the probe says %+v", l.hosts[0].mac, e)
	}
}

// Silence on a link that is down is no proof that nobody has the address.
func TestProbeWithoutALinkKnowsNothing(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1)
	p := l.hosts[0].open(both())
	next(t, p, LinkChanged)
	l.hub.down("p1")
	next(t, p, LinkChanged)
	p.Probe()
	if e := next(t, p, Probed); e.Err == nil {
		t.Errorf("without a link the probe says %+v", e)
	}
	l.hub.up("p1")
	next(t, p, LinkChanged)
	p.Probe()
	l.hub.down("p1") // within the probe's time, or before: both count
	if e := next(t, p, Probed); e.Err == nil {
		t.Errorf("with a link that went down the probe says %+v", e)
	}
}

func TestNewProbeEndsTheOld(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1)
	p := l.hosts[0].open(both())
	next(t, p, LinkChanged)
	p.Probe()
	want := p.Probe()
	if e := next(t, p, Probed); e.Probe != want {
		t.Errorf("outcome of probe %d, want %d", e.Probe, want)
	}
}
