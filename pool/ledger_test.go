package pool

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pgvip/pgvip/route"
)

// books is a ledger with a simple model of what it should hold: the permits that
// were granted and not given back.
type books struct {
	*ledger
	accounts []*account
	claims   map[*claim]bool // by whether it is a wish; waiting
	held     []*claim        // granted
	news     []*claim        // granted since the last look
	asked    []*account      // told to yield since the last look
	clock    int64
}

func newBooks() *books { return &books{ledger: newLedger(), claims: make(map[*claim]bool)} }

func (b *books) open(node *route.Node, database, user string) *account {
	var a *account
	a = b.ledger.open(Key{Node: node, Database: database, User: user}, func() { b.asked = append(b.asked, a) }, func() {})
	b.accounts = append(b.accounts, a)
	return a
}

func (b *books) claim(a *account, wish bool) *claim {
	b.clock++
	c := &claim{account: a}
	c.granted = func() {
		b.news = append(b.news, c)
		b.held = append(b.held, c)
		delete(b.claims, c)
	}
	take := func() bool { return b.take(c, b.clock) }
	if wish {
		take = func() bool { return b.wish(c) }
	}
	if take() {
		b.held = append(b.held, c)
	} else {
		b.claims[c] = wish
	}
	return c
}

func (b *books) withdraw(c *claim) {
	var ok bool
	if b.claims[c] {
		ok = b.unwish(c)
	} else {
		ok = b.ledger.withdraw(c)
	}
	if !ok {
		panic("a claim that waits could not be withdrawn")
	}
	delete(b.claims, c)
}

func (b *books) giveBack(i int) {
	c := b.held[i]
	b.held = slices.Delete(b.held, i, i+1)
	b.give(c.account, false)
}

// permits counts what the model holds of one limit.
func (b *books) permits(lim *limit) int {
	n := 0
	for _, c := range b.held {
		if slices.Contains(c.account.limits[:], lim) {
			n++
		}
	}
	return n
}

// check compares the ledger with the model.
func (b *books) check(t *rapid.T) {
	for _, lim := range b.limits {
		partial := 0
		for c, wish := range b.claims {
			if i := slices.Index(c.account.limits[:], lim); i >= 0 && !wish && i < int(c.stage) {
				partial++
			}
		}
		if permits := b.permits(lim); lim.used != permits+partial {
			t.Fatalf("%v: %d used, want %d permits and %d slots of claims", lim.key, lim.used, permits, partial)
		}
		if lim.room() && len(lim.queue) > 0 {
			t.Fatalf("%v: room and a queue of %d", lim.key, len(lim.queue))
		}
		if lim.crowded.Load() != (len(lim.queue) > 0) {
			t.Fatalf("%v: crowded is %v with a queue of %d", lim.key, lim.crowded.Load(), len(lim.queue))
		}
		for a := range lim.members {
			if a.used == 0 {
				t.Fatalf("%v: a member without a permit", lim.key)
			}
		}
	}
	for c, wish := range b.claims {
		if wish && b.grantable(c) {
			t.Fatal("a wish waits although there is room")
		}
		if !wish && c.account.limits[c.stage].room() {
			t.Fatal("a claim waits where there is room")
		}
	}
}

// TestLedgerAgainstModel does what pools might do, in any order: no limit is
// exceeded, no permit is lost, nobody waits where there is room.
func TestLedgerAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBooks()
		nodes := []*route.Node{{Name: "a", Addr: "a:5432"}, {Name: "b", Addr: "b:5432"}}
		account := func(t *rapid.T) *account {
			if len(b.accounts) < 6 {
				return b.open(nodes[rapid.IntRange(0, 1).Draw(t, "node")],
					rapid.SampledFrom([]string{"d1", "d2"}).Draw(t, "database"), rapid.SampledFrom([]string{"u1", "u2"}).Draw(t, "user"))
			}
			return b.accounts[rapid.IntRange(0, len(b.accounts)-1).Draw(t, "account")]
		}
		max := rapid.IntRange(0, 4)
		if rapid.Bool().Draw(t, "shared") {
			(&Set{ledger: b.ledger}).ShareLimits(func(most int) int { return most / 2 }, func() {})
		}
		t.Repeat(map[string]func(*rapid.T){
			"": b.check,
			"share": func(t *rapid.T) {
				key := account(t).limits[rapid.IntRange(0, int(limitKinds)-1).Draw(t, "kind")].key
				share := max.Draw(t, "share")
				used := b.share(key, share)
				if lim := b.limits[key]; b.shared != nil && (lim.used < used || lim.max > 0 && lim.most > share) {
					t.Fatalf("%v: %d of %d used, %d reported", key, lim.used, lim.most, used)
				}
			},
			"take": func(t *rapid.T) {
				a := account(t)
				c := b.claim(a, false)
				for _, lim := range a.limits {
					if slices.Contains(b.held, c) && lim.max > 0 && lim.used > lim.most {
						t.Fatalf("%v: granted %d of %d", lim.key, lim.used, lim.most)
					}
				}
			},
			"wish": func(t *rapid.T) { b.claim(account(t), true) },
			"crowd": func(t *rapid.T) {
				b.ledger.crowd(nodes[rapid.IntRange(0, 1).Draw(t, "node")].Addr, max.Draw(t, "usable"), max.Draw(t, "backends"), max.Draw(t, "dialing"))
			},
			"bound": func(t *rapid.T) { b.bound(account(t), max.Draw(t, "user"), max.Draw(t, "database")) },
			"give": func(t *rapid.T) {
				if len(b.held) == 0 {
					t.Skip()
				}
				over := map[*limit]int{}
				for _, lim := range b.limits {
					over[lim] = lim.used
				}
				b.giveBack(rapid.IntRange(0, len(b.held)-1).Draw(t, "which"))
				for lim, was := range over {
					if lim.max > 0 && lim.used > lim.most && lim.used > was {
						t.Fatalf("%v: %d of %d after %d", lim.key, lim.used, lim.most, was)
					}
				}
			},
			"withdraw": func(t *rapid.T) {
				var waiting []*claim
				for c := range b.claims {
					waiting = append(waiting, c)
				}
				if len(waiting) == 0 {
					t.Skip()
				}
				slices.SortFunc(waiting, func(a, c *claim) int { return int(a.since.Load() - c.since.Load()) })
				b.withdraw(waiting[rapid.IntRange(0, len(waiting)-1).Draw(t, "claim")])
			},
		})
		b.end(t)
	})
}

