package pool

import (
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/route"
)

// leads makes the rig's pool that of a primary at addr, which a table names.
func (r *rig) leads(addr string) *route.Table {
	r.t.Helper()
	node := &route.Node{Name: "n1", Addr: addr}
	table := &route.Table{Epoch: 1, Primary: node, Nodes: []*route.Node{node}}
	r.set.Follow(table)
	r.pool = r.set.Pool(Key{Node: node, Database: "app", User: "app"}, route.Primary)
	return table
}

// announced is a table with a switchover from now on, to these nodes.
func announced(table *route.Table, hold time.Duration, to ...*route.Node) *route.Table {
	next := *table
	next.Nodes = append(append([]*route.Node(nil), table.Nodes...), to...)
	next.Hold = &route.Hold{Since: time.Now(), Until: time.Now().Add(hold), Warm: to}
	return &next
}

// TestHold: nobody new is served during an announced switchover, who has a server
// goes on, and all is as before once it is called off (rule 27).
func TestHold(t *testing.T) {
	server := pgscript.ServeEach(t, serves(2), serves(1))
	settings := usual()
	settings.PoolSize = 2
	r := newRig(t, server.Addr, settings)
	table := r.leads(server.Addr)
	lent := r.lend()
	held := announced(table, time.Hour)
	r.set.Follow(held)
	first, second := r.acquire(), r.acquire()
	lent.use()
	r.eventually("the server has come back", func() bool { return len(r.pool.idle) == 1 })
	r.do(func() {
		if first.server != nil || second.server != nil || r.pool.dialing > 0 {
			t.Errorf("lent: %t, %t, %d logins: want nothing new", first.server != nil, second.server != nil, r.pool.dialing)
		}
		if got := r.pool.gate(); got != GateHeld {
			t.Errorf("gate = %d, want %d", got, GateHeld)
		}
	})
	late := r.set.Pool(Key{Node: table.Primary, Database: "late", User: "app"}, route.Primary)
	r.do(func() {
		if !late.held {
			t.Error("a pool that is new does not hold")
		}
	})
	r.set.Follow(table)
	first.getsOne()
	second.getsOne()
	r.do(func() {
		if first.turn > second.turn {
			t.Error("the second was served first")
		}
	})
	first.use()
	second.use()
}

// TestHoldEnds by itself: a switchover that does not come costs half a second.
func TestHoldEnds(t *testing.T) {
	server := pgscript.ServeEach(t, serves(2))
	r := newRig(t, server.Addr, usual())
	table := r.leads(server.Addr)
	r.lend().use()
	const span = 50 * time.Millisecond
	began := time.Now()
	r.set.Follow(announced(table, span))
	waits := r.acquire()
	waits.getsOne()
	if took := time.Since(began); took < span {
		t.Errorf("lent after %v, want %v", took, span)
	}
	waits.use()
}

// TestFatalWhileHeld: PostgreSQL closes what is idle, and those who wait hear
// nothing of it.
func TestFatalWhileHeld(t *testing.T) {
	over := make(chan struct{})
	server := pgscript.ServeEach(t, pgscript.Steps(pgscript.AcceptLogin(), answer("SELECT 1"), cleaned(),
		pgscript.Wait(over), pgscript.Send(pgscript.Error("FATAL", "57P01", "stopping")), pgscript.Close()))
	r := newRig(t, server.Addr, usual())
	table := r.leads(server.Addr)
	r.lend().use()
	r.set.Follow(announced(table, time.Hour))
	waits := r.acquire()
	close(over)
	r.eventually("the server is forgotten", func() bool { return len(r.pool.servers) == 0 })
	r.do(func() {
		if len(waits.calls) > 0 || r.pool.queue.size != 1 || r.pool.dialing > 0 {
			t.Errorf("the client was told %v, %d wait, %d logins", waits.calls, r.pool.queue.size, r.pool.dialing)
		}
	})
	none := &route.Table{Epoch: 2, Nodes: []*route.Node{{Name: "n1", Addr: server.Addr}}}
	r.set.Follow(none)
	waits.told("Rerouted")
}

// promoted answers the question that every warmed server is asked.
func promoted(answer string) pgscript.Step {
	return pgscript.Steps(pgscript.Expect("Q"), pgscript.ExpectBody(provenSQL),
		pgscript.Send(pgscript.Columns("?column?"), pgscript.Row(answer), pgscript.Complete("SELECT 1"), pgscript.Ready('I')))
}

// warmRig is a primary with two servers in use, and a candidate with a script for
// each login.
func warmRig(t *testing.T, candidate ...pgscript.Step) (r *rig, table *route.Table, next *route.Node) {
	t.Helper()
	old := pgscript.ServeEach(t, pgscript.Steps(pgscript.AcceptLogin(), pgscript.ExpectGone()), pgscript.Steps(pgscript.AcceptLogin(), pgscript.ExpectGone()))
	fresh := pgscript.ServeEach(t, candidate...)
	settings := usual()
	settings.PoolSize, settings.MaxDBConnections = 2, 4
	r = newRig(t, old.Addr, settings)
	table = r.leads(old.Addr)
	a, b := r.lend(), r.lend()
	a.release()
	b.release()
	next = &route.Node{Name: "n2", Addr: fresh.Addr}
	table = announced(table, time.Hour, next)
	r.set.Follow(table)
	return r, table, next
}

// pendingPool is the one pending pool.
func (r *rig) pendingPool() *Pool {
	r.set.mu.Lock()
	defer r.set.mu.Unlock()
	for _, p := range r.set.pending {
		return p
	}
	return nil
}

