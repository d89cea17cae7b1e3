package proxy

import (
	"slices"
	"testing"

	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/route"
)

// resetting makes every mode clean its servers with a query.
func resetting(mode func(*pool.Settings), query string) func(*pool.Settings) {
	return func(set *pool.Settings) {
		mode(set)
		set.ServerResetQuery, set.ServerResetQueryAlways = query, true
	}
}

// TestResetThatHangs: server_reset_timeout bounds it. The next client gets another
// server, and the backend does not hang on for nobody.
func TestResetThatHangs(t *testing.T) {
	pg := postgres(t, 0)
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, plan{pool: func(set *pool.Settings) {
				resetting(mode, "SELECT pg_sleep(1000)")(set)
				set.ServerResetTimeout = soon
			}})
			c := login(t, s.primary)
			backend := c.value("SELECT pg_backend_pid()")
			c.leave()
			next := login(t, s.primary)
			if got := next.value("SELECT pg_backend_pid()"); got == backend {
				t.Error("a server was lent that has not been cleaned")
			}
			eventually(t, "the backend ends", func() bool {
				return pg.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE pid = "+backend) == "0"
			})
			if got := s.pools.Counters().ChoreTimeouts.Load(); got < 1 {
				t.Error("not counted")
			}
			set := s.servers
			set.ServerResetQuery = "" // or the last one would hang in it
			s.pools.Apply(set)
			s.onLoops(func(*loop.Loop) {})
			pg.sleeping(t, 0)
		})
	}
}

// TestStopEndsAResetThatHangs: a pgvip that stops leaves no backend behind that runs
// a query of its configuration for nobody.
func TestStopEndsAResetThatHangs(t *testing.T) {
	pg := postgres(t, 0)
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, plan{pool: resetting(mode, "SELECT pg_sleep(1000)")})
			c := login(t, s.primary)
			c.exec("SELECT 1")
			c.leave()
			pg.sleeping(t, 1)
			s.stop()
			pg.sleeping(t, 0)
		})
	}
}

// TestResetThatFails costs its server and nothing else.
func TestResetThatFails(t *testing.T) {
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, plan{pool: resetting(mode, "SELECT 1/0")})
			c := login(t, s.primary)
			backend := c.value("SELECT pg_backend_pid()")
			c.leave()
			if r := login(t, s.primary).query("SELECT pg_backend_pid()"); r.err != nil || r.rows[0] == backend {
				t.Errorf("the next client gets %q %v from server %s", r.rows, r.err, backend)
			}
		})
	}
}

// slowly is a query that hangs on the backends that are named in a table.
const slowly = "SELECT pg_sleep(1000) FROM hanging WHERE pid = pg_backend_pid()"

// TestCheckThatHangs: the client that the server was checked for gets another one.
func TestCheckThatHangs(t *testing.T) {
	pg := postgres(t, 0)
	pg.ask(t, "CREATE TABLE hanging (pid int); GRANT SELECT ON hanging TO PUBLIC")
	t.Cleanup(func() { pg.ask(t, "DROP TABLE hanging") })
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, plan{pool: func(set *pool.Settings) {
				mode(set)
				set.ServerCheck, set.ServerCheckQuery, set.ServerCheckDelay = true, slowly, -1
				set.ServerResetTimeout = ample
			}})
			c := login(t, s.primary)
			backend := c.value("SELECT pg_backend_pid()")
			c.leave()
			pg.ask(t, "INSERT INTO hanging VALUES ("+backend+")")
			if got := login(t, s.primary).value("SELECT pg_backend_pid()"); got == backend {
				t.Error("a server was lent that did not answer the check")
			}
			pg.sleeping(t, 0)
		})
	}
}

// TestConnectQueryThatHangs leaves no backend behind each time it is tried.
func TestConnectQueryThatHangs(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{})
	c := login(t, s.primary)
	set := s.servers
	set.ConnectQuery, set.ServerConnectTimeout = "SELECT pg_sleep(1000)", ample
	s.pools.Apply(set)
	s.onLoops(func(*loop.Loop) {})
	c.send(pgscript.Query("SELECT 1"))
	eventually(t, "it has been tried twice", func() bool { return s.pools.Counters().LoginFailures.Load() >= 2 })
	if got := pg.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"); got > "1" {
		t.Errorf("%s backends run the query", got)
	}
	c.conn.Close()
}

// locked is a query that waits for whoever has lock 4242.
const locked = "SELECT pg_advisory_xact_lock_shared(4242)"

// block makes locked wait, unlock ends that.
func (d *database) block(t *testing.T) (unlock func()) {
	d.ask(t, "SELECT pg_advisory_lock(4242)")
	held := true
	unlock = func() {
		if held {
			held = false
			d.ask(t, "SELECT pg_advisory_unlock(4242)")
		}
	}
	t.Cleanup(unlock)
	return unlock
}

