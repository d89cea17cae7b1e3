package pool

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/route"
)

// serves is a server that serves one client after another.
func serves(clients int) pgscript.Step {
	steps := []pgscript.Step{pgscript.AcceptLogin()}
	for range clients {
		steps = append(steps, answer("SELECT 1"), cleaned())
	}
	return pgscript.Steps(append(steps, pgscript.ExpectGone())...)
}

// use sends a query, waits for its answer and gives the server back.
func (b *borrower) use() {
	b.rig.t.Helper()
	b.send(pgscript.Query("SELECT 1"))
	b.rig.eventually("the query is answered", func() bool { return b.ready == 1 })
	b.release()
}

// within runs a wait that has to end by itself.
func within(t *testing.T, wait func(context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return wait(ctx)
}

// TestPause: idle servers are closed at once, lent ones when they come back; who
// asks meanwhile waits, and gets a new server after RESUME.
func TestPause(t *testing.T) {
	server := pgscript.ServeEach(t, serves(1), serves(1), serves(1))
	settings := usual()
	settings.PoolSize = 2
	r := newRig(t, server.Addr, settings)
	lent := r.lend()
	r.lend().use() // goes idle
	if !r.set.Pause("app") || r.set.Pause("app") {
		t.Error("Pause did not say what was new")
	}
	r.eventually("the idle server is closed", func() bool { return len(r.pool.servers) == 1 })
	waits := r.acquire()
	r.do(func() {
		if got := r.pool.gate(); got != GatePaused {
			t.Errorf("gate = %d, want %d", got, GatePaused)
		}
	})

	ctx, cancel := context.WithTimeout(t.Context(), 3*awaitPoll)
	defer cancel()
	if err := r.set.AwaitPaused(ctx, "app"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a server lent: %v, want it to wait", err)
	}
	lent.use()
	if err := within(t, func(ctx context.Context) error { return r.set.AwaitPaused(ctx, "app") }); err != nil {
		t.Errorf("with none: %v", err)
	}
	r.do(func() {
		if n := r.pool.open(); n > 0 || waits.server != nil {
			t.Errorf("%d servers open, lent: %t; want none", n, waits.server != nil)
		}
	})
	if !r.set.Resume("app") || r.set.Resume("app") {
		t.Error("Resume did not say what was new")
	}
	r.eventually("the client gets a server", func() bool { return waits.server != nil })
	waits.use()
}

// TestPauseOfOthers: a database is not held by the PAUSE of another one, and is by
// that of all, which RESUME by name does not end.
func TestPauseOfOthers(t *testing.T) {
	server := pgscript.Serve(t, serves(1))
	r := newRig(t, server.Addr, usual())
	r.set.Pause("other")
	r.lend().use()
	r.set.Pause("")
	r.set.Pause("app")
	r.set.Resume("app")
	if !r.set.Paused("app") || r.set.PausedByName("app") {
		t.Error("the PAUSE of all has ended with that of one")
	}
	if err := within(t, func(ctx context.Context) error { return r.set.AwaitPaused(ctx, "") }); err != nil {
		t.Error(err)
	}
	waits := r.acquire()
	late := r.set.Pool(Key{Node: r.pool.key.Node, Database: "new", User: "app"}, r.pool.role)
	r.do(func() {
		if waits.server != nil || !late.paused {
			t.Errorf("lent: %t, a new pool is paused: %t", waits.server != nil, late.paused)
		}
		waits.waiter.Leave()
	})
}

// TestPauseDuringLogin: a server that was on its way is closed, not lent.
func TestPauseDuringLogin(t *testing.T) {
	paused := make(chan struct{})
	server := pgscript.ServeEach(t,
		pgscript.Steps(pgscript.Wait(paused), pgscript.AcceptLogin(), pgscript.ExpectGone()), serves(1))
	r := newRig(t, server.Addr, usual())
	waits := r.acquire()
	r.eventually("a login is under way", func() bool { return r.pool.dialing == 1 })
	r.set.Pause("app")
	close(paused)
	if err := within(t, func(ctx context.Context) error { return r.set.AwaitPaused(ctx, "app") }); err != nil {
		t.Error(err)
	}
	r.do(func() {
		if waits.server != nil {
			t.Error("the server was lent in spite of PAUSE")
		}
	})
	r.set.Resume("app")
	r.eventually("the client gets a server", func() bool { return waits.server != nil })
	waits.use()
}

// TestReconnect: every server is replaced once it is free, those included whose
// login had begun before.
func TestReconnect(t *testing.T) {
	reconnected := make(chan struct{})
	server := pgscript.ServeEach(t, serves(1), serves(2),
		pgscript.Steps(pgscript.Wait(reconnected), serves(0)), serves(1))
	settings := usual()
	settings.PoolSize = 3
	r := newRig(t, server.Addr, settings)
	lent := r.lend()
	other := r.lend()
	slow := r.acquire()
	r.eventually("a login is under way", func() bool { return r.pool.dialing == 1 })
	other.use()
	r.eventually("the server is given to who waits", func() bool { return slow.server != nil })
	r.set.Reconnect("")
	r.do(func() {})
	close(reconnected)
	r.eventually("the login is closed again", func() bool { return r.pool.dialing == 0 && len(r.pool.servers) == 2 })
	lent.use()
	slow.use()
	if err := within(t, func(ctx context.Context) error { return r.set.AwaitClosed(ctx, "app") }); err != nil {
		t.Error(err)
	}
	fresh := r.lend()
	r.do(func() {
		if fresh.server.stale || len(r.pool.servers) != 1 {
			t.Errorf("stale: %t, servers: %d; want a new one alone", fresh.server.stale, len(r.pool.servers))
		}
	})
	fresh.use()
}

// TestFastClose: with server_fast_close, a session does not keep a server that is
// to be replaced for longer than its transaction; shared servers are not meant.
func TestFastClose(t *testing.T) {
	server := pgscript.ServeEach(t,
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("Q"), pgscript.Send(pgscript.Complete("BEGIN"), pgscript.Ready('T')),
			pgscript.Expect("Q"), pgscript.Send(pgscript.Complete("COMMIT"), pgscript.Ready('I')), pgscript.Expect("X"), pgscript.ExpectGone()),
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("X"), pgscript.ExpectGone()))
	settings := usual()
	settings.PoolSize, settings.ServerFastClose = 2, true
	r := newRig(t, server.Addr, settings)
	busy, idle := r.lend(), r.lend()
	busy.send(pgscript.Query("BEGIN"))
	r.eventually("the transaction has begun", func() bool { return busy.ready == 1 })
	r.set.Reconnect("app")
	idle.told("Lost")
	r.do(func() {
		if idle.why != LossReplaced || busy.server == nil {
			t.Errorf("loss %d, the one in a transaction has its server: %t; want %d and true", idle.why, busy.server != nil, LossReplaced)
		}
	})
	busy.send(pgscript.Query("COMMIT"))
	busy.told("Lost")
	r.do(func() {
		if busy.ready != 2 || busy.why != LossReplaced {
			t.Errorf("ready %d times, loss %d; want the answer to COMMIT first", busy.ready, busy.why)
		}
	})
	r.empty()
}