// moved is the table after the switchover.
func moved(to *route.Node) *route.Table {
	life := &route.Node{Name: to.Name, Addr: to.Addr, Generation: to.Generation + 1}
	return &route.Table{Epoch: 3, Primary: life, Nodes: []*route.Node{life}}
}

// TestWarmed: as many servers as were in use are logged in at the candidate, lent
// to nobody, and used by its pool after each has said that it takes writes.
func TestWarmed(t *testing.T) {
	script := pgscript.Steps(pgscript.AcceptLogin(), promoted("t"), answer("SELECT 1"), cleaned(), pgscript.ExpectGone())
	r, table, next := warmRig(t, script, script)
	p := r.pendingPool()
	r.eventually("two are warm", func() bool { return len(p.idle) == 2 })
	if n := p.account.limits[databaseLimit].used; n != 2 {
		t.Errorf("they count as %d, want 2", n)
	}
	if r.set.Pool(Key{Node: next, Database: "app", User: "app"}, route.Replica) == p {
		t.Error("a pending pool can be had")
	}
	none := *table
	none.Primary, none.Hold, none.Epoch = nil, nil, 2
	r.set.Follow(&none)
	after := moved(next)
	r.set.Follow(after)
	r.pool = r.set.Pool(Key{Node: after.Primary, Database: "app", User: "app"}, route.Primary)
	first, second := r.acquire(), r.acquire()
	first.getsOne()
	second.getsOne()
	first.use()
	second.use()
	r.do(func() {
		if n := r.pool.account.limits[databaseLimit].used; n != 2 || r.pool.arriving != 0 || r.pool.open() != 2 {
			t.Errorf("%d permits, %d arriving, %d servers; want 2, 0, 2", n, r.pool.arriving, r.pool.open())
		}
	})
	if role := r.learned.Load(); role == nil || *role != route.Primary {
		t.Errorf("the welcome was learned for %v, want the primary's", role)
	}
	if n := r.set.counters.ServersWarmed.Load(); n != 2 {
		t.Errorf("%d servers were warmed, want 2", n)
	}
}

// TestWarmedButNotProven: a server that does not say so itself is not used.
func TestWarmedButNotProven(t *testing.T) {
	liar := pgscript.Steps(pgscript.AcceptLogin(), promoted("f"), pgscript.ExpectGone())
	r, _, next := warmRig(t, liar, liar, pgscript.Steps(pgscript.AcceptLogin(), answer("SELECT 1"), cleaned(), pgscript.ExpectGone()))
	p := r.pendingPool()
	r.eventually("two are warm", func() bool { return len(p.idle) == 2 })
	after := moved(next)
	r.set.Follow(after)
	r.pool = r.set.Pool(Key{Node: after.Primary, Database: "app", User: "app"}, route.Primary)
	r.lend().use()
	if n := r.set.counters.ServersWarmed.Load(); n != 0 {
		t.Errorf("%d servers were used", n)
	}
	r.eventually("they are closed", func() bool { return r.pool.open() == 1 && r.pool.arriving == 0 })
}

// TestWarmLoginsArrive: one that was under way at the promotion is waited for, and
// not begun again.
func TestWarmLoginsArrive(t *testing.T) {
	over := make(chan struct{})
	script := pgscript.Steps(pgscript.Wait(over), pgscript.AcceptLogin(), promoted("t"), answer("SELECT 1"), cleaned(), pgscript.ExpectGone())
	r, _, next := warmRig(t, script, script)
	p := r.pendingPool()
	r.eventually("both are logging in", func() bool { return p.dialing == 2 })
	after := moved(next)
	r.set.Follow(after)
	r.pool = r.set.Pool(Key{Node: after.Primary, Database: "app", User: "app"}, route.Primary)
	first, second := r.acquire(), r.acquire()
	close(over)
	first.getsOne()
	second.getsOne()
	first.use()
	second.use()
}

// TestWarmedInVain: called off, or another node won: they are closed.
func TestWarmedInVain(t *testing.T) {
	script := pgscript.Steps(pgscript.AcceptLogin(), pgscript.ExpectGone())
	for name, change := range map[string]func(*route.Table){
		"called off":         func(table *route.Table) { table.Hold = nil },
		"another is primary": func(table *route.Table) { *table = *moved(&route.Node{Name: "n3", Addr: "127.0.0.1:1"}) },
	} {
		t.Run(name, func(t *testing.T) {
			r, table, _ := warmRig(t, script, script)
			p := r.pendingPool()
			r.eventually("two are warm", func() bool { return len(p.idle) == 2 })
			next := *table
			change(&next)
			r.set.Follow(&next)
			r.eventually("they are closed", func() bool { return p.retired && p.open() == 0 })
			if r.pendingPool() != nil {
				t.Error("the pool is still known")
			}
		})
	}
}

// TestWarmedUnderOldSettings: a reload in the middle of a switchover ends what was
// made for it.
func TestWarmedUnderOldSettings(t *testing.T) {
	script := pgscript.Steps(pgscript.AcceptLogin(), pgscript.ExpectGone())
	r, _, next := warmRig(t, script, script, pgscript.Steps(pgscript.AcceptLogin(), answer("SELECT 1"), cleaned(), pgscript.ExpectGone()))
	p := r.pendingPool()
	r.eventually("two are warm", func() bool { return len(p.idle) == 2 })
	settings := usual()
	settings.PoolSize = 3
	r.set.Apply(settings)
	after := moved(next)
	r.set.Follow(after)
	r.eventually("they are closed", func() bool { return p.retired && p.open() == 0 })
	r.pool = r.set.Pool(Key{Node: after.Primary, Database: "app", User: "app"}, route.Primary)
	r.lend().use()
}
