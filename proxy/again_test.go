package proxy

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/pool"
)

// answers is a server that answers so many requests, each ended by a Query or Sync.
func answers(n int, replies ...[]byte) pgscript.Step {
	steps := []pgscript.Step{pgscript.AcceptLogin()}
	for range n {
		steps = append(steps, pgscript.Expect("Q"), pgscript.Send(replies...))
	}
	return pgscript.Steps(append(steps, pgscript.ExpectGone())...)
}

// breakServers makes the next write to a server at addr fail as a whole, without an
// event that would tell of it before.
func (s *site) breakServers(addr string) {
	s.t.Helper()
	broken := 0
	s.onLoops(func(*loop.Loop) {
		for fd := 3; fd < 1024; fd++ {
			name, err := unix.Getpeername(fd)
			if at, ok := name.(*unix.SockaddrInet4); err == nil && ok && netip.AddrPortFrom(netip.AddrFrom4(at.Addr), uint16(at.Port)).String() == addr {
				unix.Shutdown(fd, unix.SHUT_WR)
				broken++
			}
		}
	})
	if broken != 1 {
		s.t.Fatalf("%d connections to %s, want one", broken, addr)
	}
}

// TestRetryOfWhatWasNotSent: a request of which no byte has left goes to another
// server, whole, and the client hears nothing of it (rule 29).
func TestRetryOfWhatWasNotSent(t *testing.T) {
	done := [][]byte{pgscript.Complete("SELECT 1"), pgscript.Ready('I')}
	for name, request := range map[string][]byte{
		"query":    pgscript.Query("INSERT 1"),
		"pipeline": append(pgscript.Query("INSERT 1"), pgscript.Query("INSERT 2")...),
	} {
		t.Run(name, func(t *testing.T) {
			// The first server must get nothing but the first request: its script fails
			// at any other message.
			over := make(chan struct{})
			first := pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("Q"), pgscript.Send(done...), pgscript.Wait(over), pgscript.ExpectGone())
			n := len(request) / len(pgscript.Query("INSERT 1"))
			server := pgscript.ServeEach(t, first, answers(n, done...))
			s := newSite(t, plan{table: table(node("n1", server.Addr)), pool: transactionMode})
			c := login(t, s.primary)
			c.exec("SELECT 1")
			s.breakServers(server.Addr)
			c.send(request)
			for range n {
				if r := c.answer(); r.err != nil || r.ready != 'I' {
					t.Errorf("got %+v, want it to be answered", r)
				}
			}
			close(over)
			if n := s.proxy.counters.Retried.Load(); n != 1 {
				t.Errorf("%d were sent again, want 1", n)
			}
		})
	}
}

// TestRetryOfAPreparedStatement: what the client has prepared by it is prepared.
func TestRetryOfAPreparedStatement(t *testing.T) {
	over := make(chan struct{})
	ran := [][]byte{pgscript.Message('2', nil), pgscript.Complete("SELECT 1"), pgscript.Ready('I')}
	run := [][]byte{pgscript.Bind("", "mine"), pgscript.Execute(""), pgscript.Sync()}
	server := pgscript.ServeEach(t,
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("Q"), pgscript.Send(pgscript.Complete("SELECT 1"), pgscript.Ready('I')),
			pgscript.Wait(over), pgscript.ExpectGone()),
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("PBES"), pgscript.Send(pgscript.Message('1', nil)), pgscript.Send(ran...),
			pgscript.Expect("BES"), pgscript.Send(ran...), pgscript.ExpectGone()))
	s := newSite(t, plan{table: table(node("n1", server.Addr)), pool: transactionMode})
	c := login(t, s.primary)
	c.exec("SELECT 1")
	s.breakServers(server.Addr)
	c.send(append([][]byte{pgscript.Parse("mine", "SELECT 2")}, run...)...)
	if r := c.answer(); r.err != nil || r.types != "12CZ" {
		t.Errorf("got %q %v, want 12CZ", r.types, r.err)
	}
	c.send(run...)
	if r := c.answer(); r.err != nil || r.types != "2CZ" {
		t.Errorf("again: got %q %v, want 2CZ", r.types, r.err)
	}
	close(over)
	if n := s.proxy.counters.Retried.Load(); n != 1 {
		t.Errorf("%d were sent again, want 1", n)
	}
}

func transactionMode(set *pool.Settings) { set.Mode = pool.TransactionMode }

// TestNoRetryOfWhatWasSent: the kernel has taken the request, and the server is
// gone: whether it was carried out is for the client to find out.
func TestNoRetryOfWhatWasSent(t *testing.T) {
	server := pgscript.ServeEach(t, pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("Q"), pgscript.Close()))
	s := newSite(t, plan{table: table(node("n1", server.Addr)), pool: transactionMode})
	c := login(t, s.primary)
	c.send(pgscript.Query("INSERT 1"))
	if got := c.fatal(); got != "08007" {
		t.Errorf("got %s, want 08007", got)
	}
	if n := s.proxy.counters.Retried.Load(); n != 0 {
		t.Errorf("%d were sent again, want none", n)
	}
}
