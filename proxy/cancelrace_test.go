package proxy

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/internal/certs"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/tlsconf"
	"github.com/pgvip/pgvip/wire"
)

// inModes runs a test in session and in transaction mode.
func inModes(t *testing.T, test func(t *testing.T, mode func(*pool.Settings))) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) { test(t, mode) })
	}
}

// started waits until pgvip has said something on one connection more.
func (r *relay) started(t *testing.T, before int) {
	t.Helper()
	eventually(t, "the request is on its way", func() bool {
		begun := r.beginnings()
		return len(begun) > before && len(begun[before]) > 0
	})
}

// TestCancelMeetsTheEnd: a query ends while the request to cancel it is on its way
// to PostgreSQL, or because of it. While the connection of that request is there the
// server is lent to nobody; nor to the client itself again, where servers are shared.
func TestCancelMeetsTheEnd(t *testing.T) {
	pg := postgres(t, 0)
	for _, test := range []struct {
		name, sql, state string
		held             holdUp
	}{
		{"on its way", "SELECT pg_sleep(0.2)", "", holdNew},
		{"arrived", "SELECT pg_sleep(600)", "57014", holdEnds},
	} {
		t.Run(test.name, func(t *testing.T) {
			inModes(t, func(t *testing.T, mode func(*pool.Settings)) {
				r := newRelay(t, pg.Addr)
				s := newSite(t, plan{table: table(node("n1", r.addr)), pool: mode})
				first, second := login(t, s.primary), login(t, s.primary)
				first.exec("SELECT 1") // now it has its server
				before := len(r.beginnings())
				first.send(pgscript.Query(test.sql))
				pg.sleeping(t, 1)
				r.hold(test.held)
				defer r.hold(holdNothing)
				var request sync.WaitGroup
				request.Go(func() { first.cancel(s.primary) })
				r.started(t, before)
				if answer := first.answer(); answer.state() != test.state {
					t.Errorf("got %q, want SQLSTATE %q", answer.state(), test.state)
				}
				waiting := 0
				if s.phases()[bound] == 1 { // session mode
					first.leave()
				} else {
					s.waits(first, "SELECT pg_sleep(0.05)", 0)
					waiting++
				}
				s.waits(second, "SELECT pg_sleep(0.05)", waiting)
				if s.phases()[bound] > 0 {
					t.Error("a server was lent with a cancel request under way")
				}
				r.hold(holdNothing)
				request.Wait()
				if waiting > 0 {
					if answer := first.answer(); answer.err != nil {
						t.Errorf("the same client: %v", refusal(answer.err))
					}
				}
				if answer := second.answer(); answer.err != nil {
					t.Errorf("the next client: %v", refusal(answer.err))
				}
				if n := s.pools.Counters().Cancels.Load(); n != 1 {
					t.Errorf("%d cancel requests sent, want 1", n)
				}
			})
		})
	}
}

// ourLock is a statement that waits as long as the superuser has the lock.
const ourLock = "SELECT pg_advisory_xact_lock(7)"

func (d *database) lock(t *testing.T) {
	d.ask(t, "SELECT pg_advisory_lock(7)")
	t.Cleanup(func() { d.ask(t, "SELECT pg_advisory_unlock_all()") })
}

func (d *database) unlock(t *testing.T) { d.ask(t, "SELECT pg_advisory_unlock_all()") }

// locked waits until a server waits for the lock.
func (d *database) locked(t *testing.T) {
	t.Helper()
	eventually(t, "our statement runs", func() bool {
		return d.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'") == "1"
	})
}

// free waits until so many servers are idle.
func (s *site) free(n int) {
	s.t.Helper()
	eventually(s.t, "servers are free", func() bool {
		idle := 0
		pools, err := s.pools.Stats(s.t.Context())
		for _, p := range pools {
			idle += p.Idle
		}
		return err == nil && idle == n
	})
}

// spared reports an error if a cancel request was passed on.
func (s *site) spared() {
	s.t.Helper()
	if n := s.pools.Counters().Cancels.Load(); n != 0 {
		s.t.Errorf("%d cancel requests sent, want none", n)
	}
}

