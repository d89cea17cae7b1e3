package proxy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/pool"
)

// TestCancelRunning: 57014 as by PostgreSQL, and the session lives.
func TestCancelRunning(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{})
	c := login(t, s.primary)
	for _, sql := range []string{"SELECT pg_sleep(600)", "BEGIN; SELECT pg_sleep(600)"} {
		c.send(pgscript.Query(sql))
		pg.sleeping(t, 1)
		c.cancel(s.primary)
		if r := c.answer(); r.state() != "57014" || r.err.Message != "canceling statement due to user request" {
			t.Errorf("%s: %+v", sql, r)
		}
		c.exec("ROLLBACK")
	}
}

// TestCancelWaiting: who waits for a server is answered at once, and keeps its
// session (rule 14).
func TestCancelWaiting(t *testing.T) {
	pg := postgres(t, 0)
	batch := slices.Concat(pgscript.Message('P', append(pgscript.Strings("", "SELECT 1"), 0, 0)),
		pgscript.Message('B', append(pgscript.Strings("", ""), int16s(0, 0, 0)...)),
		pgscript.Message('E', append(pgscript.Strings(""), 0, 0, 0, 0)), pgscript.Message('S', nil))
	for _, test := range []struct {
		name   string
		parked bool
		send   []byte
	}{
		{"queued", false, pgscript.Query("SELECT 1")},
		{"queued with a batch", false, batch},
		{"parked", true, pgscript.Query("SELECT 1")},
	} {
		for mode, set := range modes {
			t.Run(test.name+", "+mode, func(t *testing.T) {
				s := newSite(t, plan{pool: set})
				holder, c := login(t, s.primary), login(t, s.primary)
				where := queued
				if test.parked {
					where = parked
					s.proxy.SetTable(table(nil))
				} else {
					holder.exec("BEGIN")
				}
				c.send(test.send)
				eventually(t, "it waits", func() bool { return s.phases()[where] == 1 })
				c.cancel(s.primary)
				if r := c.answer(); r.state() != "57014" || r.err.Severity != "ERROR" || r.types != "EZ" || r.ready != 'I' {
					t.Fatalf("got %+v, want ERROR 57014 and ReadyForQuery", r)
				}
				eventually(t, "it rests", func() bool { return s.phases()[where] == 0 })
				// Of two requests in the pipeline, the first is cancelled.
				c.send(pgscript.Query("SELECT 41"), pgscript.Query("SELECT 42"))
				eventually(t, "it waits again", func() bool { return s.phases()[where] == 1 })
				c.cancel(s.primary)
				if r := c.answer(); r.state() != "57014" {
					t.Fatalf("got %+v, want 57014", r)
				}
				holder.leave()
				if test.parked {
					s.proxy.SetTable(table(node("n1", pg.Addr)))
				}
				if r := c.answer(); r.err != nil || r.rows[0] != "42" {
					t.Errorf("behind the cancelled request: %+v", r)
				}
			})
		}
	}
}

// TestCancelNothing: a client that waits for nothing has nothing cancelled,
// neither its next query nor the work of pgvip.
func TestCancelNothing(t *testing.T) { inModes(t, cancelNothing) }

func cancelNothing(t *testing.T, mode func(*pool.Settings)) {
	s := newSite(t, plan{pool: mode})
	c := login(t, s.primary)
	c.cancel(s.primary) // before it has a server
	c.exec("SELECT 1")
	c.cancel(s.primary) // between queries
	c.exec("SELECT 1")
	c.exec("BEGIN")
	c.cancel(s.primary)
	c.exec("COMMIT")
	if n := s.pools.Counters().Cancels.Load(); n != 0 {
		t.Errorf("%d cancel requests sent", n)
	}
}

// TestCancelInStatementMode: who waits, who runs a query, and who does neither.
func TestCancelInStatementMode(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{pool: func(set *pool.Settings) { set.Mode = pool.StatementMode }})
	c, other := login(t, s.primary), login(t, s.primary)
	backend := c.value("SELECT pg_backend_pid()")
	c.cancel(s.primary) // idle, and its server the next one's
	other.send(pgscript.Query("SELECT pg_sleep(600)"))
	pg.sleeping(t, 1)
	c.cancel(s.primary) // idle still, while its last server works for another
	c.send(pgscript.Query("SELECT 1"))
	eventually(t, "it waits", func() bool { return s.phases()[queued] == 1 })
	s.spared()
	c.cancel(s.primary)
	if r := c.answer(); r.state() != "57014" || r.types != "EZ" {
		t.Errorf("queued: %+v, want 57014", r)
	}
	s.spared()
	other.cancel(s.primary)
	if r := other.answer(); r.state() != "57014" {
		t.Errorf("running: %+v, want 57014", r)
	}
	for _, who := range []*client{c, other} {
		if got := who.value("SELECT pg_backend_pid()"); got != backend {
			t.Errorf("afterwards: server %s, want %s", got, backend)
		}
	}
	if n := s.pools.Counters().Cancels.Load(); n != 1 {
		t.Errorf("%d cancel requests sent, want 1", n)
	}
}

