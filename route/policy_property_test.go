package route

import (
	"slices"
	"time"

	"pgregory.net/rapid"
)

func (c *chaos) changePolicy(t *rapid.T) {
	c.policy = Policy{
		MaxLagBytes: rapid.SampledFrom([]uint64{0, 100}).Draw(t, "max bytes"),
		MaxLag:      rapid.SampledFrom([]time.Duration{0, 10 * time.Second}).Draw(t, "max lag"),
		Rise:        rapid.IntRange(1, 3).Draw(t, "rise"),
		NoReplicas:  rapid.SampledFrom([]NoReplicas{ReadPrimary, RejectReads}).Draw(t, "no replicas"),
		Balance:     rapid.SampledFrom([]Balance{RoundRobin, LeastConn}).Draw(t, "balance"),
		SlowStart:   rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "slow start"),
		Servers: map[string]ServerPolicy{c.name(t): {
			Weighted: true, Weight: rapid.IntRange(0, MaxWeight).Draw(t, "weight"), MaxConn: rapid.IntRange(0, 9).Draw(t, "maxconn"),
		}},
	}
}

func (c *chaos) operate(t *rapid.T) {
	if c.admin == nil {
		c.admin = map[string]AdminState{}
	}
	c.admin[c.name(t)] = AdminState(rapid.IntRange(0, 2).Draw(t, "state"))
}

// checkReads holds the table to what is promised of its reads, whatever the
// policy.
func (c *chaos) checkReads(t *rapid.T) {
	tab := c.table
	if len(tab.Standings) != len(tab.Nodes) {
		t.Fatalf("%d standings of %d nodes", len(tab.Standings), len(tab.Nodes))
	}
	if (len(tab.Replicas) > 0) != (tab.Reads == ReadsOnReplicas) && !c.topo.Empty() {
		t.Fatalf("replicas %v, reads %q", tab.Replicas, tab.Reads)
	}
	shares := map[*Node]int{}
	for i := range tab.turns {
		shares[tab.Replica(uint64(i))]++
	}
	for _, n := range tab.Replicas {
		s := tab.Standing(n)
		switch {
		case s.Admin != Ready || s.Weight == 0 || s.Lagging || s.Dead:
			t.Fatalf("replica %v stands %+v", n, s)
		case shares[n] == 0:
			t.Fatalf("replica %v has no turn", n)
		case s.Throttle < 1 || s.Throttle > 100 || s.Throttle < 100 && tab.Wake.IsZero():
			t.Fatalf("replica %v stands %+v, wake %v", n, s, tab.Wake)
		}
	}
	for n := range uint64(5) {
		r := tab.Reader(n, func(*Node) int { return int(n) })
		switch {
		case r == nil && (tab.Reads == ReadsOnReplicas && len(tab.Replicas) > 0 || tab.Reads == ReadsOnPrimary):
			t.Fatalf("no reader's node, reads %q", tab.Reads)
		case r != nil && !tab.Has(Replica, r):
			t.Fatalf("a reader goes to %v, which is not in the read set", r)
		case r == tab.Primary && r != nil && (len(tab.Replicas) > 0 || c.policy.NoReplicas == RejectReads):
			t.Fatalf("a reader goes to the primary beside %v", tab.Replicas)
		}
	}
	// Lag alone takes nobody out whose lag is not known, or not too large.
	for _, x := range tab.Out {
		if x.Cause == OutLag && c.policy.MaxLagBytes == 0 && c.policy.MaxLag == 0 {
			t.Fatalf("out by lag without a limit: %+v", x)
		}
	}
	if !slices.IsSortedFunc(tab.Out, func(x, y Exclusion) int { return compareNames(x.Name, y.Name) }) {
		t.Fatalf("out of order: %v", tab.Out)
	}
}