// TestCancelWhileChecking: the check before a server is lent is not cancelled, the
// client that waits for it is, and the server is kept.
func TestCancelWhileChecking(t *testing.T) {
	pg := postgres(t, 0)
	inModes(t, func(t *testing.T, mode func(*pool.Settings)) {
		s := newSite(t, plan{pool: func(set *pool.Settings) {
			mode(set)
			set.ServerCheck, set.ServerCheckQuery = true, ourLock
		}})
		first, c := login(t, s.primary), login(t, s.primary)
		backend := first.value("SELECT pg_backend_pid()")
		first.leave()
		s.free(1)
		pg.lock(t)
		c.send(pgscript.Query("SELECT 1"))
		pg.locked(t)
		c.cancel(s.primary)
		if r := c.answer(); r.state() != "57014" {
			t.Errorf("got %+v, want 57014", r)
		}
		pg.unlock(t)
		if got := c.value("SELECT pg_backend_pid()"); got != backend {
			t.Errorf("server %s, want %s", got, backend)
		}
		s.spared()
	})
}

// TestCancelWhileCleaning: what cleans a server behind a client is not cancelled by
// that client.
func TestCancelWhileCleaning(t *testing.T) {
	pg := postgres(t, 0)
	inModes(t, func(t *testing.T, mode func(*pool.Settings)) {
		s := newSite(t, plan{pool: func(set *pool.Settings) {
			mode(set)
			set.ServerResetQuery, set.ServerResetQueryAlways = ourLock, true
		}})
		c, next := login(t, s.primary), login(t, s.primary)
		pg.lock(t)
		backend := c.value("SELECT pg_backend_pid()")
		if s.phases()[bound] == 1 { // session mode
			c.leave()
		}
		pg.locked(t)
		c.cancel(s.primary)
		s.waits(next, "SELECT pg_backend_pid()", 0)
		pg.unlock(t)
		if r := next.answer(); len(r.rows) != 1 || r.rows[0] != backend {
			t.Errorf("the next client: %q %v, want %s", r.rows, r.err, backend)
		}
		s.spared()
	})
}

// TestCancelWhileSetting: the parameters of a client are set on its server, cancelled
// or not. Before its request is sent that is cancelled without PostgreSQL, and
// afterwards, when it is behind them on its way, by PostgreSQL as soon as they are set.
func TestCancelWhileSetting(t *testing.T) {
	pg := postgres(t, 0)
	inModes(t, func(t *testing.T, mode func(*pool.Settings)) {
		r := newRelay(t, pg.Addr)
		s := newSite(t, plan{table: table(node("n1", r.addr)), pool: mode})
		plain := login(t, s.primary)
		backend := plain.value("SELECT pg_backend_pid()")
		for round, sent := range []uint64{0, 1} {
			// In the second round the parameters are known to be good, and go in front
			// of the request.
			c := login(t, s.primary, "work_mem", "5MB", "DateStyle", "SQL")
			plain.leave()
			s.free(1)
			r.hold(holdAnswers)
			defer r.hold(holdNothing)
			c.send(pgscript.Query("SELECT pg_sleep(600)"))
			eventually(t, "parameters are being set", func() bool {
				return pg.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE usename = '"+lab.TrustUser+
					"' AND (query LIKE '%set_config%' OR query LIKE '%pg_sleep%')") == "1"
			})
			var request sync.WaitGroup
			request.Go(func() { c.cancel(s.primary) })
			eventually(t, "the request has come", func() bool { return s.proxy.counters.Cancels.Load() == uint64(round+1) })
			s.onLoops(func(*loop.Loop) {})
			s.spared()
			r.hold(holdNothing)
			if answer := c.answer(); answer.state() != "57014" {
				t.Errorf("round %d: got %+v, want 57014", round, answer)
			}
			request.Wait()
			if got := s.pools.Counters().Cancels.Load(); got != sent {
				t.Errorf("round %d: %d cancel requests sent, want %d", round, got, sent)
			}
			if got := c.value("SELECT concat_ws(' ', pg_backend_pid(), current_setting('work_mem'), current_setting('DateStyle'))"); got != backend+" 5MB SQL, MDY" {
				t.Errorf("round %d: %q, want the parameters on server %s", round, got, backend)
			}
			c.leave()
			plain = login(t, s.primary)
			plain.exec("SELECT 1")
		}
	})
}

