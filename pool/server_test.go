package pool

import (
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// extended messages without parameters, for the unnamed statement and portal.
var (
	parse    = pgscript.Message('P', []byte("\x00SELECT 1\x00\x00\x00"))
	bind     = pgscript.Message('B', []byte("\x00\x00\x00\x00\x00\x00\x00\x00"))
	execute  = pgscript.Message('E', []byte("\x00\x00\x00\x00\x00"))
	flush    = pgscript.Message('H', nil)
	endBatch = pgscript.Message('S', nil)
)

// TestFatalWhileIdle: a server that has said FATAL is not lent any more, though
// it has not closed yet (rule 7).
func TestFatalWhileIdle(t *testing.T) {
	ready := make(chan struct{})
	server := pgscript.Serve(t, pgscript.AcceptLogin(), pgscript.Wait(ready),
		pgscript.Send(pgscript.Error("FATAL", "57P01", "terminating")), pgscript.ExpectGone())
	r := newRig(t, server.Addr, usual())
	r.lend().release()
	close(ready)
	r.empty()
}

// TestErrorWhileIdle: neither is one that answers what nobody asked.
func TestErrorWhileIdle(t *testing.T) {
	ready := make(chan struct{})
	server := pgscript.Serve(t, pgscript.AcceptLogin(), pgscript.Wait(ready),
		pgscript.Send(pgscript.Error("ERROR", "57014", "canceled")), pgscript.ExpectGone())
	r := newRig(t, server.Addr, usual())
	r.lend().release()
	close(ready)
	r.empty()
}

// TestClientLeaves in states where the server would wait for ever for more.
func TestClientLeaves(t *testing.T) {
	for _, test := range []struct {
		name     string
		messages [][]byte
		script   pgscript.Step
	}{
		{"no Sync, all answered", [][]byte{parse, bind, execute, flush}, pgscript.Steps(
			pgscript.Expect("PBEH"), pgscript.Send(pgscript.Message('1', nil), pgscript.Message('2', nil), pgscript.Complete("SELECT 1")))},
		{"no Sync after an error", [][]byte{parse, bind, execute, flush}, pgscript.Steps(
			pgscript.Expect("PBEH"), pgscript.Send(pgscript.Error("ERROR", "42601", "syntax error")))},
		{"no Sync behind a whole batch", [][]byte{parse, endBatch, parse, flush}, pgscript.Steps(
			pgscript.Expect("PSPH"), pgscript.Send(pgscript.Message('1', nil), pgscript.Ready('I'), pgscript.Message('1', nil)))},
		{"COPY begins", [][]byte{pgscript.Query("COPY things FROM STDIN")}, pgscript.Steps(
			pgscript.Expect("Q"), pgscript.Send(pgscript.Message('G', []byte{0, 0, 0})))},
	} {
		t.Run(test.name, func(t *testing.T) {
			left := make(chan struct{})
			server := pgscript.Serve(t, pgscript.AcceptLogin(), pgscript.Wait(left), test.script, pgscript.ExpectGone())
			r := newRig(t, server.Addr, usual())
			b := r.lend()
			b.send(test.messages...)
			b.release()
			close(left)
			r.empty()
		})
	}
}

// TestClientLeavesWhileSettling: an error of its parameters is then nobody's.
func TestClientLeavesWhileSettling(t *testing.T) {
	left := make(chan struct{})
	server := pgscript.Serve(t, pgscript.AcceptLogin(), pgscript.Expect("Q"), pgscript.Wait(left),
		pgscript.Send(pgscript.Error("ERROR", "22023", "bad value"), pgscript.Ready('I')), cleaned(), pgscript.ExpectGone())
	r := newRig(t, server.Addr, usual())
	b := r.acquire(wire.Param{Name: "TimeZone", Value: "Mars"})
	r.eventually("the server is being prepared", func() bool { return b.waiter.server != nil })
	r.do(func() { b.waiter.Leave() })
	close(left)
	r.eventually("the server is clean", func() bool { return len(r.pool.idle) == 1 })
	r.do(func() {
		if len(b.calls) > 0 {
			t.Errorf("a client that left was told %v", b.calls)
		}
	})
}

// TestReleasedInsideLent: Acquire has no claim to return when the borrower is
// done before Acquire is.
func TestReleasedInsideLent(t *testing.T) {
	server := pgscript.Serve(t, pgscript.AcceptLogin(), pgscript.ExpectGone())
	r := newRig(t, server.Addr, usual())
	r.lend().release()
	b := r.borrower()
	b.onLent = func(s *Server) { s.Release() }
	r.do(func() { b.waiter = r.pool.Acquire(b) })
	if b.waiter != nil {
		t.Error("Acquire returned the claim of somebody else")
	}
}

// TestBrokenBeforeLent: the client takes another server that is at hand.
func TestBrokenBeforeLent(t *testing.T) {
	settings := usual()
	settings.PoolSize = 2
	settings.ServerCheck, settings.ServerCheckQuery = true, ";"
	server := pgscript.ServeEach(t,
		pgscript.Steps(pgscript.AcceptLogin(), answer(""), pgscript.ExpectGone()),
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("Q"), pgscript.Reset()),
	)
	r := newRig(t, server.Addr, settings)
	a := r.lend()
	r.do(func() { r.pool.set.settings.Load().ServerCheckDelay = time.Hour }) // not for the one just logged in
	b := r.lend()
	r.do(func() { r.pool.set.settings.Load().ServerCheckDelay = -1 })
	a.release()
	b.release() // used last, so tried first
	c := r.lend()
	if c.server == nil || r.set.counters.ServerLogins.Load() != 2 {
		t.Errorf("%d logins, want the 2 of before", r.set.counters.ServerLogins.Load())
	}
}

