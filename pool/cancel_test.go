package pool

import (
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/wire"
)

// TestCancelOfUnknownFate: where a cancel request has not been seen to arrive, it
// may arrive late. Its server ends with its client.
func TestCancelOfUnknownFate(t *testing.T) {
	asked, over := make(chan struct{}), make(chan struct{})
	server := pgscript.ServeEach(t,
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("Q"), pgscript.Wait(asked),
			pgscript.Send(pgscript.Complete("SELECT 1"), pgscript.Ready('I')),
			pgscript.Expect("X"), pgscript.ExpectGone()),
		pgscript.Steps(pgscript.ExpectStartup(), pgscript.Tell(asked), pgscript.Wait(over), pgscript.Close()),
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("X"), pgscript.ExpectGone()))
	settings := usual()
	settings.CancelWaitTimeout = 50 * time.Millisecond
	r := newRig(t, server.Addr, settings)
	b := r.lend()
	b.send(pgscript.Query("SELECT 1"))
	told := make(chan struct{})
	r.do(func() { b.server.Cancel(func() { close(told) }) })
	<-told
	r.eventually("the query has been answered", func() bool { return b.ready == 1 })
	first := b.server
	b.release()
	next := r.lend()
	if next.server == first {
		t.Error("lent on although a cancel request may yet arrive")
	}
	next.release()
	close(over)
	r.do(func() { r.pool.Retire(false) })
	r.empty()
}

// TestResetWaitsForCancel: while a cancel request may still reach a server,
// nothing of ours is sent to it, which the request might hit, and nobody gets it.
func TestResetWaitsForCancel(t *testing.T) {
	asked, deliver := make(chan struct{}), make(chan struct{})
	server := pgscript.ServeEach(t,
		pgscript.Steps(pgscript.AcceptLogin(), answer("SELECT 1"), cleaned(), pgscript.ExpectGone()),
		pgscript.Steps(pgscript.ExpectStartup(), pgscript.Tell(asked), pgscript.Wait(deliver), pgscript.Close()))
	r := newRig(t, server.Addr, usual())
	b := r.lend()
	s := b.server
	told := make(chan struct{})
	r.do(func() {
		s.Sent('Q')
		s.Send(pgscript.Query("SELECT 1"))
		s.Cancel(func() { close(told) })
	})
	<-asked
	r.eventually("the query has been answered", func() bool { return b.ready == 1 })
	b.release()
	next := r.acquire()
	r.do(func() {
		if s.Outstanding() || s.state != resetting || next.server != nil {
			t.Errorf("state %d, asked %v, lent %v: want it to wait", s.state, s.Outstanding(), next.server != nil)
		}
	})
	close(deliver)
	<-told
	r.eventually("the next client is served", func() bool { return next.server == s })
}

// TestCancelBehindRefusedParameters: a cancel request that waits until its client's
// parameters are set is over when they are refused, and not for the next client.
func TestCancelBehindRefusedParameters(t *testing.T) {
	waits := make(chan struct{})
	for _, lost := range []bool{false, true} {
		refusal := pgscript.Steps(pgscript.Wait(waits), pgscript.Close())
		if !lost {
			refusal = pgscript.Steps(pgscript.Send(pgscript.Error("ERROR", "22023", "no"), pgscript.Ready('I'), pgscript.Complete("SELECT 1"), pgscript.Ready('I')),
				pgscript.Expect("Q"), pgscript.ExpectBody("DISCARD ALL"), pgscript.Send(pgscript.Complete("DISCARD ALL"), pgscript.Ready('I')),
				answer("SELECT 2"), cleaned(), pgscript.ExpectGone())
		}
		// One connection: a cancel request would be one too many.
		server := pgscript.ServeEach(t, pgscript.Steps(pgscript.AcceptLogin(),
			pgscript.Expect("Q"), pgscript.ExpectBody("set_config"), pgscript.Expect("Q"), pgscript.Wait(waits), refusal),
			pgscript.Steps(pgscript.AcceptLogin(), answer("SELECT 2"), cleaned(), pgscript.ExpectGone()))
		r := newRig(t, server.Addr, usual())
		b := r.borrower(wire.Param{Name: "TimeZone", Value: "UTC"})
		b.profile.Origin.accepted.Store(true)
		told := make(chan struct{})
		r.do(func() { b.waiter = r.pool.Acquire(b) })
		r.eventually("it has a server", func() bool { return b.server != nil })
		r.do(func() {
			b.server.Sent('Q')
			b.server.Send(pgscript.Query("SELECT 1"))
			b.server.Cancel(func() { close(told) })
		})
		waits <- struct{}{}
		if lost {
			waits <- struct{}{}
		}
		select {
		case <-told:
		case <-time.After(10 * time.Second):
			t.Fatal("the cancel request is never over")
		}
		r.do(func() { b.server = nil })
		next := r.lend()
		next.send(pgscript.Query("SELECT 2"))
		r.eventually("the next client is served", func() bool { return next.ready == 1 })
		next.release()
		if n := r.set.Counters().Cancels.Load(); n != 0 {
			t.Errorf("%d cancel requests sent", n)
		}
		r.do(func() { r.pool.Retire(false) })
		r.empty()
	}
}
