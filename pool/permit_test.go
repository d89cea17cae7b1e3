package pool

import (
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/route"
)

// beside is a pool for another user on the rig's loop.
func (r *rig) beside(user string) *Pool {
	key := r.pool.Key()
	key.User = user
	return r.set.Pool(key, route.Replica)
}

// acquireFrom asks pool p for a server without waiting for it.
func (r *rig) acquireFrom(p *Pool) *borrower {
	r.t.Helper()
	b := r.borrower()
	r.do(func() { b.waiter = p.Acquire(b) })
	return b
}

// getsOne waits until b has a server.
func (b *borrower) getsOne() {
	b.rig.t.Helper()
	b.rig.eventually("a server is lent", func() bool { return b.server != nil })
}

// slots is what the ledger counts for the database of the rig.
func (r *rig) slots() int {
	l := r.set.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	return r.pool.account.limits[databaseLimit].used
}

// TestPermitUntilTheEnd: a server counts until PostgreSQL has closed too: its
// process has a place there until then.
func TestPermitUntilTheEnd(t *testing.T) {
	settings := usual()
	settings.MaxDBConnections = 1
	asked, over := make(chan struct{}), make(chan struct{})
	server := pgscript.ServeEach(t,
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("X"), pgscript.Tell(asked), pgscript.Wait(over), pgscript.Close()),
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.ExpectGone()))
	r := newRig(t, server.Addr, settings)
	first := r.lend()
	other := r.acquireFrom(r.beside("other"))
	r.do(func() { first.server.created = r.loop.Now().Add(-turn) })
	first.release() // never used, so it is not cleaned
	<-asked
	r.do(func() {
		if r.slots() != 1 || len(r.pool.servers) != 0 || r.pool.leaving != 1 || !r.pool.claims.server.account.crowded() {
			t.Errorf("%d slots, %d servers, %d leaving: want the server to count", r.slots(), len(r.pool.servers), r.pool.leaving)
		}
	})
	close(over)
	other.getsOne()
}

// TestPermitAfterFailure: it is given back when a login fails, before another
// one is tried, and when nobody waits any more.
func TestPermitAfterFailure(t *testing.T) {
	settings := usual()
	settings.MaxDBConnections = 1
	tried := make(chan struct{})
	server := pgscript.ServeEach(t, pgscript.Close(),
		pgscript.Steps(pgscript.ExpectStartup(), pgscript.Tell(tried), pgscript.Send(pgscript.Error("FATAL", "3D000", "no")), pgscript.Close()))
	r := newRig(t, server.Addr, settings)
	b := r.acquire()
	<-tried
	b.told("Refused")
	r.empty()
	if n := r.slots(); n != 0 {
		t.Errorf("%d slots are taken, want none", n)
	}
}

// TestYoungServerStays: a server is not closed for others before its turn is
// over, and then without anybody asking again.
func TestYoungServerStays(t *testing.T) {
	settings := usual()
	settings.MaxDBConnections = 1
	server := pgscript.Serve(t, newLogin("off"))
	r := newRig(t, server.Addr, settings)
	first := r.lend()
	created := first.server.created
	first.release()
	other := r.acquireFrom(r.beside("other"))
	other.getsOne()
	if age := time.Since(created); age < turn {
		t.Errorf("the server was closed after %v, want %v at least", age, turn)
	}
}

// TestBusyPoolShares: a pool that never has an idle server, because clients of
// its own always wait, gives one up to a client that has waited much longer.
func TestBusyPoolShares(t *testing.T) {
	settings := usual()
	settings.MaxDBConnections = 1
	server := pgscript.Serve(t, newLogin("off"))
	r := newRig(t, server.Addr, settings)
	holder := r.lend()
	poor := r.acquireFrom(r.beside("poor"))
	served := 0
	for poor.server == nil {
		next := r.acquire()
		r.do(func() {
			s := holder.server
			holder.server = nil
			s.Release()
			served++
		})
		r.eventually("one of both is served", func() bool { return next.server != nil || poor.server != nil })
		if poor.server != nil {
			r.do(func() { next.waiter.Leave() })
			break
		}
		holder = next
	}
	if served < 2 {
		t.Errorf("the pool gave its server up after %d loans, want a turn", served)
	}
}

// TestReserve: more servers than default_pool_size only for a client that has
// waited for reserve_pool_timeout, and no more than reserve_pool_size.
func TestReserve(t *testing.T) {
	settings := usual()
	settings.ReservePoolSize, settings.ReservePoolTimeout = 1, 50*time.Millisecond
	server := pgscript.Serve(t, newLogin("off"))
	r := newRig(t, server.Addr, settings)
	r.lend()
	began := time.Now()
	second, third := r.acquire(), r.acquire()
	second.getsOne()
	if waited := time.Since(began); waited < settings.ReservePoolTimeout {
		t.Errorf("the reserve was used after %v", waited)
	}
	r.do(func() {
		if third.server != nil || r.pool.room() || r.pool.reserve.Pending() || len(r.pool.servers) != 2 {
			t.Errorf("%d servers, want 2 and no more to come", len(r.pool.servers))
		}
	})
}

// TestMinPoolSize: a pool with clients is warmed, keeps its servers for longer
// than server_idle_timeout, and lets go of them with its last client.
func TestMinPoolSize(t *testing.T) {
	settings := usual()
	settings.PoolSize, settings.MinPoolSize, settings.ServerIdleTimeout = 5, 2, 20*time.Millisecond
	server := pgscript.Serve(t, newLogin("off"))
	r := newRig(t, server.Addr, settings)
	r.pool.Join()
	r.eventually("the pool is warm", func() bool { return len(r.pool.idle) == 2 })
	r.do(func() {
		for _, s := range r.pool.idle {
			s.lastUse = s.lastUse.Add(-time.Hour)
		}
		r.pool.sweep()
		if len(r.pool.idle) != 2 {
			t.Errorf("%d servers are left, want 2", len(r.pool.idle))
		}
		r.pool.idle[0].fail("lost")
	})
	r.eventually("the pool is warm again", func() bool { return len(r.pool.idle) == 2 })
	r.pool.Part()
	r.empty()
}

