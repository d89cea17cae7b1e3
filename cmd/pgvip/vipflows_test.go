package main

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/cluster"
	"github.com/pgvip/pgvip/proxy"
	"github.com/pgvip/pgvip/vrrp/beat"
)

// crossing is a vipClients whose surroundings a test plays.
type crossing struct {
	*vipClients
	now            time.Time
	status         beat.Status
	opened, closed []proxy.Flow
	lb2            []cluster.Flow

	known     map[cluster.Flow]bool // as the other nodes have it
	tickled   []beat.Flow
	sessions  int
	takeovers int
	ends      int
	rests     int // of them those of sessions at rest
}

func newCrossing() *crossing {
	c := &crossing{now: time.Unix(1e9, 0), known: make(map[cluster.Flow]bool)}
	c.vipClients = &vipClients{
		self: "lb1", log: zap.NewNop(),
		take: func() (opened, closed []proxy.Flow) {
			opened, closed = c.opened, c.closed
			c.opened, c.closed = nil, nil
			return opened, closed
		},
		end: func(_ func(netip.Addr) bool, resting bool) int {
			if resting {
				c.rests++
			} else {
				c.ends++
			}
			return c.sessions
		},
		isVIP:  func(a netip.Addr) bool { return a == netip.MustParseAddr("10.0.0.100") },
		status: func() beat.Status { return c.status },
		tickle: func(f []beat.Flow) { c.tickled = append(c.tickled, f...) },
		publish: func(opened, closed []cluster.Flow) {
			for _, f := range opened {
				c.known[f] = true
			}
			for _, f := range closed {
				delete(c.known, f)
			}
		},
		flowsOf: func(node string) []cluster.Flow {
			if node != "lb2" {
				return nil
			}
			return c.lb2
		},
		tookOver: func() { c.takeovers++ },
		peers:    func() []string { return []string{"lb2", "lb3"} },
		wake:     make(chan struct{}, 1),
	}
	return c
}

// after lets some time pass and looks.
func (c *crossing) after(d time.Duration, s beat.Status) {
	c.now = c.now.Add(d)
	c.status = s
	c.look(c.now)
}

func flow(port uint16) proxy.Flow {
	return proxy.Flow{Client: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), port), Local: netip.MustParseAddrPort("10.0.0.100:5000")}
}

var (
	active = beat.Status{State: beat.Active, Holds: true, Owner: "lb1", Arbiter: "etcd"}
	behind = beat.Status{State: beat.Backup, Owner: "lb2"}
	nobody = beat.Status{State: beat.Backup}
)

func TestClientsOfTheVIPAreTold(t *testing.T) {
	c := newCrossing()
	c.opened = []proxy.Flow{flow(1), flow(2)}
	c.after(0, active)
	c.closed = []proxy.Flow{flow(1)}
	c.after(flowTick, active)
	if want := clusterFlows([]proxy.Flow{flow(2)}); len(c.known) != 1 || !c.known[want[0]] {
		t.Errorf("told %v, want %v", c.known, want)
	}
}

// TestEndsAreToldLate: clients that the old owner has to end are still known to the
// new one when it resets them, and no longer when they have long gone.
func TestEndsAreToldLate(t *testing.T) {
	c := newCrossing()
	c.opened = []proxy.Flow{flow(1), flow(2)}
	c.after(0, active)
	c.after(flowTick, behind)
	c.closed = []proxy.Flow{flow(1), flow(2)}
	c.after(flowTick, behind)
	c.after(flowMemory/2, behind)
	if len(c.known) != 2 {
		t.Errorf("the new owner knows %v, want both", c.known)
	}
	c.after(flowMemory/2, behind)
	if len(c.known) != 0 {
		t.Errorf("%v are known for ever", c.known)
	}
}

// TestAClientThatComesAgain from the same port, when the address has come back, is
// known.
func TestAClientThatComesAgain(t *testing.T) {
	c := newCrossing()
	c.opened = []proxy.Flow{flow(1)}
	c.after(0, active)
	c.closed = []proxy.Flow{flow(1)}
	c.after(flowTick, behind)
	c.opened = []proxy.Flow{flow(1)}
	c.after(flowTick, active)
	if len(c.known) != 1 {
		t.Errorf("told %v, want the client that has come again", c.known)
	}
	c.after(flowMemory, active)
	if len(c.known) != 1 {
		t.Errorf("a client that is connected was forgotten")
	}
}

func TestSessionsEndWhenTheAddressHasMoved(t *testing.T) {
	for _, tt := range []struct {
		name string
		next []beat.Status // one a tick
		want int
	}{
		{"to another node", []beat.Status{behind, behind, behind}, 1},
		{"to another node, just now", []beat.Status{behind}, 0},
		{"removed by somebody, and on its way back", []beat.Status{{State: beat.Active, Owner: "lb1"}, active}, 0},
		{"lost, and won back at once", []beat.Status{nobody, nobody, active, active}, 0},
		{"lost, nobody knows to whom", slices.Repeat([]beat.Status{nobody}, int(moveGrace/flowTick)+2), 1},
		{"the keeper is replaced", []beat.Status{{State: beat.Initialize, Holds: true}, active}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCrossing()
			c.after(0, behind)
			c.after(flowTick, active)
			for _, s := range tt.next {
				c.after(flowTick, s)
			}
			if c.ends != tt.want {
				t.Errorf("sessions were ended %d times, want %d", c.ends, tt.want)
			}
		})
	}
}

