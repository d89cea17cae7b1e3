package proxy

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/route"
)

// waits makes c send a query for which there is no server now, and returns when
// it is in the queue with n others.
func (s *site) waits(c *client, sql string, others int) {
	s.t.Helper()
	c.send(pgscript.Query(sql))
	eventually(s.t, "the client waits", func() bool { return s.phases()[queued] == others+1 })
}

// TestFirstComeFirstServed: clients get servers in the order of their queries,
// not of their logins.
func TestFirstComeFirstServed(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{})
	pg.ask(t, "CREATE TABLE IF NOT EXISTS turns (n serial, who text); TRUNCATE turns; GRANT ALL ON turns, turns_n_seq TO PUBLIC")
	holder := login(t, s.primary)
	holder.exec("SELECT 1")
	const n = 8
	var clients [n]*client
	for i := range clients {
		clients[i] = login(t, s.primary)
	}
	var want strings.Builder
	for i := range clients {
		c := clients[(i*3)%n]
		name := string(rune('a' + i))
		want.WriteString(name)
		s.waits(c, "INSERT INTO turns (who) VALUES ('"+name+"')", i)
		c.send(pgscript.Terminate())
	}
	holder.leave()
	eventually(t, "all have been served", func() bool { return s.proxy.Clients() == 0 })
	eventually(t, "all have been written", func() bool {
		return pg.ask(t, "SELECT string_agg(who, '' ORDER BY n) FROM turns") == want.String()
	})
}

// TestQueryWaitTimeout ends the wait with 57P03, a FATAL that names the setting
// and the reason.
func TestQueryWaitTimeout(t *testing.T) {
	s := newSite(t, plan{pool: func(set *pool.Settings) { set.QueryWaitTimeout = 50 * time.Millisecond }})
	holder := login(t, s.primary)
	holder.exec("SELECT 1")
	for range 2 {
		r := login(t, s.primary).query("SELECT 1")
		if r.state() != "57P03" || !strings.Contains(r.err.Message, "query_wait_timeout") || !strings.Contains(r.err.Hint, "default_pool_size") {
			t.Errorf("got %+v, want 57P03 naming query_wait_timeout", r.err)
		}
	}
	holder.exec("SELECT 1") // unlimited for those who have a server
	if n := s.pools.Counters().WaitTimeouts.Load(); n != 2 {
		t.Errorf("%d timeouts counted, want 2", n)
	}
}

// departures are the ways in which a client can go.
var departures = map[string]func(*client){
	"FIN":       func(c *client) { c.conn.Close() },
	"RST":       (*client).reset,
	"Terminate": (*client).leave,
	"half-close": func(c *client) {
		c.closeWrite()
		c.gone()
	},
}

// TestLeavingTheQueue: who leaves while waiting holds up nobody, and its query
// is not run (rule 7).
func TestLeavingTheQueue(t *testing.T) {
	pg := postgres(t, 0)
	for how, leave := range departures {
		t.Run(how, func(t *testing.T) {
			s := newSite(t, plan{})
			holder := login(t, s.primary)
			holder.exec("SELECT 1")
			gone, next := login(t, s.primary), login(t, s.primary)
			s.waits(gone, "INSERT INTO things (note) VALUES ('abandoned')", 0)
			s.waits(next, "SELECT 42", 1)
			leave(gone)
			eventually(t, "it has left the queue", func() bool { return s.phases()[queued] == 1 && s.proxy.Clients() == 2 })
			holder.leave()
			if r := next.answer(); r.err != nil || r.rows[0] != "42" {
				t.Errorf("the next client: %+v", r)
			}
			if got := pg.ask(t, "SELECT count(*) FROM things WHERE note = 'abandoned'"); got != "0" {
				t.Errorf("the query of a client that left the queue was run")
			}
		})
	}
}

// TestLeavingTheQueueUnread: also with a buffer so full that it is not read.
func TestLeavingTheQueueUnread(t *testing.T) {
	for _, how := range []string{"FIN", "RST"} {
		s := newSite(t, plan{})
		holder := login(t, s.primary)
		holder.exec("SELECT 1")
		c := login(t, s.primary)
		c.send(bytes.Repeat(pgscript.Query("SELECT 1"), 7_000)) // 98 KB: more than is kept, all of it in the kernel
		eventually(t, "it waits", func() bool { return s.phases()[queued] == 1 && s.memory() >= 64<<10 })
		departures[how](c)
		eventually(t, how+" is noticed", func() bool { return s.proxy.Clients() == 1 })
		s.stop()
	}
}

// TestLeavingWhileParked, with no node to go to.
func TestLeavingWhileParked(t *testing.T) {
	pg := postgres(t, 0)
	for how, leave := range departures {
		t.Run(how, func(t *testing.T) {
			s := newSite(t, plan{})
			c := login(t, s.primary)
			s.proxy.SetTable(table(nil))
			c.send(pgscript.Query("SELECT 1"))
			eventually(t, "parked", func() bool { return s.proxy.counters.Parked.Load() == 1 })
			leave(c)
			eventually(t, "forgotten", func() bool { return s.proxy.Clients() == 0 && s.proxy.counters.Parked.Load() == 0 })
			s.proxy.SetTable(table(node("n1", pg.Addr)))
			login(t, s.primary).exec("SELECT 1")
		})
	}
}