// TestCancelStampede: many more requests to cancel than there are servers, for
// clients that run a query or wait for one, at the same time. Each hits its own
// client, if anybody, and no server is lost.
func TestCancelStampede(t *testing.T) {
	pg := postgres(t, 0)
	inModes(t, func(t *testing.T, mode func(*pool.Settings)) {
		const size, many = 2, 10
		s := newSite(t, plan{loops: 2, pool: func(set *pool.Settings) { mode(set); set.PoolSize = size }})
		var clients []*client
		for range many {
			c := login(t, s.primary)
			c.send(pgscript.Query("SELECT pg_sleep(600)"))
			clients = append(clients, c)
		}
		pg.sleeping(t, size)
		eventually(t, "the others wait", func() bool { return s.phases()[queued] == many-size })
		var all sync.WaitGroup
		for _, c := range clients {
			var over atomic.Bool
			var requests sync.WaitGroup
			for range 3 {
				requests.Go(func() {
					// A request that comes before PostgreSQL has read the query has none to cancel.
					for !over.Load() {
						c.cancel(s.primary)
					}
				})
			}
			all.Go(func() {
				if r := c.answer(); r.state() != "57014" {
					t.Errorf("got %q %v, want 57014", r.rows, r.err)
				}
				over.Store(true)
				requests.Wait()
				if r := c.query("SELECT 'alive'"); r.err != nil {
					t.Errorf("afterwards: %v", refusal(r.err))
				}
				c.leave()
			})
		}
		all.Wait()
		if got := pg.backends(t); got > fmt.Sprint(size) {
			t.Errorf("%s servers, want at most %d", got, size)
		}
	})
}