func (d *database) waitsForLock(t *testing.T) {
	t.Helper()
	eventually(t, "our own statement is under way", func() bool {
		return d.ask(t, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == "1"
	})
}

// happening is something that happens while a server is being cleaned or checked.
type happening struct {
	name string
	do   func(*site)
	// again: the server is lent after it; moved: the client that waits is served
	// elsewhere, at once.
	again, moved bool
}

func happenings(old, other *database) []happening {
	apply := func(s *site, change func(*pool.Settings)) {
		set := s.servers
		change(&set)
		s.pools.Apply(set)
	}
	return []happening{
		{name: "nothing", do: func(*site) {}, again: true},
		{name: "RELOAD", do: func(s *site) { apply(s, func(set *pool.Settings) { set.QueryWaitTimeout *= 2 }) }, again: true},
		{name: "RELOAD that replaces servers", do: func(s *site) { apply(s, func(set *pool.Settings) { set.ConnectQuery = "SELECT 1" }) }},
		{name: "PAUSE and RESUME", do: func(s *site) {
			s.pools.Pause("")
			s.onLoops(func(*loop.Loop) {})
			s.pools.Resume("")
		}, again: true},
		{name: "RECONNECT", do: func(s *site) { s.pools.Reconnect("") }},
		{name: "another primary", do: func(s *site) { s.proxy.SetTable(table(node("n2", other.Addr), node("n1", old.Addr))) }, moved: true},
		{name: "no primary, and back", do: func(s *site) {
			n := s.proxy.table.Load().Primary
			s.proxy.SetTable(&route.Table{Nodes: []*route.Node{n}})
			s.proxy.SetTable(table(n))
		}, again: true},
	}
}

// TestResetInFlight: whatever happens while a server is being cleaned, the client
// that waits is served, by a server that is clean and where it is to be.
func TestResetInFlight(t *testing.T) {
	old, other := postgres(t, 0), postgres(t, 1)
	for name, mode := range modes {
		for _, event := range happenings(old, other) {
			t.Run(event.name+", "+name, func(t *testing.T) {
				s := newSite(t, plan{pool: resetting(mode, locked), table: table(node("n1", old.Addr))})
				unlock := old.block(t)
				c, next := login(t, s.primary), login(t, s.primary)
				backend := c.value("SELECT pg_backend_pid()")
				c.leave()
				old.waitsForLock(t)
				s.waits(next, "SELECT pg_backend_pid(), inet_server_addr()", 0)
				event.do(s)
				s.onLoops(func(*loop.Loop) {}) // it has arrived
				s.served(t, next, event, unlock, backend, old, other)
				next.leave()
			})
		}
	}
}

// TestCheckInFlight: the same while a server is being checked for a client.
func TestCheckInFlight(t *testing.T) {
	old, other := postgres(t, 0), postgres(t, 1)
	for name, mode := range modes {
		for _, event := range happenings(old, other) {
			t.Run(event.name+", "+name, func(t *testing.T) {
				s := newSite(t, plan{table: table(node("n1", old.Addr)), pool: func(set *pool.Settings) {
					mode(set)
					set.ServerCheck, set.ServerCheckQuery, set.ServerCheckDelay = true, locked, -1
				}})
				c, next := login(t, s.primary), login(t, s.primary)
				backend := c.value("SELECT pg_backend_pid()")
				c.leave()
				unlock := old.block(t)
				next.send(pgscript.Query("SELECT pg_backend_pid(), inet_server_addr()"))
				old.waitsForLock(t)
				event.do(s)
				s.onLoops(func(*loop.Loop) {}) // it has arrived
				if event.name == "RECONNECT" || event.name == "RELOAD that replaces servers" {
					event.again = true // it is the client's already, and goes after it
				}
				s.served(t, next, event, unlock, backend, old, other)
				next.leave()
			})
		}
	}
}

// served holds the answer to a client that waits to what an event means.
func (s *site) served(t *testing.T, c *client, event happening, unlock func(), backend string, old, other *database) {
	t.Helper()
	host := old.Host
	if event.moved {
		host = other.Host
	} else {
		unlock()
	}
	r := c.answer()
	if r.err != nil || len(r.rows) != 1 {
		t.Fatalf("got %q %v", r.rows, r.err)
	}
	want := backend + "|" + host
	if (r.rows[0] == want) != event.again || r.rows[0][len(r.rows[0])-len(host):] != host {
		t.Errorf("served by %s, was %s; the same: want %v", r.rows[0], want, event.again)
	}
	unlock()
}

// TestPauseWaitsForAReset: PAUSE is over when the server has been cleaned and
// closed, and who waits is served after RESUME.
func TestPauseWaitsForAReset(t *testing.T) {
	pg := postgres(t, 0)
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, plan{pool: resetting(mode, locked)})
			unlock := pg.block(t)
			c, next := login(t, s.primary), login(t, s.primary)
			backend := c.value("SELECT pg_backend_pid()")
			c.leave()
			pg.waitsForLock(t)
			s.waits(next, "SELECT pg_backend_pid()", 0)
			s.pools.Pause(lab.AppDatabase)
			paused := make(chan error, 1)
			go func() { paused <- s.pools.AwaitPaused(t.Context(), lab.AppDatabase) }()
			s.onLoops(func(*loop.Loop) {})
			select {
			case err := <-paused:
				t.Errorf("PAUSE is over while a server is being cleaned: %v", err)
			default:
			}
			unlock()
			if err := <-paused; err != nil {
				t.Error(err)
			}
			if got := pg.backends(t); got != "0" {
				t.Errorf("%s servers in a paused database", got)
			}
			s.pools.Resume(lab.AppDatabase)
			if r := next.answer(); r.err != nil || slices.Equal(r.rows, []string{backend}) {
				t.Errorf("after RESUME: %q %v", r.rows, r.err)
			}
		})
	}
}