// end gives everything back: the ledger is empty then.
func (b *books) end(t *rapid.T) {
	for len(b.held)+len(b.claims) > 0 {
		for len(b.held) > 0 {
			b.giveBack(0)
		}
		for c := range b.claims {
			b.withdraw(c)
			break
		}
	}
	for _, a := range b.accounts {
		b.close(a)
	}
	if len(b.limits) != 0 || len(b.wishes) != 0 {
		t.Fatalf("%d limits and %d wishes are left", len(b.limits), len(b.wishes))
	}
}

// TestLedgerStarvesNobody: whoever waits gets a permit, however many others
// come after, in whatever pools these are, as long as permits are given back.
func TestLedgerStarvesNobody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBooks()
		node := &route.Node{Name: "a"}
		for _, d := range []string{"d1", "d2", "d3"} {
			for _, u := range []string{"u1", "u2", "u3"} {
				b.bound(b.open(node, d, u), rapid.IntRange(1, 3).Draw(t, "user"), rapid.IntRange(1, 3).Draw(t, "database"))
			}
		}
		arrive := func() *claim { return b.claim(b.accounts[rapid.IntRange(0, 8).Draw(t, "pool")], false) }
		for range 30 {
			arrive()
		}
		poor := arrive()
		const permits = 9 // of three databases
		turns := permits * (len(b.claims) + 1)
		for ; !slices.Contains(b.held, poor); turns-- {
			// Those who came before it need one turn of some permit each.
			if turns < 0 {
				t.Fatal("the claim still waits")
			}
			arrive()
			b.giveBack(0) // the one that was granted first
		}
		b.end(t)
	})
}

// TestLedgerOrder: a permit that comes free goes to the client that has waited
// longest, whichever pool asks first, and after it has changed (pgbouncer #131).
func TestLedgerOrder(t *testing.T) {
	b := newBooks()
	node := &route.Node{Name: "a"}
	var pools []*account
	for i := range 4 {
		a := b.open(node, "app", fmt.Sprint("user", i))
		b.bound(a, 0, 1)
		pools = append(pools, a)
	}
	b.claim(pools[0], false)
	early, late, changed := b.claim(pools[1], false), b.claim(pools[2], false), b.claim(pools[3], false)
	early.since.Store(b.clock + 10) // its client left; the next one came later
	for _, want := range []*claim{late, changed, early} {
		b.giveBack(0)
		if got := b.news[len(b.news)-1]; got != want {
			t.Fatalf("granted to %s, want %s", got.account.limits[userLimit].key.name, want.account.limits[userLimit].key.name)
		}
	}
}

// TestLedgerPresses the pool whose server has been idle for longest, only for
// those who share the limit that is full, and one for each who waits.
func TestLedgerPresses(t *testing.T) {
	b := newBooks()
	node := &route.Node{Name: "a"}
	young, old, busy, other := b.open(node, "app", "young"), b.open(node, "app", "old"), b.open(node, "app", "busy"), b.open(node, "other", "old")
	poor := b.open(node, "app", "poor")
	b.bound(poor, 0, 3)
	for _, a := range []*account{young, old, busy, other} {
		b.claim(a, false)
	}
	young.idleSince.Store(20)
	old.idleSince.Store(10)
	other.idleSince.Store(1)
	b.claim(poor, false)
	if !slices.Equal(b.asked, []*account{old}) {
		t.Fatalf("%d pools were asked, want the one with the oldest idle server", len(b.asked))
	}
	if other.crowded() || !busy.crowded() {
		t.Error("crowded: want it of those who share the limit")
	}
	// It has lent the server meanwhile: the next one is asked.
	old.idleSince.Store(0)
	b.pressAgain(old)
	if !slices.Equal(b.asked, []*account{old, young}) {
		t.Fatalf("%d pools were asked, want the next one too", len(b.asked))
	}
	if !b.yields(young, 0, 100) {
		t.Fatal("an idle server is kept although somebody waits")
	}
	if b.yields(busy, 0, 100) {
		t.Error("two servers are given up for one client")
	}
	b.held = slices.DeleteFunc(b.held, func(c *claim) bool { return c.account == young })
	b.give(young, true)
	if len(b.news) != 1 || b.news[0].account != poor {
		t.Errorf("granted %d, want it for who waited", len(b.news))
	}
	if lim := poor.limits[databaseLimit]; lim.leaving != 0 || lim.used != 3 {
		t.Errorf("%d leaving, %d used; want 0 and 3", lim.leaving, lim.used)
	}
}

