package proxy

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/pgscript"
)

// unread asks for far more than all buffers on the way hold.
var unread = pgscript.Query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)")

// TestClientWriteTimeout: a client that takes nothing of its result is ended, with
// the cause in the log and counted, and its server is cancelled, drained and lent
// again. One that takes nothing but has been sent everything is not.
func TestClientWriteTimeout(t *testing.T) {
	pg := postgres(t, 0)
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, plan{pool: mode})
			s.limit(Rules{ClientWriteTimeout: soon})
			stuck, idle := login(t, s.primary), login(t, s.primary)
			backend := stuck.value("SELECT pg_backend_pid()")
			stuck.send(unread)
			next := login(t, s.primary)
			if got := next.value("SELECT pg_backend_pid()"); got != backend {
				t.Errorf("the next client has server %s, want %s", got, backend)
			}
			if got := next.query("SELECT 1"); got.types != "TDCZ" || got.ready != 'I' {
				t.Errorf("the next client gets %q %c", got.types, got.ready)
			}
			next.leave()
			if got := s.proxy.Counters().WriteTimeouts.Load(); got != 1 {
				t.Errorf("%d clients counted, want 1", got)
			}
			if causes := s.causes(); len(causes) == 0 || causes[0] != "client_write_timeout" {
				t.Errorf("sessions ended for %q", causes)
			}
			stuck.gone()
			if got := pg.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT repeat%' AND state = 'active'"); got != "0" {
				t.Errorf("%s queries run on", got)
			}
			idle.exec("SELECT 1")
		})
	}
}

// TestClientWriteTimeoutOfASlowReader: who takes something now and then keeps its
// session, though it takes too little for its queue here to become any shorter.
func TestClientWriteTimeoutOfASlowReader(t *testing.T) {
	s := newSite(t, plan{pool: transactions})
	c := login(t, s.primary)
	c.socket.(*net.TCPConn).SetReadBuffer(64 << 10) // whose kernel says so when some of it is read
	c.exec("SELECT 1")
	c.send(unread)
	eventually(t, "it is held back", func() bool { return s.queuedFor() == 1 })
	s.limit(Rules{ClientWriteTimeout: ample}) // counts for who is held back already
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * ample); time.Now().Before(end); <-tick.C {
		if _, err := io.CopyN(io.Discard, c.conn, 8<<10); err != nil {
			t.Fatalf("a slow reader was ended: %v", err)
		}
	}
	if _, err := io.CopyN(io.Discard, c.conn, 1<<20); err != nil || s.proxy.Counters().WriteTimeouts.Load() != 0 {
		t.Errorf("a slow reader was ended: %v", err)
	}
	c.reset()
}

// causes are the causes of the sessions that have ended, in order.
func (s *site) causes() []string {
	var list []string
	for _, e := range s.logs.FilterMessage("session ended").All() {
		list = append(list, e.ContextMap()["cause"].(string))
	}
	return list
}