func TestSharedServersAreNotClosedFast(t *testing.T) {
	server := pgscript.Serve(t, pgscript.AcceptLogin(), answer("SELECT 1"), pgscript.Expect("X"), pgscript.ExpectGone())
	settings := usual()
	settings.Mode, settings.ServerFastClose = TransactionMode, true
	r := newRig(t, server.Addr, settings)
	b := r.lend()
	r.set.Reconnect("app")
	b.use()
	r.do(func() {
		if len(b.calls) != 1 {
			t.Errorf("the client was told %v, want a loan alone", b.calls)
		}
	})
	r.empty()
}

func TestDisabled(t *testing.T) {
	r := newRig(t, "127.0.0.1:1", usual())
	for _, configured := range []bool{false, true} {
		if got := r.set.Disabled("app", configured); got != configured {
			t.Errorf("unsaid: %t, want %t", got, configured)
		}
	}
	r.set.SetDisabled("app", true)
	if !r.set.Disabled("app", false) || r.set.Disabled("other", false) {
		t.Error("DISABLE does not count, or for others as well")
	}
	r.set.SetDisabled("app", false)
	if r.set.Disabled("app", true) {
		t.Error("ENABLE does not win over the configuration")
	}
}

// TestGates: the order in which they count is fixed.
func TestGates(t *testing.T) {
	l, err := loop.New()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tt := range []struct {
		name  string
		close func(*Pool)
		want  Gate
	}{
		{"nobody waits", func(p *Pool) { p.queue.size = 0 }, Open},
		{"full", func(*Pool) {}, GateFull},
		{"limit", func(p *Pool) { p.claims.asking = true }, GateLimit},
		{"failing", func(p *Pool) { p.claims.asking, p.trouble = true, true }, GateFailing},
		{"paused", func(p *Pool) { p.claims.asking, p.trouble, p.paused = true, true, true }, GatePaused},
		{"retired", func(p *Pool) { p.claims.asking, p.trouble, p.paused, p.retired = true, true, true, true }, GateRetired},
	} {
		p := &Pool{loop: l}
		p.queue.size = 1
		tt.close(p)
		if got := p.gate(); got != tt.want {
			t.Errorf("%s: gate %d, want %d", tt.name, got, tt.want)
		}
	}
}