// TestTheNewOwnerResetsTheOthersClients: each once, those too whose news came late,
// and only at addresses that have moved.
func TestTheNewOwnerResetsTheOthersClients(t *testing.T) {
	c := newCrossing()
	other := cluster.Flow{Client: flow(9).Client, VIP: netip.MustParseAddrPort("10.0.0.2:5000")}
	c.lb2 = append(clusterFlows([]proxy.Flow{flow(1), flow(2)}), other)
	c.after(0, behind)
	if len(c.tickled) != 0 {
		t.Fatalf("a Backup resets %v", c.tickled)
	}
	c.after(flowTick, beat.Status{State: beat.Active, Owner: "lb1"}) // not added yet
	if len(c.tickled) != 0 {
		t.Fatalf("%v are reset before the address is here", c.tickled)
	}
	c.after(flowTick, active)
	c.after(tickleDelay, active)
	c.lb2 = append(c.lb2, clusterFlows([]proxy.Flow{flow(3)})...)
	c.after(flowTick, active)
	c.after(tickleWindow, active)
	var want []beat.Flow
	for port := range uint16(3) {
		f := flow(port + 1)
		want = append(want, beat.Flow{Client: f.Client, VIP: f.Local})
	}
	if !slices.Equal(c.tickled, want) {
		t.Errorf("reset %v, want %v", c.tickled, want)
	}
	c.lb2 = clusterFlows([]proxy.Flow{flow(4)})
	c.after(flowTick, active)
	if len(c.tickled) != len(want) {
		t.Error("clients are reset for ever")
	}
	c.after(flowTick, behind)
	c.after(flowTick, active)
	c.after(tickleDelay, active)
	if c.takeovers != 2 {
		t.Errorf("the others' share is asked for %d times, want 2: with each takeover", c.takeovers)
	}
	if n := len(c.tickled); n != len(want)+1 {
		t.Errorf("%d reset after the next takeover, want %d", n, len(want)+1)
	}
}

// TestWhoHadToClaimWaitsForNobody: the last owner is dead.
func TestWhoHadToClaimWaitsForNobody(t *testing.T) {
	for _, tt := range []struct {
		claims  bool
		arbiter string
		want    int
	}{{true, "etcd", 1}, {false, "etcd", 0}, {false, "none", 1}, {true, "outage", 1}} {
		c := newCrossing()
		c.lb2 = clusterFlows([]proxy.Flow{flow(1)})
		c.after(0, behind)
		if tt.claims {
			c.event(beat.Event{Kind: "claim"})
		}
		s := active
		s.Arbiter = tt.arbiter
		c.after(time.Millisecond, s)
		if len(c.tickled) != tt.want {
			t.Errorf("claimed %v, arbiter %s: %d reset at once, want %d", tt.claims, tt.arbiter, len(c.tickled), tt.want)
		}
	}
}

// TestALossThatWasPlanned needs no news of the next owner.
func TestALossThatWasPlanned(t *testing.T) {
	c := newCrossing()
	c.planned.Store(true)
	c.after(0, active)
	c.after(time.Millisecond, nobody)
	c.after(tellDelay, nobody)
	if c.ends != 1 || c.rests != 1 {
		t.Errorf("clients were told %d times, those at rest %d, want once", c.ends, c.rests)
	}
}

// TestTheLastOwnerSpeaksFirst: its clients hear 57P01 from it, where it lives, before
// the new owner resets them.
func TestTheLastOwnerSpeaksFirst(t *testing.T) {
	last, next := newCrossing(), newCrossing()
	next.lb2 = clusterFlows([]proxy.Flow{flow(1)})
	last.after(0, active)
	next.after(0, behind)
	last.after(time.Millisecond, behind)
	next.after(time.Millisecond, active)
	if last.rests != 1 || last.ends != 0 {
		t.Errorf("at once %d of those at rest and %d of all were told, want 1 and 0", last.rests, last.ends)
	}
	for range int(tickleDelay/time.Millisecond) - 1 {
		last.after(time.Millisecond, behind)
		next.after(time.Millisecond, active)
		if len(next.tickled) > 0 {
			t.Fatal("the new owner resets clients at once")
		}
	}
	if last.ends != 1 {
		t.Errorf("the last owner has told its clients %d times, want once", last.ends)
	}
	next.after(time.Millisecond, active)
	if len(next.tickled) != 1 {
		t.Errorf("then %d are reset, want one", len(next.tickled))
	}
}
