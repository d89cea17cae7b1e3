package cluster

import (
	"sync"
	"testing"
)

// testLedger is one limit of a node.
type testLedger struct {
	mu        sync.Mutex
	limit     Limit // guarded by mu
	share     int   // guarded by mu; -1 while nothing was said
	elsewhere int   // guarded by mu
}

func newTestLedger(most, demand int) *testLedger {
	key := LimitKey{Kind: NodeLimit, Addr: "10.0.0.1:5432"}
	return &testLedger{limit: Limit{LimitKey: key, Max: most, Demand: demand}, share: -1}
}

// Limits implements Ledger; all that may be used is in use, as far as it is wanted.
func (l *testLedger) Limits() []Limit {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit.Used = max(0, min(l.limit.Demand, l.share))
	return []Limit{l.limit}
}

// Share implements Ledger.
func (l *testLedger) Share(_ LimitKey, share int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.share = share
	return min(l.limit.Used, max(share, 0)) // who is above it gives up at once
}

// Elsewhere implements Ledger.
func (l *testLedger) Elsewhere(_ string, used int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.elsewhere = used
}

func (l *testLedger) want(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit.Demand = n
}

// is reports a share, and what is used elsewhere.
func (l *testLedger) is(share, elsewhere int) func() bool {
	return func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.share == share && l.elsewhere == elsewhere
	}
}

// TestSharesOverMemberlist: real nodes agree, follow the need, and inherit; what is
// used elsewhere is told, and operators see all of it.
func TestSharesOverMemberlist(t *testing.T) {
	t.Parallel()
	l := newLAN(t, "lb1", "lb2")
	one, two := newTestLedger(100, 0), newTestLedger(100, 0)
	a := l.run("lb1", func(o *Options) { o.Ledger = one })
	b := l.run("lb2", func(o *Options) { o.Ledger = two })
	eventually(t, "even shares", func() bool { return one.is(50, 0)() && two.is(50, 0)() })
	eventually(t, "both are ready", func() bool { return a.InitialShare(7) == 4 && b.InitialShare(7) == 3 })
	one.want(200)
	a.Wake()
	eventually(t, "nearly all for one", func() bool { return one.is(95, 0)() && two.is(5, 95)() })
	list, ready := b.Shares()
	want := Share{LimitKey: one.limit.LimitKey, Max: 100, Share: 5, Others: 95}
	if !ready || len(list) != 1 || list[0] != want {
		t.Errorf("ready %t, %+v, want %+v", ready, list, want)
	}
	two.want(60)
	eventually(t, "both in need", func() bool { return one.is(50, 50)() && two.is(50, 50)() })
	a.kill()
	eventually(t, "the rest", func() bool { return two.is(100, 0)() })
	a = l.run("lb1", func(o *Options) { o.Ledger = newTestLedger(100, 0) })
	eventually(t, "back again, with a reserve", func() bool {
		list, ready := a.Shares()
		return ready && len(list) == 1 && list[0].Share == 5
	})
	a.leave()
	eventually(t, "all after a goodbye", func() bool { return two.is(100, 0)() })
}

// TestSharesWithoutTheOther: a node that shares nothing leaves all to who does.
func TestSharesWithoutTheOther(t *testing.T) {
	t.Parallel()
	l := newLAN(t, "lb1", "lb2")
	one := newTestLedger(100, 0)
	a := l.run("lb1", func(o *Options) { o.Ledger = one })
	b := l.run("lb2")
	together(t, a, b)
	eventually(t, "all of it", func() bool { return one.is(100, 0)() })
	if list, ready := b.Shares(); len(list) != 0 || !ready || b.InitialShare(7) != 0 {
		t.Errorf("lb2 has shares: %+v", list)
	}
}
