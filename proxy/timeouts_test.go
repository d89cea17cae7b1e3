package proxy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/pool"
)

// TestDeadline: which time-out comes first in each state of a session.
func TestDeadline(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	all := Rules{ClientIdleTimeout: time.Second, QueryTimeout: 2 * time.Second, TransactionTimeout: 4 * time.Second, IdleTransactionTimeout: 3 * time.Second}
	for _, test := range []struct {
		name   string
		clock  clock
		rules  Rules
		notify time.Duration
		at     int
		what   expiry
	}{
		{"idle", clock{phase: resting, since: at(10)}, all, time.Second, 11, clientIdle},
		{"idle without a limit", clock{phase: resting, since: at(10)}, Rules{QueryTimeout: 1, TransactionTimeout: 1, IdleTransactionTimeout: 1}, 1, 0, nothing},
		{"idle with a server", clock{phase: bound, since: at(10), began: at(5)}, all, 1, 0, nothing},
		{"waits", clock{phase: queued, since: at(10)}, all, 5 * time.Second, 12, queryTooLong},
		{"waits, notice first", clock{phase: queued, since: at(10)}, all, time.Second, 11, waitNotice},
		{"waits, was noticed", clock{phase: queued, since: at(10), notified: true}, all, time.Second, 12, queryTooLong},
		{"moves", clock{phase: moving, since: at(10)}, all, 0, 12, queryTooLong},
		{"waits for a primary", clock{phase: parked, since: at(10)}, all, 5 * time.Second, 15, waitNotice},
		{"waits for a primary, was noticed", clock{phase: parked, since: at(10), notified: true}, all, time.Second, 0, nothing},
		{"runs", clock{phase: bound, running: true, inside: true, since: at(10), began: at(9)}, all, 1, 12, queryTooLong},
		{"runs late in a transaction", clock{phase: bound, running: true, inside: true, since: at(10), began: at(7)}, all, 1, 11, transactionTooLong},
		{"runs without query_timeout", clock{phase: bound, running: true, inside: true, since: at(10), began: at(10)}, Rules{TransactionTimeout: time.Second}, 1, 11, transactionTooLong},
		{"is idle in a transaction", clock{phase: bound, inside: true, settled: true, since: at(10), began: at(10)}, all, 1, 13, transactionIdle},
		{"is idle late in a transaction", clock{phase: bound, inside: true, settled: true, since: at(10), began: at(8)}, all, 1, 12, transactionTooLong},
		{"is idle in a transaction, no query", clock{phase: bound, inside: true, settled: true, since: at(10), began: at(1)}, Rules{QueryTimeout: 1, ClientIdleTimeout: 1}, 1, 0, nothing},
		{"is idle in a batch", clock{phase: bound, inside: true, since: at(10), began: at(10)}, all, 1, 14, transactionTooLong},
		{"has ended", clock{phase: ended, since: at(10)}, all, 1, 0, nothing},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, what := test.clock.deadline(&test.rules, test.notify)
			if what != test.what || what != nothing && !got.Equal(at(test.at)) {
				t.Errorf("%v at %v, want %v at %d", what, got.Sub(start), test.what, test.at)
			}
		})
	}
}

// limit makes these rules count for all clients from now on.
func (s *site) limit(r Rules) {
	set := *s.proxy.settings.Load()
	set.RulesFor = func(string, string) Rules { return r }
	s.proxy.Apply(set)
}

const (
	// soon is a limit for what is to be ended: anything does.
	soon = 100 * time.Millisecond
	// ample is a limit for what is not to be ended, however busy the machine.
	ample = 2 * time.Second
)

// TestQueryTimeout cancels what runs and tells the client; its server is used
// again.
func TestQueryTimeout(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			pg := postgres(t, 0)
			s := newSite(t, plan{pool: mode})
			c := login(t, s.primary)
			backend := c.value("SELECT pg_backend_pid()")
			s.limit(Rules{QueryTimeout: soon})
			r := c.query("BEGIN; SELECT pg_sleep(600)")
			if r.state() != "57014" || r.err.Severity != "FATAL" || !strings.Contains(r.err.Hint, "query_timeout") {
				t.Errorf("got %+v, want FATAL 57014 naming query_timeout", r.err)
			}
			s.limit(Rules{})
			next := login(t, s.primary)
			if again := next.value("SELECT pg_backend_pid()"); again != backend {
				t.Errorf("the next client has server %s, want %s", again, backend)
			}
			pg.sleeping(t, 0)
		})
	}
}