// TestLeavingWhileSettling: the server that was being prepared goes to the next.
func TestLeavingWhileSettling(t *testing.T) {
	left := make(chan struct{})
	set := make(chan struct{})
	server := pgscript.ServeEach(t,
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.ExpectGone()), // the login asks for its welcome
		pgscript.Steps(pgscript.AcceptLogin(),
			pgscript.Expect("Q"), pgscript.ExpectBody("set_config"), pgscript.Tell(set), pgscript.Wait(left),
			pgscript.Send(pgscript.Complete("SELECT 1"), pgscript.Ready('I')),
			pgscript.Expect("Q"), pgscript.ExpectBody("DISCARD ALL"), pgscript.Send(pgscript.Complete("DISCARD ALL"), pgscript.Ready('I')),
			pgscript.Expect("Q"), pgscript.ExpectBody("SELECT 42"), pgscript.Send(pgscript.Complete("SELECT 1"), pgscript.Ready('I')),
			pgscript.ExpectGone()))
	n := node("n1", server.Addr)
	s := newSite(t, plan{table: table(nil, n)})
	gone := login(t, s.replica, "work_mem", "5MB")
	gone.send(pgscript.Query("SELECT 41"))
	<-set
	gone.reset()
	eventually(t, "it has left", func() bool { return s.proxy.Clients() == 0 })
	s.proxy.welcomes.identity(&request{database: "app", user: "app_trust"}).learn(route.Replica, n, nil)
	next := login(t, s.replica)
	next.send(pgscript.Query("SELECT 42"))
	close(left)
	if r := next.answer(); r.err != nil {
		t.Errorf("the next client: %+v", r)
	}
}

// batch runs sql by the extended protocol; more are messages without a body.
func batch(sql string, more ...byte) []byte {
	b := pgscript.Message('P', []byte("\x00"+sql+"\x00\x00\x00"))
	b = append(b, pgscript.Message('B', make([]byte, 8))...)
	b = append(b, pgscript.Message('E', make([]byte, 5))...)
	for _, typ := range more {
		b = append(b, pgscript.Message(typ, nil)...)
	}
	return b
}

// TestVanishing: what a client that is gone has running is cancelled, and its
// place in the pool is free again.
func TestVanishing(t *testing.T) {
	pg := postgres(t, 0)
	for _, test := range []struct {
		name  string
		send  []byte
		seen  string // in pg_stat_activity
		how   string
		again bool
	}{
		{"in a query", pgscript.Query("SELECT pg_sleep(600)"), "SELECT pg_sleep%", "RST", true},
		{"in a query of a transaction", pgscript.Query("BEGIN; SELECT pg_sleep(600)"), "BEGIN; SELECT pg_sleep%", "RST", true},
		{"in COPY FROM STDIN, reset", append(pgscript.Query("COPY things FROM STDIN"), pgscript.Message('d', []byte("1\tx\n"))...), "COPY things%", "RST", true},
		{"in COPY FROM STDIN", append(pgscript.Query("COPY things FROM STDIN"), pgscript.Message('d', []byte("1\tx\n"))...), "COPY things%", "FIN", true},
		{"in half a row of COPY", append(pgscript.Query("COPY things FROM STDIN"), 'd', 0, 1, 0, 0, 'x'), "COPY things%", "FIN", false},
		{"in a batch without a Sync", batch("INSERT INTO things (note) VALUES ('x') RETURNING pg_sleep(0.1)", 'H'), "INSERT INTO things%", "RST", true},
		{"in a query of a batch without a Sync", batch("SELECT pg_sleep(600)"), "SELECT pg_sleep%", "RST", true},
		{"in COPY FROM STDIN of a batch", append(batch("COPY things FROM STDIN", 'S'), pgscript.Message('d', []byte("1\tx\n"))...), "COPY things%", "RST", true},
		{"in COPY FROM STDIN of a batch without a Sync", batch("COPY things FROM STDIN", 'H'), "COPY things%", "FIN", true},
		{"in the first of two queries", append(pgscript.Query("SELECT pg_sleep(600), 1"), pgscript.Query("SELECT pg_sleep(600), 2")...), "SELECT pg_sleep(600), 1", "RST", true},
		{"in a query in front of a COPY", append(pgscript.Query("SELECT pg_sleep(600)"), pgscript.Query("COPY things FROM STDIN")...), "SELECT pg_sleep%", "RST", true},
		{"in a result", pgscript.Query("SELECT repeat('x', 1000) FROM generate_series(1, 10000000)"), "SELECT repeat%", "RST", true},
		{"in COPY TO STDOUT", pgscript.Query("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 10000000)) TO STDOUT"), "COPY (SELECT%", "RST", true},
		{"in COPY TO STDOUT of a batch", batch("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 10000000)) TO STDOUT", 'S'), "COPY (SELECT%", "RST", true},
		{"in a row of 50 MB", pgscript.Query("SELECT repeat('x', 50000000), 'large'"), "SELECT repeat%", "RST", true},
		{"in a row of 50 MB, closed", pgscript.Query("SELECT repeat('x', 50000000), 'large'"), "SELECT repeat%", "FIN", true},
		{"in a result, closed", pgscript.Query("SELECT repeat('x', 1000) FROM generate_series(1, 10000000)"), "SELECT repeat%", "FIN", true},
	} {
		for name, mode := range modes {
			t.Run(test.name+", "+name, func(t *testing.T) {
				s := newSite(t, plan{pool: mode})
				c := login(t, s.primary)
				backend := c.value("SELECT pg_backend_pid()")
				c.send(test.send)
				busy := func() bool {
					return pg.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '"+test.seen+"'") == "1"
				}
				eventually(t, "it runs", busy)
				departures[test.how](c)
				eventually(t, "it is cancelled", func() bool { return !busy() })
				// The server is used again, unless it waits for half a message.
				next := login(t, s.primary)
				if again := next.value("SELECT pg_backend_pid()") == backend; again != test.again {
					t.Errorf("same server: %v, want %v", again, test.again)
				}
				if r := next.query("SELECT 1"); r.ready != 'I' {
					t.Errorf("the next client is in a transaction: %q", r.ready)
				}
				if got := pg.ask(t, "SELECT count(*) FROM things WHERE note = 'x'"); got != "0" {
					t.Errorf("%s rows of a COPY that was not ended", got)
				}
			})
		}
	}
}