// TestMinPoolSizeFightsNobody: where there is not room for the warm servers of
// all pools, none is closed for another one (pgbouncer #577).
func TestMinPoolSizeFightsNobody(t *testing.T) {
	settings := usual()
	settings.PoolSize, settings.MinPoolSize, settings.MaxDBConnections = 5, 3, 4
	server := pgscript.Serve(t, newLogin("off"))
	r := newRig(t, server.Addr, settings)
	other := r.beside("other")
	r.pool.Join()
	r.eventually("the first pool is warm", func() bool { return len(r.pool.idle) == 3 })
	other.Join()
	r.eventually("the other one has what is left", func() bool { return len(other.idle) == 1 && other.claims.wishing })
	first := r.set.counters.ServerLogins.Load()
	r.do(func() {
		for _, p := range []*Pool{r.pool, other} {
			for _, s := range p.idle {
				s.created = s.created.Add(-turn)
			}
			p.yield()
			p.fill()
		}
	})
	r.do(func() {
		if len(r.pool.idle) != 3 || len(other.idle) != 1 || r.set.counters.ServerLogins.Load() != first {
			t.Errorf("%d and %d idle servers, want 3 and 1", len(r.pool.idle), len(other.idle))
		}
	})
	// A client counts for more.
	a, b := r.acquireFrom(other), r.acquireFrom(other)
	a.getsOne()
	b.getsOne()
}

// TestSmallerPool: servers beyond a size that was lowered are closed, the idle
// ones at once.
func TestSmallerPool(t *testing.T) {
	settings := usual()
	settings.PoolSize = 3
	server := pgscript.Serve(t, newLogin("off"))
	r := newRig(t, server.Addr, settings)
	a, b, c := r.lend(), r.lend(), r.lend()
	a.release()
	settings.PoolSize = 1
	r.set.Apply(settings)
	r.eventually("the idle one is closed", func() bool { return len(r.pool.servers) == 2 })
	b.release()
	r.eventually("and the next one", func() bool { return len(r.pool.servers) == 1 && r.pool.leaving == 0 })
	c.release()
	r.do(func() {
		if len(r.pool.idle) != 1 {
			t.Errorf("%d idle servers, want 1", len(r.pool.idle))
		}
	})
}

// TestRoundRobin: server_round_robin uses the servers in turns.
func TestRoundRobin(t *testing.T) {
	for _, roundRobin := range []bool{false, true} {
		settings := usual()
		settings.PoolSize, settings.ServerRoundRobin = 2, roundRobin
		server := pgscript.Serve(t, newLogin("off"))
		r := newRig(t, server.Addr, settings)
		a, b := r.lend(), r.lend()
		first, last := a.server, b.server
		a.release()
		b.release()
		want := last
		if roundRobin {
			want = first
		}
		if c := r.lend(); c.server != want {
			t.Errorf("server_round_robin %v: got the other server", roundRobin)
		}
	}
}

// TestUnusedPoolEnds, and is made anew for the next who comes; one with a client
// or a server stays.
func TestUnusedPoolEnds(t *testing.T) {
	settings := usual()
	server := pgscript.Serve(t, newLogin("off"))
	r := newRig(t, server.Addr, settings)
	p := r.pool
	r.do(func() {
		if !p.disuse.Pending() {
			t.Error("a new pool that nobody uses stays for ever")
		}
	})
	b := r.lend()
	p.Join()
	b.release()
	r.do(p.endDisused)
	r.do(func() { p.idle[0].terminate("test") })
	r.empty()
	r.do(p.endDisused)
	if p.Gone() || r.set.Pool(p.Key(), route.Replica) != p {
		t.Fatal("a pool with a client has ended")
	}
	p.Part()
	r.eventually("its end is near", func() bool { return p.disuse.Pending() && p.leaving == 0 })
	r.do(p.endDisused)
	again := r.set.Pool(p.Key(), route.Replica)
	if !p.Gone() || again == p {
		t.Error("the pool has not ended")
	}
	late := r.acquireFrom(p)
	late.told("Rerouted")
	r.acquireFrom(again).getsOne()
	if n := len(r.set.ledger.limits); n != int(limitKinds) {
		t.Errorf("%d limits, want %d of one pool", n, limitKinds)
	}
}

// TestFullNodeSpares: where PostgreSQL itself takes no more connections, an idle
// server of another pool makes room.
func TestFullNodeSpares(t *testing.T) {
	settings := usual()
	settings.ServerLoginRetry = 10 * time.Millisecond
	spared := make(chan struct{})
	server := pgscript.ServeEach(t,
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("X"), pgscript.Tell(spared), pgscript.Close()),
		refusal("53300"),
		pgscript.Steps(pgscript.ExpectStartup(), pgscript.Wait(spared),
			pgscript.Send(pgscript.AuthOK(), pgscript.Statuses("off"), pgscript.BackendKey(1, 2), pgscript.Ready('I')), pgscript.ExpectGone()))
	r := newRig(t, server.Addr, settings)
	b := r.lend()
	r.do(func() { b.server.created = b.server.created.Add(-turn) })
	b.release()
	r.acquireFrom(r.beside("other")).getsOne()
}