// TestQueryTimeoutOfAWait: the wait for a server counts.
func TestQueryTimeoutOfAWait(t *testing.T) {
	s := newSite(t, plan{})
	holder := login(t, s.primary)
	holder.exec("SELECT 1")
	waiter := login(t, s.primary)
	waiter.send(pgscript.Query("SELECT 1"))
	eventually(t, "it waits", func() bool { return s.phases()[queued] == 1 })
	s.limit(Rules{QueryTimeout: soon})
	if r := waiter.answer(); r.state() != "57014" || r.err.Severity != "FATAL" {
		t.Errorf("got %+v, want FATAL 57014", r.err)
	}
	s.limit(Rules{})
	holder.exec("SELECT 1")
}

// TestQueryTimeoutOfNoQuery: without a query in flight nobody is ended
// (pgbouncer #1395), and in a pipeline each query has its own time.
func TestQueryTimeoutOfNoQuery(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, plan{pool: func(set *pool.Settings) {
				mode(set)
				set.PoolSize = 4
			}})
			s.limit(Rules{QueryTimeout: ample})
			idle, inside, batched, busy := login(t, s.primary), login(t, s.primary), login(t, s.primary), login(t, s.primary)
			idle.exec("SELECT 1")
			inside.exec("BEGIN")
			batched.send(batch("SELECT 1", 'H'))
			for range 4 {
				batched.receive()
			}
			const n = 25
			for range n {
				busy.send(pgscript.Query("SELECT pg_sleep(0.1)"))
			}
			for range n { // which takes longer than the limit
				if r := busy.answer(); r.err != nil {
					t.Fatalf("a short query in a long pipeline: %v", refusal(r.err))
				}
			}
			inside.exec("COMMIT")
			idle.exec("SELECT 1")
			batched.send(pgscript.Message('S', nil))
			if r := batched.answer(); r.err != nil {
				t.Errorf("the batch: %v", refusal(r.err))
			}
		})
	}
}

// TestTransactionTimeout ends a transaction whether it runs or idles, and none
// that comes after others.
func TestTransactionTimeout(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, plan{pool: mode})
			s.limit(Rules{TransactionTimeout: ample})
			c := login(t, s.primary)
			for range 25 {
				c.exec("SELECT pg_sleep(0.1)") // each is a transaction
			}
			s.limit(Rules{TransactionTimeout: soon})
			r := c.query("BEGIN; SELECT pg_sleep(600)")
			if r.state() != "25P04" || !strings.Contains(r.err.Hint, "transaction_timeout") {
				t.Errorf("got %+v, want 25P04 naming transaction_timeout", r.err)
			}
			c = login(t, s.primary)
			c.send(pgscript.Query("BEGIN"))
			if r := c.answer(); r.err == nil {
				if got := c.fatal(); got != "25P04" {
					t.Errorf("idle in a transaction: %s, want 25P04", got)
				}
			}
			c = login(t, s.primary)
			c.send(batch("SELECT 1", 'H')) // which does not go on
			if got := c.fatal(); got != "25P04" {
				t.Errorf("idle in a batch: %s, want 25P04", got)
			}
		})
	}
}

// TestIdleTransactionTimeout ends who holds a transaction and does nothing; the
// transaction is rolled back and the server used again.
func TestIdleTransactionTimeout(t *testing.T) {
	pg := postgres(t, 0)
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, plan{pool: mode})
			s.limit(Rules{IdleTransactionTimeout: soon})
			c := login(t, s.primary)
			backend := c.value("SELECT pg_backend_pid()")
			c.exec("BEGIN; INSERT INTO things (note) VALUES ('idle'); SELECT pg_sleep(0.5)") // not to be idle
			r := c.answer()
			if r.state() != "25P03" || !strings.Contains(r.err.Hint, "idle_transaction_timeout") {
				t.Errorf("got %+v, want 25P03 naming idle_transaction_timeout", r.err)
			}
			next := login(t, s.primary)
			if again := next.value("SELECT pg_backend_pid()"); again != backend {
				t.Errorf("the next client has server %s, want %s", again, backend)
			}
			if r := next.query("SELECT 1"); r.ready != 'I' {
				t.Errorf("the next client is in a transaction: %q", r.ready)
			}
			if got := pg.ask(t, "SELECT count(*) FROM things WHERE note = 'idle'"); got != "0" {
				t.Errorf("%s rows were committed", got)
			}
		})
	}
}