// TestLedgerYields: with waiters of its own a pool keeps its server until the
// other client has waited much longer.
func TestLedgerYields(t *testing.T) {
	const ms = int64(time.Millisecond)
	for _, test := range []struct {
		own, other, now int64 // when they came, in ms
		want            bool
	}{
		{own: 0, other: 999, now: 1000, want: true},
		{own: 990, other: 980, now: 1000, want: false},
		{own: 990, other: 870, now: 1000, want: true},
		{own: 500, other: 200, now: 1000, want: false},
		{own: 5000, other: 1000, now: 9000, want: false},
		{own: 5000, other: 1, now: 10200, want: false},
		{own: 5000, other: 1, now: 9000, want: true},
		{own: 100, other: 200, now: 1000, want: false},
	} {
		b := newBooks()
		node := &route.Node{Name: "a"}
		rich, poor := b.open(node, "app", "rich"), b.open(node, "app", "poor")
		b.bound(rich, 0, 1)
		b.claim(rich, false)
		b.claim(poor, false).since.Store(test.other * ms)
		if got := b.yields(rich, test.own*ms, test.now*ms); got != test.want {
			t.Errorf("own %d, other %d at %d ms: %v, want %v", test.own, test.other, test.now, got, test.want)
		}
	}
}

// TestWishesTakeNothing: a server that nobody waits for neither comes before a
// client nor makes anybody close another one (pgbouncer #577).
func TestWishesTakeNothing(t *testing.T) {
	b := newBooks()
	node := &route.Node{Name: "a"}
	rich, warm := b.open(node, "app", "rich"), b.open(node, "app", "warm")
	b.bound(rich, 0, 1)
	b.claim(rich, false)
	rich.idleSince.Store(1)
	wish := b.claim(warm, true)
	client := b.claim(rich, false)
	if rich.crowded() && slices.Contains(b.asked, warm) {
		t.Error("a pool without servers was asked")
	}
	b.asked = nil
	b.giveBack(0)
	if len(b.held) != 1 || b.held[0] != client {
		t.Error("the wish came before the client")
	}
	if rich.crowded() || len(b.asked) > 0 {
		t.Error("a server is to be closed for a wish")
	}
	b.giveBack(0)
	if len(b.held) != 1 || b.held[0] != wish {
		t.Error("the wish was not granted when there was room")
	}
}

// TestWithdrawnClaimFreesWhatItHas: a claim that waits for its database has a
// slot of its user, which others can use once it is gone.
func TestWithdrawnClaimFreesWhatItHas(t *testing.T) {
	b := newBooks()
	node := &route.Node{Name: "a"}
	full, free, other := b.open(node, "full", "app"), b.open(node, "free", "app"), b.open(node, "full", "other")
	b.bound(other, 0, 1)
	b.bound(full, 1, 1)
	b.claim(other, false)
	claim := b.claim(full, false)
	wish := b.claim(free, true)
	if len(b.news) != 0 {
		t.Fatal("max_user_connections is exceeded")
	}
	b.withdraw(claim)
	if len(b.news) != 1 || b.news[0] != wish {
		t.Error("the slot of the user was lost")
	}
}

// TestLedgerAtOnce is for the race detector: claims, withdrawals and returns
// from many goroutines end with an empty ledger.
func TestLedgerAtOnce(t *testing.T) {
	l := newLedger()
	node := &route.Node{Name: "a"}
	var all sync.WaitGroup
	for i := range 8 {
		a := l.open(Key{Node: node, Database: "app", User: fmt.Sprint("u", i%3)}, func() {}, func() {})
		l.bound(a, 2, 3)
		all.Go(func() {
			for n := range int64(300) {
				granted := make(chan struct{}, 1)
				c := &claim{account: a, granted: func() { granted <- struct{}{} }}
				if !l.take(c, n) {
					if n%5 == 0 && l.withdraw(c) {
						continue
					}
					<-granted
				}
				l.give(a, n%2 == 0 && l.yields(a, 0, n))
			}
			l.close(a)
		})
	}
	all.Wait()
	if len(l.limits) != 0 {
		t.Errorf("%d limits are left", len(l.limits))
	}
}