// TestCancelWhilePreparing and while resetting: what pgvip asks is not the
// client's, and is not cancelled (rule 11).
func TestCancelWhilePreparing(t *testing.T) {
	prepared, reset := make(chan struct{}), make(chan struct{})
	goOn, done := make(chan struct{}), make(chan struct{})
	server := pgscript.ServeEach(t,
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.ExpectGone()), // for the welcome
		pgscript.Steps(pgscript.AcceptLogin(),
			pgscript.Expect("Q"), pgscript.ExpectBody("set_config"), pgscript.Tell(prepared), pgscript.Wait(goOn),
			pgscript.Send(pgscript.Complete("SELECT 1"), pgscript.Ready('I')),
			pgscript.Expect("Q"), pgscript.ExpectBody("DISCARD ALL"), pgscript.Tell(reset), pgscript.Wait(done), pgscript.ExpectGone()))
	s := newSite(t, plan{table: table(nil, node("n1", server.Addr))})
	c := login(t, s.replica, "work_mem", "5MB")
	c.send(pgscript.Query("SELECT 1"))
	<-prepared
	c.cancel(s.replica)
	if r := c.answer(); r.state() != "57014" { // it was waiting for its server
		t.Errorf("got %+v, want 57014", r)
	}
	close(goOn)
	<-reset
	c.cancel(s.replica)
	if n := s.pools.Counters().Cancels.Load(); n != 0 {
		t.Errorf("%d cancel requests sent", n)
	}
	close(done)
}

// TestServerWaitsForItsCancel: while a cancel request may still reach a server,
// it goes to nobody else.
func TestServerWaitsForItsCancel(t *testing.T) {
	asked, deliver := make(chan struct{}), make(chan struct{})
	answered := make(chan struct{})
	server := pgscript.ServeEach(t,
		pgscript.Steps(pgscript.AcceptLogin(),
			pgscript.Expect("Q"), pgscript.Wait(asked),
			// The query has ended by itself, just before the request came.
			pgscript.Send(pgscript.Complete("SELECT 1"), pgscript.Ready('I')), pgscript.Tell(answered),
			pgscript.Expect("Q"), pgscript.ExpectBody("DISCARD ALL"), pgscript.Send(pgscript.Complete("DISCARD ALL"), pgscript.Ready('I')),
			pgscript.Expect("Q"), pgscript.ExpectBody("SELECT 2"), pgscript.Send(pgscript.Complete("SELECT 1"), pgscript.Ready('I')),
			pgscript.ExpectGone()),
		pgscript.Steps(pgscript.ExpectStartup(), pgscript.Tell(asked), pgscript.Wait(deliver), pgscript.Close()))
	s := newSite(t, plan{table: table(nil, node("n1", server.Addr))})
	first, second := login(t, s.replica), login(t, s.replica)
	first.send(pgscript.Query("SELECT 1"))
	eventually(t, "it runs", func() bool { return s.phases()[bound] == 1 })
	var requests sync.WaitGroup
	requests.Go(func() { first.cancel(s.replica) })
	if r := first.answer(); r.err != nil {
		t.Errorf("the query had ended: %+v", r)
	}
	<-answered
	first.leave()
	s.waits(second, "SELECT 2", 0)
	if got := s.phases()[bound]; got != 0 {
		t.Error("a server was lent with a cancel request under way")
	}
	close(deliver)
	if r := second.answer(); r.err != nil {
		t.Errorf("the next client: %+v", r)
	}
	requests.Wait()
}