// TestClientIdleTimeout counts only clients without a server.
func TestClientIdleTimeout(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, plan{pool: mode})
			c, idle := login(t, s.primary), login(t, s.primary)
			c.exec("BEGIN")
			s.limit(Rules{ClientIdleTimeout: soon})
			if r := idle.answer(); r.state() != "57P05" || !strings.Contains(r.err.Hint, "client_idle_timeout") {
				t.Errorf("got %+v, want 57P05 naming client_idle_timeout", r.err)
			}
			if got := login(t, s.primary).fatal(); got != "57P05" {
				t.Errorf("SQLSTATE %s, want 57P05", got)
			}
			c.exec("COMMIT")
			if name == "transaction" {
				if got := c.fatal(); got != "57P05" {
					t.Errorf("SQLSTATE %s, want 57P05", got)
				}
				return
			}
			login(t, s.primary).gone() // c has its server still
			c.exec("SELECT 1")
		})
	}
}

// TestTimeoutsFollowSettings: new limits count for clients that are there, and
// where there are none no timer runs.
func TestTimeoutsFollowSettings(t *testing.T) {
	s := newSite(t, plan{pool: transactions})
	c := login(t, s.primary)
	c.exec("SELECT 1")
	s.onLoops(func(l *loop.Loop) {
		if s.proxy.shards[l].clocks.timer.Pending() {
			t.Error("a timer runs for nothing")
		}
	})
	s.limit(Rules{ClientIdleTimeout: soon})
	if r := c.answer(); r.state() != "57P05" {
		t.Errorf("got %+v, want 57P05", r.err)
	}
}

// TestQueryWaitNotify tells a client that waits, once, and why.
func TestQueryWaitNotify(t *testing.T) {
	s := newSite(t, plan{proxy: func(set *Settings) { set.QueryWaitNotify = 50 * time.Millisecond }})
	holder := login(t, s.primary)
	holder.exec("SELECT 1")
	c := login(t, s.primary)
	c.send(pgscript.Query("SELECT 42"))
	notice := c.receive()
	encoded, err := notice.Encode(nil)
	if err != nil || encoded[0] != 'N' || !strings.Contains(string(encoded), "default_pool_size") || !strings.Contains(string(encoded), "00000") {
		t.Errorf("got %q, want a notice naming default_pool_size", encoded)
	}
	s.onLoops(func(l *loop.Loop) {
		if s.proxy.shards[l].clocks.timer.Pending() {
			t.Error("there is to be a second notice")
		}
	})
	holder.leave()
	if r := c.answer(); !slices.Equal(r.rows, []string{"42"}) || strings.Contains(r.types, "N") {
		t.Errorf("then got %q %q", r.types, r.rows)
	}
}

// TestTimeoutInsideAMessage: where a message has been passed on half, ours would
// be taken for the rest of it.
func TestTimeoutInsideAMessage(t *testing.T) {
	half := make(chan struct{})
	row := pgscript.Row(strings.Repeat("x", 1<<20))
	server := pgscript.ServeEach(t,
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("Q"),
			pgscript.Send(pgscript.Columns("x"), row[:len(row)/2]), pgscript.Tell(half), pgscript.ExpectGone()),
		pgscript.Steps(pgscript.ExpectStartup(), pgscript.Close()))
	s := newSite(t, plan{table: table(nil, node("n1", server.Addr))})
	c := login(t, s.replica)
	c.send(pgscript.Query("SELECT 1"))
	<-half
	total := 0
	for buf := make([]byte, 64<<10); ; {
		n, err := c.conn.Read(buf)
		if total == 0 {
			s.limit(Rules{QueryTimeout: soon})
		}
		total += n
		if strings.Contains(string(buf[:n]), "57014") {
			t.Error("an error was sent in the middle of a row")
		}
		if err != nil {
			break
		}
	}
}