// TestStats: what went through is counted once, and still after the pool has gone.
func TestStats(t *testing.T) {
	block := make(chan struct{})
	server := pgscript.Serve(t, pgscript.AcceptLogin(), pgscript.Expect("QQ"), pgscript.Wait(block),
		pgscript.Send(pgscript.Complete("BEGIN"), pgscript.Ready('T'), pgscript.Complete("COMMIT"), pgscript.Ready('I')), cleaned(), pgscript.ExpectGone())
	r := newRig(t, server.Addr, usual())
	b := r.lend()
	b.send(pgscript.Query("BEGIN"), pgscript.Query("COMMIT"))
	late := r.acquire()

	pools, err := r.set.Stats(t.Context())
	if err != nil || len(pools) != 1 || pools[0].Lent != 1 || pools[0].Waiting != 1 || pools[0].Node != "n1" || pools[0].Reason == "" {
		t.Errorf("pools: %+v, %v; want one server lent and one client waiting", pools, err)
	}
	servers, err := r.set.Servers(t.Context())
	if err != nil || len(servers) != 1 || servers[0].State != "active" || !servers[0].Addr.IsValid() || !servers[0].LocalAddr.IsValid() || servers[0].Requested.IsZero() {
		t.Errorf("servers: %+v, %v; want one that is active", servers, err)
	}
	begun := time.Now()
	r.eventually("the query takes some time", func() bool { return r.loop.Now().Sub(begun) > 2*time.Millisecond })
	close(block)
	r.eventually("all is answered", func() bool { return b.ready == 1 })
	b.release()
	r.eventually("the second client is served", func() bool { return late.server != nil })
	late.release()

	for _, when := range []string{"living", "retired", "forgotten"} {
		totals, err := r.set.Traffic(t.Context())
		if err != nil || totals["app"] == nil {
			t.Fatalf("%s: %v, %v", when, totals, err)
		}
		got := totals["app"].Traffic
		if got.Queries != 2 || got.Xacts != 1 || got.Assignments != 2 || got.Received == 0 || got.Sent == 0 ||
			got.XactTime < time.Millisecond || got.XactTime < got.QueryTime || got.WaitTime == 0 {
			t.Errorf("%s: %+v, want 2 queries, 1 transaction of their time, 2 assignments", when, got)
		}
		if n := totals["app"].Query.Count(); n != 2 {
			t.Errorf("%s: %d query times, want 2", when, n)
		}
		r.set.forget(r.pool)
		r.do(func() { r.pool.Retire(false) })
		r.eventually("the pool is closed", func() bool { return r.pool.open() == 0 })
	}
	if n := len(r.set.every); n != 0 {
		t.Errorf("%d pools are still counted, want none", n)
	}
}

// TestReconnectHost: the servers of one host are replaced, through Options.Dial,
// which knows where the name leads.
func TestReconnectHost(t *testing.T) {
	server := pgscript.ServeEach(t, serves(1), serves(1))
	r := newRig(t, "", usual())
	r.set.open = func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != "db1:5432" {
			t.Errorf("connects to %s, want db1:5432", address)
		}
		return new(net.Dialer).DialContext(ctx, network, server.Addr)
	}
	r.pool = r.set.Pool(r.key("db1:5432"), route.Replica)
	r.lend().use()
	r.set.ReconnectHost("db2")
	var first *Server
	r.eventually("the server is idle", func() bool {
		if len(r.pool.idle) == 1 {
			first = r.pool.idle[0]
		}
		return first != nil
	})
	r.set.ReconnectHost("db1")
	r.eventually("the server is closed", func() bool { return len(r.pool.servers) == 0 })
	r.lend().use()
	r.do(func() { r.pool.Retire(false) })
}
