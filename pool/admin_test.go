package pool

import (
	"strings"
	"testing"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/route"
)

// standing is a table in which the primary stands otherwise.
func standingSo(table *route.Table, s route.Standing) *route.Table {
	next := *table
	next.Standings = []route.Standing{s}
	return &next
}

// TestDrain: who has a server goes on, nobody else gets one, and the server stays.
func TestDrain(t *testing.T) {
	server := pgscript.ServeEach(t, serves(2))
	r := newRig(t, server.Addr, usual())
	table := r.leads(server.Addr)
	lent := r.lend()
	r.set.Follow(standingSo(table, route.Standing{Admin: route.Drain}))
	waits := r.acquire()
	lent.use()
	r.eventually("the server has come back", func() bool { return len(r.pool.idle) == 1 })
	r.do(func() {
		if waits.server != nil || r.pool.dialing > 0 || r.pool.gate() != GateDrain || !strings.Contains(waits.waiter.Reason(), "drain") {
			t.Errorf("lent: %t, %d logins, gate %d: want nothing new", waits.server != nil, r.pool.dialing, r.pool.gate())
		}
	})
	var late *Pool
	r.do(func() { // so that what the new pool posts has not been done yet
		late = r.set.Pool(Key{Node: table.Primary, Database: "late", User: "app"}, route.Primary)
		if late.admin != route.Drain {
			t.Error("a pool that is new lends in drain")
		}
	})
	r.set.Follow(table)
	waits.getsOne()
	waits.use()
}

// TestMaint: servers are closed as their transactions end, and with them sessions
// that have one to themselves.
func TestMaint(t *testing.T) {
	server := pgscript.ServeEach(t,
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("Q"), pgscript.Send(pgscript.Complete("BEGIN"), pgscript.Ready('T')),
			pgscript.Expect("Q"), pgscript.Send(pgscript.Complete("COMMIT"), pgscript.Ready('I')), pgscript.Expect("X"), pgscript.ExpectGone()),
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("X"), pgscript.ExpectGone()), serves(1))
	settings := usual()
	settings.PoolSize = 2
	r := newRig(t, server.Addr, settings)
	table := r.leads(server.Addr)
	busy, idle := r.lend(), r.lend()
	busy.send(pgscript.Query("BEGIN"))
	r.eventually("the transaction has begun", func() bool { return busy.ready == 1 })
	r.set.Follow(standingSo(table, route.Standing{Admin: route.Maint}))
	idle.told("Lost")
	waits := r.acquire()
	r.do(func() {
		if idle.why != LossMaint || busy.server == nil || r.pool.gate() != GateMaint {
			t.Errorf("loss %d, the one in a transaction has its server: %t, gate %d", idle.why, busy.server != nil, r.pool.gate())
		}
	})
	busy.send(pgscript.Query("COMMIT"))
	busy.told("Lost")
	r.eventually("all servers are closed", func() bool { return r.pool.open() == 0 })
	r.do(func() {
		if busy.ready != 2 || busy.why != LossMaint || waits.server != nil {
			t.Errorf("ready %d times, loss %d; want the answer to COMMIT first", busy.ready, busy.why)
		}
	})
	r.set.Follow(table)
	waits.getsOne()
	waits.use()
}

// TestMaxConn: the connections of a node, of all its pools, also when the limit
// comes and goes; a pool that waits for another's says so.
func TestMaxConn(t *testing.T) {
	server := pgscript.ServeEach(t, serves(1), serves(1), serves(1))
	settings := usual()
	settings.PoolSize = 5
	r := newRig(t, server.Addr, settings)
	table := r.leads(server.Addr)
	r.set.Follow(standingSo(table, route.Standing{MaxConn: 2}))
	one, two := r.lend(), r.lend()
	other := r.set.Pool(Key{Node: table.Primary, Database: "other", User: "app"}, route.Primary)
	three := r.borrower()
	r.do(func() { three.waiter = other.Acquire(three) })
	r.do(func() {
		if three.server != nil || other.dialing > 0 || other.gate() != GateLimit || !strings.Contains(three.waiter.Reason(), "servers.*.maxconn") {
			t.Errorf("a third connection: %t, %d logins, %q", three.server != nil, other.dialing, three.waiter.Reason())
		}
	})
	r.set.Follow(table)
	three.getsOne()
	for _, b := range []*borrower{one, two, three} {
		b.use()
	}
}

// TestMaxQueue: so many may wait for a node, in all its pools; the next gets 53300,
// and those who wait keep their places.
func TestMaxQueue(t *testing.T) {
	server := pgscript.ServeEach(t, serves(3))
	r := newRig(t, server.Addr, usual())
	table := r.leads(server.Addr)
	r.set.Follow(standingSo(table, route.Standing{MaxQueue: 2}))
	lent := r.lend()
	first, second, third := r.acquire(), r.acquire(), r.acquire()
	third.told("Refused")
	r.do(func() {
		if third.err.Code != "53300" || !strings.Contains(third.err.Hint, "servers.n1.maxqueue") || first.err != nil || second.err != nil {
			t.Errorf("third: %v; first: %v, second: %v", third.err, first.err, second.err)
		}
	})
	lent.use()
	first.getsOne()
	fourth := r.acquire()
	r.do(func() {})
	first.use()
	second.getsOne()
	second.use()
	r.do(func() {
		if fourth.err != nil {
			t.Errorf("a place was free: %v", fourth.err)
		}
		if fourth.waiter != nil {
			fourth.waiter.Leave()
		}
	})
	r.eventually("nobody is counted", func() bool { return r.pool.queue.crush.n.Load() == 0 })
}
