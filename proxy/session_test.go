package proxy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/pool"
)

func poolSize(n int) func(*pool.Settings) {
	return func(set *pool.Settings) { set.PoolSize = n }
}

// TestServerAtFirstQuery: 10,000 idle clients need no backend.
func TestServerAtFirstQuery(t *testing.T) {
	s := newSite(t, plan{})
	first := login(t, s.primary) // its login asks PostgreSQL for the welcome
	login(t, s.primary)
	if got := s.phases(); got[resting] != 2 {
		t.Errorf("phases = %v, want both resting", got)
	}
	if got := first.value("SELECT 1"); got != "1" {
		t.Errorf("SELECT 1 = %q", got)
	}
	if got := s.phases(); got[resting] != 1 || got[bound] != 1 {
		t.Errorf("phases = %v, want one bound", got)
	}
}

// TestResetBetweenSessions: nothing of a session is left for the next one, in
// whatever state it ended.
func TestResetBetweenSessions(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{})
	for _, end := range []struct {
		name    string
		another string // 0 where the next session may have another server
		last    func(*client)
	}{
		{"idle", "1", func(*client) {}},
		{"in a transaction", "1", func(c *client) { c.exec("BEGIN; SELECT 1") }},
		{"in a failed transaction", "1", func(c *client) { c.exec("BEGIN"); c.query("SELECT 1/0") }},
		{"with an unread result", "0", func(c *client) { c.send(pgscript.Query("SELECT generate_series(1, 20000)")) }},
		{"behind a Sync", "0", func(c *client) { c.send(pgscript.Message('S', nil)) }},
	} {
		t.Run(end.name, func(t *testing.T) {
			before := login(t, s.primary)
			for _, sql := range leftovers {
				before.exec(sql)
			}
			pid := before.value("SELECT pg_backend_pid()")
			end.last(before)
			before.leave()
			after := login(t, s.primary)
			defer after.leave()
			if got := after.value("SELECT CASE WHEN pg_backend_pid() <> " + pid + " THEN " + end.another + " ELSE 0 END"); got != "0" {
				t.Error("the server was given up")
			}
			for sql, want := range untouched {
				if got := after.value(sql); got != want {
					t.Errorf("%s = %s, want %s", sql, got, want)
				}
			}
		})
	}
	if got := pg.backends(t); got != "1" {
		t.Errorf("%s backends, want 1", got)
	}
}

// TestUncommittedIsRolledBack when its client leaves, and what a client has sent
// before it leaves is carried out though nobody reads the replies.
func TestLeavingClients(t *testing.T) {
	pg := postgres(t, 0)
	insert := func(note string) []byte { return pgscript.Query("INSERT INTO things (note) VALUES ('" + note + "')") }
	parse := func(sql string) []byte { return pgscript.Message('P', append(pgscript.Strings("", sql), 0, 0)) }
	bindExecute := slices.Concat(pgscript.Message('B', append(pgscript.Strings("", ""), int16s(0, 0, 0)...)),
		pgscript.Message('E', append(pgscript.Strings(""), 0, 0, 0, 0)))
	for _, test := range []struct {
		name string
		send []byte
		want string // rows with the name as their note
	}{
		{"query and Terminate", slices.Concat(insert("query and Terminate"), pgscript.Terminate()), "1"},
		{"slow query and Terminate", slices.Concat(pgscript.Query("SELECT pg_sleep(0.05)"), insert("slow query and Terminate"), pgscript.Terminate()), "1"},
		{"open transaction", slices.Concat(pgscript.Query("BEGIN"), insert("open transaction"), pgscript.Terminate()), "0"},
		{"no Sync", slices.Concat(parse("INSERT INTO things (note) VALUES ('no Sync')"), bindExecute, pgscript.Terminate()), "0"},
		{"no Sync but Flush", slices.Concat(parse("INSERT INTO things (note) VALUES ('no Sync but Flush')"), bindExecute, pgscript.Message('H', nil), pgscript.Terminate()), "0"},
		{"with Sync", slices.Concat(parse("INSERT INTO things (note) VALUES ('with Sync')"), bindExecute, pgscript.Message('S', nil), pgscript.Terminate()), "1"},
		{"no CopyDone", slices.Concat(pgscript.Query("COPY things (note) FROM STDIN"), pgscript.Message('d', []byte("no CopyDone\n")), pgscript.Terminate()), "0"},
		{"with CopyDone", slices.Concat(pgscript.Query("COPY things (note) FROM STDIN"), pgscript.Message('d', []byte("with CopyDone\n")), pgscript.Message('c', nil), pgscript.Terminate()), "1"},
	} {
		for name, mode := range modes {
			t.Run(test.name+", "+name, func(t *testing.T) {
				s := newSite(t, plan{pool: mode})
				pg.ask(t, "TRUNCATE things")
				c := login(t, s.primary)
				c.exec("SELECT 1") // it has a server
				c.send(test.send)
				c.conn.Close()
				next := login(t, s.primary) // gets the server when all that is over
				defer next.leave()
				if got := next.value("SELECT count(*) FROM things WHERE note = '" + test.name + "'"); got != test.want {
					t.Errorf("%s rows, want %s", got, test.want)
				}
			})
		}
	}
	if got := pg.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'"); got != "0" {
		t.Errorf("%s transactions left open", got)
	}
}

