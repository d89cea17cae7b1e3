package keeper

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/pgvip/pgvip/vrrp/beat"
)

// config is that of one node, without arbiter.
func config(i, nodes int) *beat.Config {
	c := &beat.Config{
		Node: fmt.Sprint("lb", i), Boot: fmt.Sprint("boot", i), Cluster: "demo",
		VIP: beat.VIP{
			Interface: "eth0", Addresses: []netip.Prefix{vip}, VirtualRouterID: 51, Priority: uint8(200 - 10*i), Version: 3,
			AdvertInt: 100 * time.Millisecond, DownTimerAdverts: 3, Preempt: false, StartupDelay: 10 * time.Second,
			Checksum: "pseudo-header", EtcdDownTakeover: "arp",
			GARPMasterDelay: 5 * time.Second, GARPMasterRepeat: 5, GARPMasterRefresh: time.Minute,
		},
		Heartbeat: []netip.AddrPort{netip.MustParseAddrPort(fmt.Sprintf("10.77.0.%d:7947", i))},
		Keys:      [][]byte{[]byte("0123456789abcdef")},
	}
	for p := 1; p <= nodes; p++ {
		if p != i {
			c.Peers = append(c.Peers, beat.Peer{Name: fmt.Sprint("lb", p),
				Heartbeat: []netip.AddrPort{netip.MustParseAddrPort(fmt.Sprintf("10.77.0.%d:7947", p))}})
		}
	}
	return c
}

// pair starts keepers without arbiter on both nodes; the first one is Active.
func pair(t *testing.T) (*sampler, [2]*rider) {
	t.Helper()
	l := newLAN(t, 2)
	s := l.watch()
	quick := config(1, 2)
	quick.VIP.StartupDelay = 0
	one := l.nodes[0].start(quick)
	s.owner(1)
	two := l.nodes[1].start(config(2, 2))
	got := two.until("backup", func(s beat.Status) bool { return s.State == beat.Backup && s.Owner == "10.77.0.1" })
	if got.Counters.AdvertsSent != 0 {
		t.Errorf("a Backup that had nothing to give up sent %d adverts", got.Counters.AdvertsSent)
	}
	return s, [2]*rider{one, two}
}

func TestPlainTakesOverFromAKilledMain(t *testing.T) {
	s, r := pair(t)
	if got := r[0].until("active", is(beat.Active)); got.Arbiter != "none" || !got.Holds || !got.Ready || got.Owner != "10.77.0.1" {
		t.Errorf("status of the owner: %+v", got)
	}
	r[0].until("announcements", func(s beat.Status) bool { return s.Counters.GARPSent > 0 && s.Counters.AdvertsSent > 0 })
	died := time.Now()
	r[0].signal(syscall.SIGKILL)
	gone := s.left(1, died)
	here := s.owner(2)
	if got := r[1].until("active", is(beat.Active)); got.Counters.Conflicts != 0 {
		t.Errorf("the owner's announcements count as %d conflicts", got.Counters.Conflicts)
	}
	t.Logf("gone after %v, at the peer after %v", gone.Sub(died), here.Sub(died))
	s.never()
}

func TestPlainLeavesAFrozenMain(t *testing.T) {
	s, r := pair(t)
	stopped := time.Now()
	r[0].signal(syscall.SIGSTOP)
	t.Logf("at the peer after %v", s.owner(2).Sub(stopped))
	r[0].signal(syscall.SIGCONT)
	if exit := r[0].exited(); exit != "<nil>" {
		t.Errorf("the keeper of a frozen main process ended with %s", exit)
	}
	s.owner(2)
	s.never()
}

func TestPlainHandsOverOnLeave(t *testing.T) {
	s, r := pair(t)
	asked := time.Now()
	r[0].tell(beat.ToKeeper{Leave: true})
	gone, here := s.left(1, asked), s.owner(2)
	r[0].until("left", func(s beat.Status) bool { return s.Left && !s.Holds })
	if exit := r[0].exited(); exit != "<nil>" {
		t.Errorf("exit: %s", exit)
	}
	t.Logf("nobody had the address for %v", here.Sub(gone))
	s.never()
}

func TestPlainMoves(t *testing.T) {
	s, r := pair(t)
	r[0].tell(beat.ToKeeper{Move: "*"})
	s.owner(2)
	r[0].until("backup", is(beat.Backup))
	r[1].tell(beat.ToKeeper{Move: "*"})
	s.owner(1)
	s.never()
}

func TestPlainFaults(t *testing.T) {
	s, r := pair(t)
	steps := []struct {
		what        string
		break_, fix func()
	}{
		{"link down", func() { r[0].node.port(0, "down") }, func() { r[0].node.port(0, "up") }},
		{"fault of the main process", func() { r[0].tell(beat.ToKeeper{Fitness: &beat.Fitness{Listening: true, Fault: "drained"}}) },
			func() { r[0].tell(beat.ToKeeper{Fitness: serving}) }},
		{"ports closed", func() { r[0].tell(beat.ToKeeper{Fitness: &beat.Fitness{}}) }, func() { r[0].tell(beat.ToKeeper{Fitness: serving}) }},
	}
	for _, step := range steps {
		step.break_()
		r[0].until("fault by "+step.what, is(beat.Fault))
		s.owner(2)
		step.fix()
		r[0].until("backup after "+step.what, is(beat.Backup))
		r[1].tell(beat.ToKeeper{Move: "*"})
		s.owner(1)
		r[1].until("backup", is(beat.Backup))
	}
	s.never()
}

func TestRemovedAddressComesBack(t *testing.T) {
	s, r := pair(t)
	for range 3 {
		r[0].node.lan.in(r[0].node.ns, "ip", "addr", "del", vip.String(), "dev", "eth0")
		s.owner(1)
	}
	r[0].event("readded", "it is back")
	if got := r[0].until("count", func(s beat.Status) bool { return s.Counters.Readded >= 3 }); got.State != beat.Active {
		t.Errorf("status %+v", got)
	}
	s.never()
}

func TestFoundAddressIsRemoved(t *testing.T) {
	l := newLAN(t, 2)
	l.in(l.nodes[1].ns, "ip", "addr", "add", vip.String(), "dev", "eth0")
	s := l.watch()
	s.owner(2)
	found := time.Now()
	two := l.nodes[1].start(config(2, 2)) // with startup_delay: it hears nobody and waits
	s.left(2, found)
	if got := two.until("backup", is(beat.Backup)); got.Counters.AdvertsSent != 1 {
		t.Errorf("%d adverts sent, want one that says that nobody is Active here", got.Counters.AdvertsSent)
	}
	l.in(l.nodes[1].ns, "ip", "addr", "add", vip.String(), "dev", "eth0")
	two.event("conflict", "appeared on eth0")
	if l.nodes[1].has(t) {
		t.Error("the address that was added is still there")
	}
}

// TestKeeperOutlivesSignalsAndGarbage: what a terminal or an init system sends to
// all processes is for the main process.
func TestKeeperOutlivesSignalsAndGarbage(t *testing.T) {
	s, r := pair(t)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGPIPE} {
		r[0].signalKeeper(sig)
	}
	before := r[0].until("active", is(beat.Active))
	r[0].until("more adverts", func(s beat.Status) bool { return s.Counters.AdvertsSent > before.Counters.AdvertsSent+5 })
	s.owner(1)
	s.never()
}