// TestServerDiesYoung: a server that closes right after its login is not asked
// again without a pause.
func TestServerDiesYoung(t *testing.T) {
	server := pgscript.Serve(t, pgscript.AcceptLogin(), pgscript.Expect("Q"), pgscript.Close())
	r := newRig(t, server.Addr, usual())
	r.acquire(wire.Param{Name: "TimeZone", Value: "UTC"})
	r.eventually("the first has died", func() bool { return r.pool.retry.Pending() })
	if n := r.set.counters.ServerLogins.Load(); n != 1 {
		t.Errorf("%d logins before the pause, want 1", n)
	}
}

// TestServerDiesInRetiredPool: the client that it was prepared for goes elsewhere.
func TestServerDiesInRetiredPool(t *testing.T) {
	retired := make(chan struct{})
	server := pgscript.Serve(t, pgscript.AcceptLogin(), pgscript.Expect("Q"), pgscript.Wait(retired), pgscript.Close())
	r := newRig(t, server.Addr, usual())
	b := r.acquire(wire.Param{Name: "TimeZone", Value: "UTC"})
	r.eventually("the server is being prepared", func() bool { return b.waiter != nil && b.waiter.server != nil })
	r.do(func() { r.pool.Retire(false) })
	close(retired)
	b.told("Rerouted")
}

// TestNodeThatLeft: a client that read the table just before it changed does not
// get a pool of the node that has gone.
func TestNodeThatLeft(t *testing.T) {
	server := pgscript.Serve(t, pgscript.AcceptLogin(), pgscript.ExpectGone())
	r := newRig(t, server.Addr, usual())
	other := r.key(server.Addr)
	r.set.Follow(&route.Table{Nodes: []*route.Node{other.Node}, Replicas: []*route.Node{other.Node}})
	late := r.set.Pool(r.pool.Key(), route.Replica)
	b := r.borrower()
	r.do(func() { b.waiter = late.Acquire(b) })
	b.told("Rerouted")
	if r.set.counters.ServerLogins.Load() != 0 {
		t.Error("a server of a node that has gone")
	}
}

// TestLeaveBeforeRerouted: who has left hears nothing, even if it was to be sent
// elsewhere.
func TestLeaveBeforeRerouted(t *testing.T) {
	server := pgscript.Serve(t, pgscript.AcceptLogin(), pgscript.ExpectGone())
	r := newRig(t, server.Addr, usual())
	b := r.borrower()
	r.do(func() {
		r.pool.Retire(false)
		if b.waiter = r.pool.Acquire(b); b.waiter != nil {
			b.waiter.Leave()
		}
	})
	r.do(func() {})
	r.do(func() {
		if len(b.calls) > 0 {
			t.Errorf("told %v", b.calls)
		}
	})
}

// TestWordsBehindReadyForQuery: what a server says unasked right behind its answer
// is heard before anybody else gets it: a FATAL is not the next client's.
func TestWordsBehindReadyForQuery(t *testing.T) {
	settings := usual()
	settings.Mode = TransactionMode
	server := pgscript.ServeEach(t,
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("Q"),
			pgscript.Send(pgscript.Complete("SELECT 1"), pgscript.Ready('I'), pgscript.Error("FATAL", "57P01", "terminating"))),
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.ExpectGone()))
	r := newRig(t, server.Addr, settings)
	a := r.lend()
	r.do(func() {
		a.onReady = func(s *Server) {
			a.server = nil
			s.Release()
		}
	})
	b := r.acquire()
	a.send(pgscript.Query("SELECT 1"))
	r.eventually("the next client has a server", func() bool { return b.server != nil })
	r.do(func() {
		if !strings.Contains(string(a.got), "terminating") || strings.Contains(string(b.got), "terminating") {
			t.Errorf("told %q and then %q", a.got, b.got)
		}
	})
}