// TestVanishingBehindParameters: a client may go while its parameters are being
// set in front of its query; they are not the next one's.
func TestVanishingBehindParameters(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{pool: transactions})
	other := login(t, s.primary)
	zone := other.value("SHOW TimeZone")
	for range 20 {
		c := login(t, s.primary, "TimeZone", "Asia/Tokyo", "work_mem", "123kB")
		c.exec("SELECT 1")
		other.exec("SELECT 1")
		c.send(pgscript.Query("SELECT pg_sleep(600)"))
		c.reset()
		if got := other.value("SHOW TimeZone"); got != zone {
			t.Fatalf("TimeZone is %s, want %s", got, zone)
		}
		if got := other.value("SHOW work_mem"); got == "123kB" {
			t.Fatal("work_mem is that of the client before")
		}
	}
	pg.sleeping(t, 0)
}

// TestVanishingStatements: prepared statements of a client that is gone in the
// middle of a batch leave no doubt about what the server has.
func TestVanishingStatements(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{pool: func(set *pool.Settings) {
		transactions(set)
		set.MaxPreparedStatements = 2
	}})
	backend := login(t, s.primary).value("SELECT pg_backend_pid()")
	use := func(n, seconds string) []byte {
		return slices.Concat(pgscript.Parse("s", "SELECT "+n+", pg_sleep("+seconds+")"), pgscript.Bind("", "s"), pgscript.Execute(""))
	}
	for i := range 6 {
		n := strconv.Itoa(i % 3)
		gone := login(t, s.primary)
		gone.send(use(n, "0"), pgscript.Parse("t", "SELECT 1"), pgscript.Query("SELECT pg_sleep(600)"), use(n, "600"))
		pg.sleeping(t, 1)
		gone.reset()
		next := login(t, s.primary)
		next.send(use(n, "0"), pgscript.Sync())
		if r := next.answer(); r.err != nil || len(r.rows) != 1 {
			t.Fatalf("round %d: %q %v", i, r.rows, r.err)
		}
		next.leave()
	}
	if got := login(t, s.primary).value("SELECT pg_backend_pid()"); got != backend {
		t.Errorf("the server was not used again")
	}
}

// modes are the pool modes.
var modes = map[string]func(*pool.Settings){
	"session":     func(set *pool.Settings) { set.Mode = pool.SessionMode },
	"transaction": transactions,
}

// TestNewsThatTakesItselfBack: a waiting client that is sent away to choose again
// may come back to the same queue.
func TestNewsThatTakesItselfBack(t *testing.T) {
	pg := postgres(t, 0)
	n := node("n1", pg.Addr)
	s := newSite(t, plan{table: table(n)})
	holder, c, d := login(t, s.primary), login(t, s.primary), login(t, s.primary)
	holder.exec("SELECT 1")
	s.waits(c, "SELECT 41", 0)
	s.waits(d, "SELECT 42", 1)
	blocked, release := make(chan struct{}), make(chan struct{})
	s.loops[0].Post(func() {
		close(blocked)
		<-release
	})
	<-blocked
	s.proxy.SetTable(&route.Table{Nodes: []*route.Node{n}})
	s.proxy.SetTable(table(n))
	close(release)
	holder.leave()
	for i, c := range []*client{c, d} {
		want := []string{"41", "42"}[i]
		if r := c.answer(); r.err != nil || r.rows[0] != want {
			t.Errorf("got %+v, want %s", r, want)
		}
		c.leave()
	}
}
