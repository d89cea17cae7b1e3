package pool

import (
	"testing"

	"github.com/pgvip/pgvip/internal/pgscript"
)

// TestDiscardReuses: the query of a client that is gone is cancelled, and its
// server is not lent before the request has been delivered, even when the query
// has ended earlier.
func TestDiscardReuses(t *testing.T) {
	asked, answered, deliver := make(chan struct{}), make(chan struct{}), make(chan struct{})
	server := pgscript.ServeEach(t,
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("Q"), pgscript.Wait(asked),
			pgscript.Send(pgscript.Error("ERROR", "57014", "canceled"), pgscript.Ready('E')), pgscript.Tell(answered),
			pgscript.Expect("Q"), pgscript.ExpectBody("ROLLBACK"), pgscript.Expect("Q"), pgscript.ExpectBody("DISCARD ALL"),
			pgscript.Send(pgscript.Complete("ROLLBACK"), pgscript.Ready('I'), pgscript.Complete("DISCARD ALL"), pgscript.Ready('I')),
			pgscript.ExpectGone()),
		pgscript.Steps(pgscript.ExpectStartup(), pgscript.Tell(asked), pgscript.Wait(deliver), pgscript.Close()))
	r := newRig(t, server.Addr, usual())
	b := r.lend()
	s := b.server
	b.send(pgscript.Query("BEGIN; SELECT 1"))
	r.do(func() { s.Discard("test", true) })
	<-answered
	r.eventually("the query has ended", func() bool { return s.state == resetting })
	next := r.acquire()
	r.do(func() {
		if s.Outstanding() || next.server != nil {
			t.Error("something is sent to a server that a cancel request may hit")
		}
	})
	close(deliver)
	r.eventually("the next client is served", func() bool { return next.server == s })
	if len(b.calls) != 1 {
		t.Errorf("the client that is gone was told %v", b.calls)
	}
}

// TestDiscardIsBounded: a server that does not heed cancel requests is closed.
func TestDiscardIsBounded(t *testing.T) {
	first, second := make(chan struct{}), make(chan struct{})
	server := pgscript.ServeEach(t,
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("Q"), pgscript.ExpectGone()),
		pgscript.Steps(pgscript.ExpectStartup(), pgscript.Tell(first), pgscript.Close()),
		pgscript.Steps(pgscript.ExpectStartup(), pgscript.Tell(second), pgscript.Close()),
		newLogin("off"))
	r := newRig(t, server.Addr, usual())
	b := r.lend()
	s := b.server
	b.send(pgscript.Query("SELECT 1"))
	r.do(func() { s.Discard("test", true) })
	<-first
	<-second // a while later
	r.do(func() {
		s.discarded = s.discarded.Add(-discardLimit)
		s.nag()
		if s.state != closed {
			t.Errorf("state %d, want it closed", s.state)
		}
	})
	if next := r.lend(); next.server == s {
		t.Error("lent on")
	}
}

// TestResetAlways: server_reset_query_always cleans a shared server after each
// transaction, even one that has left nothing.
func TestResetAlways(t *testing.T) {
	settings := usual()
	settings.Mode, settings.ServerResetQueryAlways = TransactionMode, true
	server := pgscript.Serve(t, pgscript.AcceptLogin(), answer("SELECT 1"), cleaned(), pgscript.ExpectGone())
	r := newRig(t, server.Addr, settings)
	b := r.lend()
	b.send(pgscript.Query("SELECT 1"))
	r.eventually("it is answered", func() bool { return b.ready == 1 })
	b.release()
	r.eventually("it is clean", func() bool { return len(r.pool.idle) == 1 })
	if r.set.counters.ServerLogins.Load() != 1 {
		t.Error("the server was closed")
	}
}