// TestSecondCancel: one that comes while the first is under way is for the
// client's next query, and is not lost.
func TestSecondCancel(t *testing.T) {
	first, second := make(chan struct{}), make(chan struct{})
	deliver, answered := make(chan struct{}), make(chan struct{})
	server := pgscript.ServeEach(t,
		pgscript.Steps(pgscript.AcceptLogin(),
			pgscript.Expect("Q"), pgscript.Wait(first),
			pgscript.Send(pgscript.Error("ERROR", "57014", "canceling"), pgscript.Ready('I')),
			pgscript.Expect("Q"), pgscript.Tell(answered), pgscript.Wait(second),
			pgscript.Send(pgscript.Error("ERROR", "57014", "canceling"), pgscript.Ready('I')),
			pgscript.ExpectGone()),
		pgscript.Steps(pgscript.ExpectStartup(), pgscript.Tell(first), pgscript.Wait(deliver), pgscript.Close()),
		pgscript.Steps(pgscript.ExpectStartup(), pgscript.Tell(second), pgscript.Close()))
	s := newSite(t, plan{table: table(nil, node("n1", server.Addr))})
	c := login(t, s.replica)
	c.send(pgscript.Query("SELECT 1"))
	eventually(t, "it runs", func() bool { return s.phases()[bound] == 1 })
	var requests sync.WaitGroup
	requests.Go(func() { c.cancel(s.replica) })
	c.answer()
	c.send(pgscript.Query("SELECT 2"))
	<-answered
	requests.Go(func() { c.cancel(s.replica) })
	eventually(t, "the second has come", func() bool { return s.proxy.counters.Cancels.Load() == 2 })
	close(deliver)
	if r := c.answer(); r.state() != "57014" {
		t.Errorf("got %+v, want 57014", r)
	}
	requests.Wait()
}

// TestCancelBurst: more cancel requests than there are servers cost nobody a
// server, and all come to an end (PgBouncer's #717 and test_cancel_pool_size).
func TestCancelBurst(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{})
	c := login(t, s.primary)
	for range 3 {
		c.send(pgscript.Query("SELECT pg_sleep(600)"))
		pg.sleeping(t, 1)
		var burst sync.WaitGroup
		for range 30 {
			burst.Go(func() { c.cancel(s.primary) })
		}
		if r := c.answer(); r.state() != "57014" {
			t.Errorf("got %+v, want 57014", r)
		}
		burst.Wait()
		c.exec("SELECT 1")
	}
	c.leave()
	next := login(t, s.primary)
	next.exec("SELECT 1")
	next.leave()
}

// TestCancelOfServerThatIsDown: a cancel request that reaches nobody is given up
// after cancel_wait_timeout, and its client goes on.
func TestCancelOfServerThatIsDown(t *testing.T) {
	goOn := make(chan struct{})
	frozen := pgscript.ServeEach(t,
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("Q"), pgscript.Wait(goOn),
			pgscript.Send(pgscript.Complete("SELECT 1"), pgscript.Ready('I')), pgscript.ExpectGone()),
		pgscript.Steps(pgscript.ExpectStartup(), pgscript.ExpectGone())) // takes the request, and says nothing
	s := newSite(t, plan{table: table(nil, node("n1", frozen.Addr)), pool: func(set *pool.Settings) { set.CancelWaitTimeout = 50 * time.Millisecond }})
	c := login(t, s.replica)
	c.send(pgscript.Query("SELECT 1"))
	eventually(t, "it runs", func() bool { return s.phases()[bound] == 1 })
	c.cancel(s.replica) // returns
	close(goOn)
	if r := c.answer(); r.err != nil {
		t.Errorf("got %+v", r)
	}
}

// TestCancelStorm: whoever cancels as fast as it can, only its own query fails.
func TestCancelStorm(t *testing.T) {
	t.Run("session mode", func(t *testing.T) { cancelStorm(t, pool.SessionMode) })
	t.Run("transaction mode", func(t *testing.T) { cancelStorm(t, pool.TransactionMode) })
}

func cancelStorm(t *testing.T, mode pool.Mode) {
	s := newSite(t, plan{loops: 2, pool: func(set *pool.Settings) { set.PoolSize, set.Mode = 4, mode }})
	var wg sync.WaitGroup
	var cancelled, finished atomic.Int64
	for i := range 12 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for range 6 { // sessions, each with another server
				c := login(t, s.primary)
				for range 5 {
					hit := random.IntN(2) == 0
					c.send(pgscript.Query(fmt.Sprintf("SELECT pg_sleep(0.005), %d", i)))
					if hit {
						c.cancel(s.primary)
					}
					r := c.answer()
					switch {
					case r.state() == "57014" && hit:
						cancelled.Add(1)
					case r.err == nil && r.rows[0] == fmt.Sprintf("|%d", i):
						finished.Add(1)
					default:
						t.Errorf("client %d, cancelled %v: %q %v", i, hit, r.rows, r.err)
					}
				}
				c.leave()
			}
		})
	}
	wg.Wait()
	if cancelled.Load() == 0 || finished.Load() == 0 {
		t.Errorf("%d cancelled, %d finished: the storm was none", cancelled.Load(), finished.Load())
	}
}
