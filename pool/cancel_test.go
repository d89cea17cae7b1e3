package pool

import (
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/pgscript"
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
