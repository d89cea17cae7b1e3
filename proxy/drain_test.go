package proxy

import (
	"context"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/route"
)

// TestShutdownEndsLogins: a client that says nothing, or waits for a primary,
// does not use up the time that open transactions have.
func TestShutdownEndsLogins(t *testing.T) {
	s := newSite(t, plan{table: table(nil)})
	silent := dialTo(t, s.primary)
	half := dialTo(t, s.primary)
	half.send([]byte{0, 0, 0, 99})
	waiting := startLogin(t, s.primary)
	eventually(t, "all have been accepted", func() bool { return s.proxy.Clients() == 3 })
	s.drain = time.Hour
	s.stop()
	if got := code(waiting.welcomed()); got != "57P03" {
		t.Errorf("client that waited for a primary: %q, want 57P03", got)
	}
	if got := half.fatal(); got != "57P03" {
		t.Errorf("client with half a startup packet: %q, want 57P03", got)
	}
	silent.gone()
}

// TestShutdownEndsIdleSessions with the words of PostgreSQL.
func TestShutdownEndsIdleSessions(t *testing.T) {
	s := newSite(t, plan{pool: nil})
	resting, idle := login(t, s.primary), login(t, s.primary)
	idle.exec("SELECT 1")
	s.drain = time.Hour
	s.stop()
	for _, c := range []*client{resting, idle} {
		if got := c.fatal(); got != "57P01" {
			t.Errorf("SQLSTATE %q, want 57P01", got)
		}
	}
}

// TestShutdownWaitsForTransactions, and ends those that take longer than it may
// wait.
func TestShutdownWaitsForTransactions(t *testing.T) {
	for _, late := range []bool{false, true} {
		s := newSite(t, plan{})
		c := login(t, s.primary)
		c.exec("BEGIN")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			s.proxy.Shutdown(ctx)
			close(done)
		}()
		eventually(t, "draining", func() bool { return s.proxy.draining.Load() })
		c.exec("SELECT 1")
		if late {
			cancel()
		} else if r := c.exec("COMMIT"); r.tags[0] != "COMMIT" {
			t.Errorf("COMMIT = %+v", r)
		}
		if got := c.fatal(); got != "57P01" {
			t.Errorf("late %v: SQLSTATE %q, want 57P01", late, got)
		}
		<-done
		cancel()
		s.stop()
	}
}

// TestDrained: clients are sent away between their transactions and nobody comes in
// but operators, until it is undone.
func TestDrained(t *testing.T) {
	d := new(desk)
	s := newSite(t, plan{pool: poolSize(2), console: d.console(), proxy: func(c *Settings) { c.AdminUsers = []string{lab.TrustUser} }})
	d.leaves(t)
	idle, inside := login(t, s.primary), login(t, s.primary)
	idle.exec("SELECT 1")
	inside.exec("BEGIN")
	s.proxy.SetDrained(true)
	if got := idle.fatal(); got != "57P01" {
		t.Errorf("an idle client: SQLSTATE %q, want 57P01", got)
	}
	if _, err := tryLogin(t, s.primary); code(err) != "57P03" {
		t.Errorf("who comes: %v, want 57P03", err)
	}
	login(t, s.primary, "database", "pgbouncer")
	inside.exec("SELECT 1")
	if r := inside.exec("COMMIT"); r.tags[0] != "COMMIT" {
		t.Errorf("COMMIT = %+v", r)
	}
	if got := inside.fatal(); got != "57P01" {
		t.Errorf("after its transaction: SQLSTATE %q, want 57P01", got)
	}
	s.proxy.SetDrained(false)
	back := login(t, s.primary)
	back.exec("SELECT 1")
	back.exec("SELECT 1")
	s.stop()
	if got := back.fatal(); got != "57P01" {
		t.Errorf("at the end: SQLSTATE %q, want 57P01", got)
	}
	s.proxy.SetDrained(false)
	if !s.proxy.draining.Load() {
		t.Error("a stop was undone")
	}
}

// TestShutdownCutsRunningQuery when the time is up, and cancels it.
func TestShutdownCutsRunningQuery(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{})
	c := login(t, s.primary)
	c.send(pgscript.Query("SELECT pg_sleep(600) /* cut */"))
	running := func() bool {
		return pg.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600) /* cut%' AND state = 'active' AND pid <> pg_backend_pid()") == "1"
	}
	eventually(t, "the query runs", running)
	s.drain = 10 * time.Millisecond
	s.stop()
	if got := c.fatal(); got != "57P01" {
		t.Errorf("SQLSTATE %q, want 57P01", got)
	}
	eventually(t, "the query has been cancelled", func() bool { return !running() })
}

// TestPostsBeforeStart: a session can be found, by a cancel request or a drain,
// before it has reached its loop.
func TestPostsBeforeStart(t *testing.T) {
	s := newSite(t, plan{})
	blocked, release := make(chan struct{}), make(chan struct{})
	s.loops[0].Post(func() {
		close(blocked)
		<-release
	})
	<-blocked
	// As in begin, where another goroutine may come between any two lines.
	early := &session{proxy: s.proxy, who: &identity{}, role: route.Primary}
	early.home.Store(&stay{s.loops[0]})
	s.proxy.clients.Add(1)
	s.proxy.sessions.add(early, 0)
	early.post(func() { early.cancelQuery(func() {}) })
	early.post(early.drain)
	early.post(early.shutdown)
	c := dialTo(t, s.primary)
	eventually(t, "accepted", func() bool { return s.proxy.Clients() == 2 })
	close(release)
	s.onLoops(func(*loop.Loop) {})
	if early.phase != resting || s.proxy.Clients() != 2 {
		t.Errorf("phase %v, %d clients: a session ended before it began", early.phase, s.proxy.Clients())
	}
	early.forget()
	c.conn.Close()
}