// TestCancelWithoutPostmaster: a postmaster that has stopped takes no cancel request,
// while its backends go on. The request is given up after cancel_wait_timeout. Since
// the postmaster may yet read it, the server goes to nobody else; except in TLS, where
// nothing but an SSLRequest has been sent.
func TestCancelWithoutPostmaster(t *testing.T) {
	pg := lab.StartPostgresT(t, lab.PostgresOptions{TLS: inTLS()})
	inModes(t, func(t *testing.T, mode func(*pool.Settings)) {
		s := newSite(t, plan{table: table(node("n1", pg.Addr)), pool: func(set *pool.Settings) {
			mode(set)
			set.CancelWaitTimeout = 50 * time.Millisecond
		}})
		monitor, err := dial.Login(t.Context(), &dial.Config{Network: "tcp", Address: pg.Addr, User: lab.Superuser, Database: lab.AppDatabase})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { monitor.Close() })
		alone := &database{Postgres: pg, monitor: monitor}
		c, next := login(t, s.primary), login(t, s.primary)
		backend := c.value("SELECT pg_backend_pid()")
		alone.lock(t)
		c.send(pgscript.Query(ourLock))
		alone.locked(t)
		if err := pg.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		defer pg.Signal(syscall.SIGCONT)
		c.cancel(s.primary) // returns
		alone.locked(t)
		alone.unlock(t)
		if r := c.answer(); r.err != nil {
			t.Errorf("nobody has cancelled it: %v", refusal(r.err))
		}
		if s.phases()[bound] == 1 { // session mode
			c.leave()
		}
		next.send(pgscript.Query("SELECT pg_backend_pid()"))
		if !inTLS() {
			eventually(t, "the old server is given up", func() bool { return alone.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE pid = "+backend) == "0" })
			if err := pg.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
		}
		if r := next.answer(); len(r.rows) != 1 || (r.rows[0] == backend) != inTLS() {
			t.Errorf("the next client: %q %v, the first had %s", r.rows, r.err, backend)
		}
	})
}

// TestCancelRefused: a request that nobody takes has done nothing for certain, so
// that its server serves on.
func TestCancelRefused(t *testing.T) {
	pg := postgres(t, 0)
	inModes(t, func(t *testing.T, mode func(*pool.Settings)) {
		r := newRelay(t, pg.Addr)
		s := newSite(t, plan{table: table(node("n1", r.addr)), pool: mode})
		c, next := login(t, s.primary), login(t, s.primary)
		backend := c.value("SELECT pg_backend_pid()")
		pg.lock(t)
		c.send(pgscript.Query(ourLock))
		pg.locked(t)
		r.listener.Close()
		c.cancel(s.primary) // returns
		if n := s.logs.FilterMessage("cancel request failed").Len(); n != 1 {
			t.Errorf("%d failed requests in the log, want 1", n)
		}
		pg.unlock(t)
		if answer := c.answer(); answer.err != nil {
			t.Errorf("nobody has cancelled it: %v", refusal(answer.err))
		}
		if s.phases()[bound] == 1 { // session mode
			c.leave()
		}
		if got := next.value("SELECT pg_backend_pid()"); got != backend {
			t.Errorf("the next client has server %s, want %s", got, backend)
		}
	})
}

// TestCancelTransport: a request to cancel may come in TLS and in plain, begun in
// either way, for a session that has TLS or not; and goes on in TLS if the server of
// that session has it, in plain if not.
func TestCancelTransport(t *testing.T) {
	pg := lab.StartPostgresT(t, lab.PostgresOptions{TLS: true})
	plainly := func(t *testing.T, addr string) *client { return dialTo(t, addr) }
	byRequest := func(t *testing.T, addr string) *client { return dialTLS(t, addr, new(tls.Config)) }
	directly := func(t *testing.T, addr string) *client {
		c := dialTo(t, addr)
		if err := c.encrypt(&tls.Config{NextProtos: []string{tlsconf.Protocol}}); err != nil {
			t.Fatal(err)
		}
		return c
	}
	ways := map[string]func(*testing.T, string) *client{"plain": plainly, "TLS": byRequest, "direct TLS": directly}
	for servers, begins := range map[tlsconf.Mode][]byte{
		tlsconf.Disable: binary.BigEndian.AppendUint32([]byte{0, 0, 0, 16}, wire.CancelRequestCode),
		tlsconf.Require: sslRequest,
	} {
		p := secured(t, certs.Write(t, "x"), tlsconf.Prefer)
		r := newRelay(t, pg.Addr)
		p.table = table(node("n1", r.addr))
		p.pool = func(set *pool.Settings) {
			transactions(set)
			set.TLS = connecting(t, tlsconf.Options{Mode: servers})
		}
		s := newSite(t, p)
		for session, way := range ways {
			c := way(t, s.primary)
			c.send(trusted())
			if err := c.welcomed(); err != nil {
				t.Fatal(err)
			}
			c.exec("SELECT 1")
			for request, way := range ways {
				t.Run(fmt.Sprintf("servers %v, session %s, request %s", servers, session, request), func(t *testing.T) {
					before := len(r.beginnings())
					c.send(pgscript.Query("SELECT pg_sleep(600)"))
					sleepingAt(t, pg)
					other := way(t, s.primary)
					other.send((&wire.Startup{Code: wire.CancelRequestCode, ProcessID: c.pid, SecretKey: c.key}).Append(nil))
					other.gone()
					if answer := c.answer(); answer.state() != "57014" {
						t.Errorf("got %+v, want 57014", answer)
					}
					begun := r.beginnings()
					if len(begun) != before+1 || !bytes.HasPrefix(begun[before], begins) {
						t.Fatalf("the request went on as %x, want one that begins with %x", begun[before:], begins)
					}
					if servers == tlsconf.Require && !bytes.HasPrefix(begun[before][len(begins):], []byte{recordHandshake}) {
						t.Errorf("behind SSLRequest comes %x, want a handshake", begun[before][len(begins):])
					}
				})
			}
		}
	}
}

// sleepingAt waits until a session of a server of the test's own is inside pg_sleep.
func sleepingAt(t *testing.T, pg *lab.Postgres) {
	t.Helper()
	eventually(t, "the query runs", func() bool {
		n, err := pg.SQL(t.Context(), lab.AppDatabase, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
		return err == nil && n == "1"
	})
}