// TestHalfClose: who shuts the sending side still gets the replies to what it
// sent (rule 7), and then the end.
func TestHalfClose(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) { halfClose(t, mode) })
	}
}

func halfClose(t *testing.T, mode func(*pool.Settings)) {
	s := newSite(t, plan{pool: func(set *pool.Settings) {
		mode(set)
		set.PoolSize = 3 // the last two may still be on their way back
	}})
	flush := pgscript.Message('H', nil)
	for _, test := range []struct {
		name  string
		send  []byte
		fresh bool   // it has no server yet
		want  string // message types
	}{
		{"behind a query", pgscript.Query("SELECT pg_sleep(0.02)"), false, "TDCZ"},
		{"behind the first query", pgscript.Query("SELECT 1"), true, "TDCZ"},
		{"behind two queries", slices.Concat(pgscript.Query("SELECT pg_sleep(0.02)"), pgscript.Query("SELECT 1")), false, "TDCZTDCZ"},
		{"behind half a message", slices.Concat(pgscript.Query("SELECT 1"), pgscript.Query("SELECT 2")[:4]), false, "TDCZ"},
		{"behind a batch", batch("SELECT pg_sleep(0.02)", 'S'), false, "12DCZ"},
		{"behind the first batch", batch("SELECT 1", 'S'), true, "12DCZ"},
		{"behind an open transaction", slices.Concat(pgscript.Query("BEGIN"), pgscript.Query("SELECT 1")), false, "CZTDCZ"},
		{"behind a named statement", slices.Concat(pgscript.Parse("s", "SELECT 1"), pgscript.Sync(), bind("s"), pgscript.Execute(""), pgscript.Sync()), false, "1Z2DCZ"},
		{"without a Sync", slices.Concat(pgscript.Parse("", "SELECT 1"), flush), false, "1"},
		{"without a Sync behind an error", slices.Concat(pgscript.Parse("", "SELEC"), pgscript.Bind("", ""), flush), false, "E"},
		{"without a Sync, of a name", slices.Concat(pgscript.Parse("s", "SELECT 1"), bind("s"), pgscript.Execute(""), flush), false, "12DC"},
		{"in a COPY", pgscript.Query("COPY things FROM STDIN"), false, "G"},
		{"idle", nil, false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := login(t, s.primary, "application_name", "half")
			if !test.fresh {
				c.exec("SELECT 1")
			}
			c.send(test.send)
			c.closeWrite()
			var got strings.Builder
			for {
				m, err := c.tryReceive()
				if err != nil {
					break
				}
				got.WriteString(typeOf(m))
			}
			if got.String() != test.want {
				t.Errorf("replies %q, want %q", got.String(), test.want)
			}
			// Its server is free again, and in no transaction.
			next := login(t, s.primary)
			if r := next.exec("SELECT 1"); r.ready != 'I' {
				t.Errorf("the next client is in a transaction: %q", r.ready)
			}
			next.leave()
		})
	}
}

// TestPoolSize: many clients at once never have more servers than the pool may
// have, and each of them is served.
func TestPoolSize(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{pool: poolSize(3)})
	var wg sync.WaitGroup
	for i := range 30 {
		c := login(t, s.primary, "application_name", fmt.Sprint("c", i))
		wg.Go(func() {
			r := c.query("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename <> 'postgres'")
			if r.err != nil || len(r.rows) != 1 || r.rows[0] > "3" || len(r.rows[0]) != 1 {
				t.Errorf("client %d: %q backends, error %v", i, r.rows, r.err)
			}
			c.conn.Write(pgscript.Terminate())
			c.conn.Close()
		})
	}
	wg.Wait()
	if got := s.pools.Counters().ServerLogins.Load(); got > 3 {
		t.Errorf("%d server logins, want at most 3", got)
	}
	if got := pg.backends(t); got > "3" {
		t.Errorf("%s backends", got)
	}
}

// TestPipeline of many statements, of which the client reads nothing before it
// has sent all.
func TestPipeline(t *testing.T) {
	s := newSite(t, plan{})
	c := login(t, s.primary)
	const n = 10_000
	batch := slices.Concat(
		pgscript.Message('P', append(pgscript.Strings("", "SELECT 1"), 0, 0)),
		pgscript.Message('B', append(pgscript.Strings("", ""), int16s(0, 0, 0)...)),
		pgscript.Message('E', append(pgscript.Strings(""), 0, 0, 0, 0)),
		pgscript.Message('S', nil))
	go c.conn.Write(bytes.Repeat(batch, n))
	for i := range n {
		if r := c.answer(); r.types != "12DCZ" {
			t.Fatalf("batch %d: %q, %v", i, r.types, r.err)
		}
	}
	if r := c.exec("SELECT 2"); r.types != "TDCZ" {
		t.Errorf("after the pipeline: %q", r.types)
	}
}

