package pool

import (
	"testing"

	"github.com/pgvip/pgvip/route"
)

// shared is a ledger whose limits are shared evenly with another node, until
// something is said.
func shared(b *books) (set *Set, short *int) {
	short = new(int)
	set = &Set{ledger: b.ledger}
	set.ShareLimits(func(most int) int { return most / 2 }, func() { *short++ })
	return set, short
}

// TestShareBoundsALimit: a share counts before and after the limit is there, may be
// nothing, and lets those in who wait when it grows.
func TestShareBoundsALimit(t *testing.T) {
	b := newBooks()
	set, short := shared(b)
	set.Share(SharedUser, "a:5432", "u2", 1)
	node := &route.Node{Name: "a", Addr: "a:5432"}
	one, two := b.open(node, "d", "u1"), b.open(node, "d", "u2")
	b.bound(one, 6, 0)
	b.bound(two, 6, 0)
	for range 6 {
		b.claim(one, false)
		b.claim(two, false)
	}
	if u1, u2 := one.limits[userLimit].used, two.limits[userLimit].used; u1 != 3 || u2 != 1 {
		t.Errorf("used %d and %d, want half of 6 and 1", u1, u2)
	}
	if *short != 8 {
		t.Errorf("%d were told to be short of a share, want 8", *short)
	}
	if used := set.Share(SharedUser, "a:5432", "u1", 5); used != 3 || one.limits[userLimit].used != 5 {
		t.Errorf("%d were used, %d are", used, one.limits[userLimit].used)
	}
	if used := set.Share(SharedUser, "a:5432", "u1", 0); used != 5 || one.limits[userLimit].used != 5 {
		t.Errorf("%d were used, %d are: nobody is thrown out", used, one.limits[userLimit].used)
	}
	b.giveBack(0)
	if used := one.limits[userLimit].used; used != 4 {
		t.Errorf("%d used after one came back", used)
	}
	if set.Share(SharedUser, "a:5432", "u2", 99); two.limits[userLimit].used != 6 {
		t.Errorf("%d used of a share above the limit", two.limits[userLimit].used)
	}
}

// TestSharedLimits lists what is used and waited for.
func TestSharedLimits(t *testing.T) {
	b := newBooks()
	set, _ := shared(b)
	node := &route.Node{Name: "a", Addr: "a:5432"}
	a := b.open(node, "d", "u")
	b.bound(a, 0, 4)
	for range 3 {
		b.claim(a, false)
	}
	for c := range b.claims {
		c.wanted.Store(7)
	}
	want := SharedLimit{Kind: SharedDatabase, Addr: "a:5432", Name: "d", Max: 4, Used: 2, Demand: 9}
	if got := set.SharedLimits(); len(got) != 1 || got[0] != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestShrinkClosesIdleServers: what is above a share is given up where it is idle.
func TestShrinkClosesIdleServers(t *testing.T) {
	b := newBooks()
	set, _ := shared(b)
	spared := 0
	a := b.ledger.open(Key{Node: &route.Node{Name: "a", Addr: "a:5432"}, Database: "d", User: "u"}, func() {}, func() { spared++ })
	b.bound(a, 0, 10)
	set.Share(SharedDatabase, "a:5432", "d", 10)
	for range 8 {
		b.claim(a, false)
	}
	set.Share(SharedDatabase, "a:5432", "d", 5)
	if spared != 0 {
		t.Error("asked although none is idle")
	}
	a.idleSince.Store(1)
	if set.Share(SharedDatabase, "a:5432", "d", 5); spared != 3 {
		t.Errorf("%d asked for, want 3", spared)
	}
}

// TestCrowdKnowsTheOtherNodes: their connections are no strangers, so that the room of
// a PostgreSQL is the same for all.
func TestCrowdKnowsTheOtherNodes(t *testing.T) {
	b := newBooks()
	set, _ := shared(b)
	node := &route.Node{Name: "a", Addr: "a:5432"}
	a := b.open(node, "d", "u")
	for range 10 {
		b.claim(a, false)
	}
	set.Elsewhere("a:5432", 20)
	b.crowd("a:5432", 97, 35, 0) // 5 are neither ours nor theirs
	if lim := a.limits[nodeLimit]; lim.max != 92 || lim.most != 46 {
		t.Errorf("room for %d, of which this node may use %d; want 92 and 46", lim.max, lim.most)
	}
}
