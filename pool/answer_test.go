package pool

import (
	"bytes"
	"testing"

	"github.com/pgvip/pgvip/internal/pgscript"
)

// TestWrongNode: a 25006 counts when the server says that it is in recovery, and
// not when the client has wanted a read-only transaction.
func TestWrongNode(t *testing.T) {
	refuses := func(before ...[]byte) pgscript.Step {
		return pgscript.Steps(pgscript.Expect("Q"), pgscript.Send(before...), pgscript.Send(
			pgscript.Error("ERROR", "25006", "cannot execute INSERT in a read-only transaction"), pgscript.Ready('I')))
	}
	server := pgscript.ServeEach(t, pgscript.Steps(pgscript.AcceptLogin(), refuses(),
		refuses(pgscript.Status("in_hot_standby", "on")), pgscript.Expect("Q"), pgscript.Send(pgscript.Complete("DISCARD ALL"), pgscript.Ready('I')), pgscript.ExpectGone()))
	r := newRig(t, server.Addr, usual())
	r.leads(server.Addr)
	b := r.lend()
	for i, want := range []uint64{0, 1} {
		b.send(pgscript.Query("INSERT"))
		r.eventually("the error has come", func() bool { return b.ready == i+1 })
		if n := r.set.counters.WrongNode.Load(); n != want {
			t.Errorf("after error %d: %d counted, want %d", i+1, n, want)
		}
	}
	b.release()
	r.eventually("the server is not kept", func() bool { return r.pool.open() == 0 })
}

// TestTerminated: PostgreSQL's own 57P01 reaches the client as it is, and counts.
func TestTerminated(t *testing.T) {
	fatal := pgscript.Error("FATAL", "57P01", "terminating connection due to administrator command")
	server := pgscript.ServeEach(t, pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("Q"), pgscript.Send(fatal), pgscript.Close()))
	r := newRig(t, server.Addr, usual())
	b := r.lend()
	b.send(pgscript.Query("SELECT pg_sleep(60)"))
	b.told("Lost")
	if !bytes.HasSuffix(b.got, fatal) || b.why != LossTold {
		t.Errorf("got %q, loss %d", b.got, b.why)
	}
	if n := r.set.counters.Terminated.Load(); n != 1 {
		t.Errorf("%d counted, want 1", n)
	}
}