// TestSlowReader: a client that does not read its large result stops its server,
// fills no memory and slows nobody; when it reads, it gets all.
func TestSlowReader(t *testing.T) {
	s := newSite(t, plan{pool: poolSize(3)})
	slow, never, other := login(t, s.primary), login(t, s.primary), login(t, s.primary)
	const rows, width = 1000, 20_000
	large := pgscript.Query(fmt.Sprintf("SELECT repeat('x', %d) FROM generate_series(1, %d)", width, rows))
	slow.send(large)
	// One that sends for ever and never reads is stopped too.
	stuck := make(chan int64)
	go func() {
		var sent int64
		never.conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
		for {
			n, err := never.conn.Write(bytes.Repeat(large, 1000))
			if sent += int64(n); err != nil {
				stuck <- sent
				return
			}
		}
	}()
	eventually(t, "both are held back", func() bool { return s.queuedFor() == 2 })
	for range 100 {
		other.exec("SELECT 1")
	}
	if held := s.memory(); held > 2<<20 {
		t.Errorf("%d bytes kept for two clients that do not read", held)
	}
	r := slow.answer()
	if len(r.rows) != rows || len(r.rows[rows-1]) != width || r.ready != 'I' {
		t.Errorf("%d rows, ready %q", len(r.rows), r.ready)
	}
	<-stuck
	never.reset()
	eventually(t, "the server of the one that left is free", func() bool { return s.proxy.Clients() == 2 })
}

// TestDatabasesMap: a database may have another name on the server, and a size
// of its own.
func TestDatabasesMap(t *testing.T) {
	s := newSite(t, plan{pool: func(set *pool.Settings) {
		set.RulesFor = func(database, _ string) pool.Rules {
			r := set.Rules
			if database == "shop" {
				r.Database, r.PoolSize = lab.AppDatabase, 2
			}
			return r
		}
	}})
	for range 2 {
		c := login(t, s.primary, "database", "shop")
		if got := c.value("SELECT current_database()"); got != lab.AppDatabase {
			t.Errorf("database %q", got)
		}
	}
}

// TestDisabledDatabase refuses before it asks for a password.
func TestDisabledDatabase(t *testing.T) {
	s := newSite(t, plan{proxy: func(set *Settings) { set.Disabled = func(db string) bool { return db == "off" } }})
	if _, err := tryLogin(t, s.primary, "database", "off"); code(err) != "57P03" {
		t.Errorf("got %v, want 57P03", err)
	}
	login(t, s.primary)
}

// TestServerLimits: server_lifetime and server_idle_timeout close servers, never
// under a client.
func TestServerLimits(t *testing.T) {
	pid := func(s *site) string {
		c := login(t, s.primary)
		defer c.leave()
		return c.value("SELECT pg_backend_pid()")
	}
	once := newSite(t, plan{pool: func(set *pool.Settings) { set.ServerLifetime = 0 }})
	if a, b := pid(once), pid(once); a == b {
		t.Error("server_lifetime 0: a server was lent twice")
	}
	once.stop()
	for name, limit := range map[string]func(*pool.Settings){
		"server_lifetime":     func(set *pool.Settings) { set.ServerLifetime = 30 * time.Millisecond },
		"server_idle_timeout": func(set *pool.Settings) { set.ServerIdleTimeout = 30 * time.Millisecond },
	} {
		for mode, set := range modes {
			t.Run(name+", "+mode, func(t *testing.T) {
				s := newSite(t, plan{pool: func(all *pool.Settings) {
					set(all)
					limit(all)
				}})
				c := login(t, s.primary)
				c.exec("BEGIN")
				held := c.value("SELECT pg_backend_pid(), pg_sleep(0.1)")
				for range 3 { // in use, and idle in its transaction, for longer than the limit
					if again := c.value("SELECT pg_backend_pid() FROM pg_sleep(0.05)"); again+"|" != held {
						t.Error("a lent server was changed")
					}
					<-time.After(50 * time.Millisecond)
				}
				c.exec("COMMIT")
				c.leave()
				eventually(t, "an idle server is closed", func() bool {
					return postgres(t, 0).ask(t,
						"SELECT count(*) FROM pg_stat_activity WHERE pid = "+strings.TrimSuffix(held, "|")) == "0"
				})
			})
		}
	}
}

// TestServerKilledWhileIdle: its client gets a good one, with or without a check
// query.
func TestServerKilledWhileIdle(t *testing.T) {
	pg := postgres(t, 0)
	for _, check := range []bool{false, true} {
		s := newSite(t, plan{pool: func(set *pool.Settings) {
			set.ServerCheck, set.ServerCheckQuery, set.ServerCheckDelay = check, "SELECT 1", -1
		}})
		for range 5 {
			c := login(t, s.primary)
			pid := c.value("SELECT pg_backend_pid()")
			c.leave()
			if got := pg.ask(t, "SELECT pg_terminate_backend("+pid+", 5000)"); got != "t" {
				t.Fatalf("pg_terminate_backend = %q", got)
			}
			next := login(t, s.primary)
			if got := next.value("SELECT pg_backend_pid()"); got == pid {
				t.Errorf("check %v: the server lives", check)
			}
			next.leave()
		}
		s.stop()
	}
}
