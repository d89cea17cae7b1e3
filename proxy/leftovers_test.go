package proxy

import (
	"bytes"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgvip/pgvip/internal/pgscript"
)

// leftovers are what a client can leave in its session.
var leftovers = []string{
	"CREATE TEMP TABLE left_behind (x int)",
	"SET work_mem = '7MB'",
	"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
	"LISTEN left_behind",
	"PREPARE left_behind AS SELECT 1",
	"DECLARE left_behind CURSOR WITH HOLD FOR SELECT 1",
	"SELECT pg_advisory_lock(4711)",
}

// untouched are questions about them, and the answers without any.
var untouched = map[string]string{
	"SELECT count(*) FROM pg_class WHERE relname = 'left_behind'": "0",
	"SHOW work_mem":                                             "4MB",
	"SHOW transaction_read_only":                                "off",
	"SELECT count(*) FROM pg_listening_channels()":              "0",
	"SELECT count(*) FROM pg_prepared_statements":               "0",
	"SELECT count(*) FROM pg_cursors":                           "0",
	"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'": "0",
}

// TestLeftoversOfTheVanished: nothing that a session has left, and committed, is
// there for the next one, in whatever state it was when its client vanished, and the
// server is used again.
func TestLeftoversOfTheVanished(t *testing.T) {
	pg := postgres(t, 0)
	for state, at := range map[string]struct {
		more []byte
		seen byte // type of the message that says it has come to that; of 0, none is waited for
	}{
		"idle":                             {pgscript.Query("SELECT 1"), 'Z'},
		"in a transaction":                 {pgscript.Query("BEGIN; SELECT 1"), 'Z'},
		"in a failed transaction":          {pgscript.Query("BEGIN; SELECT 1/0"), 'Z'},
		"in a query":                       {pgscript.Query("SELECT pg_sleep(600)"), 0},
		"in a query of a transaction":      {pgscript.Query("BEGIN; SELECT pg_sleep(600)"), 0},
		"in a large row":                   {pgscript.Query("SELECT repeat('x', 9000000)"), 'T'},
		"in a result":                      {pgscript.Query("SELECT generate_series(1, 10000000)"), 'D'},
		"with unread replies":              {append(pgscript.Query("SELECT 1"), pgscript.Query("SELECT 2")...), 0},
		"in COPY FROM STDIN":               {pgscript.Query("COPY left_behind FROM STDIN"), 'G'},
		"in COPY TO STDOUT":                {pgscript.Query("COPY (SELECT generate_series(1, 10000000)) TO STDOUT"), 'H'},
		"in a batch without a Sync":        {batch("SELECT 1", 'H'), 'C'},
		"in a failed batch without a Sync": {batch("SELECT 1/0", 'H'), 'E'},
	} {
		for name, mode := range modes {
			for _, how := range []string{"RST", "FIN"} {
				sleeps := bytes.Contains(at.more, []byte("pg_sleep"))
				if sleeps && how == "FIN" {
					continue // the client may still read: TestHalfClose
				}
				t.Run(state+", "+how+", "+name, func(t *testing.T) {
					s := newSite(t, plan{pool: mode})
					c := login(t, s.primary)
					backend := c.value("SELECT pg_backend_pid()")
					// LISTEN keeps the server for its client, in transaction mode too.
					c.exec("BEGIN; " + strings.Join(leftovers, "; ") + "; COMMIT")
					c.send(at.more)
					if c.await(at.seen); sleeps {
						pg.sleeping(t, 1)
					}
					departures[how](c)
					next := login(t, s.primary)
					if got := next.value("SELECT pg_backend_pid()"); got != backend {
						t.Error("the server was given up")
					}
					for sql, want := range untouched {
						if r := next.exec(sql); r.rows[0] != want || r.ready != 'I' {
							t.Errorf("%s = %s %c, want %s", sql, r.rows[0], r.ready, want)
						}
					}
					next.leave()
				})
			}
		}
	}
	pg.sleeping(t, 0)
}

// await reads up to a message of this type; of type 0, nothing.
func (c *client) await(typ byte) {
	c.t.Helper()
	for typ != 0 {
		var r reply
		if r.note(c.receive()); r.types[0] == typ {
			return
		}
	}
}

// TestListenThatNobodySaw: a function has run LISTEN on a shared server, where pgvip
// does not see it. What is then notified reaches no other client, whether the server
// is idle at that moment or is theirs, and the server is given up.
func TestListenThatNobodySaw(t *testing.T) {
	pg := postgres(t, 0)
	unseen := "DO $$ BEGIN EXECUTE 'LIS' || 'TEN news'; END $$"
	t.Run("idle", func(t *testing.T) {
		s := newSite(t, plan{pool: transactions})
		a, b := login(t, s.primary), login(t, s.primary)
		backend := a.value("SELECT pg_backend_pid()")
		a.exec(unseen)
		if got := b.value("SELECT count(*) FROM pg_listening_channels()"); got != "1" {
			t.Fatalf("%s channels: this tests nothing", got)
		}
		pg.ask(t, "NOTIFY news, 'for nobody'")
		eventually(t, "the server goes", func() bool {
			return pg.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE pid = "+backend) == "0"
		})
		if r := b.exec("SELECT 1"); len(r.notes) != 0 {
			t.Errorf("the next client hears %q", r.notes)
		}
	})
	t.Run("lent", func(t *testing.T) {
		s := newSite(t, plan{pool: transactions})
		a, b := login(t, s.primary), login(t, s.primary)
		a.exec(unseen)
		backend := b.exec("BEGIN; SELECT pg_backend_pid()").rows[0]
		pg.ask(t, "NOTIFY news, 'for nobody'")
		b.send(pgscript.Query("COMMIT"), pgscript.Query("SELECT 1")) // PostgreSQL tells it between the two
		if r1, r2 := b.answer(), b.answer(); len(r1.notes) != 0 || len(r2.notes) != 0 {
			t.Errorf("the next client hears %q %q", r1.notes, r2.notes)
		}
		eventually(t, "the server goes", func() bool { return b.value("SELECT pg_backend_pid()") != backend })
	})
	t.Run("its own", func(t *testing.T) {
		s := newSite(t, plan{pool: transactions})
		c := login(t, s.primary)
		for _, listen := range [][]byte{pgscript.Query("LISTEN news"), batch("LISTEN news", 'S')} {
			c.send(listen)
			c.answer()
			pg.ask(t, "NOTIFY news, 'hello'")
			for {
				m, ok := c.receive().(*pgproto3.NotificationResponse)
				if ok && m.Payload == "hello" {
					break
				}
				t.Fatalf("got %+v", m)
			}
			c.exec("DISCARD ALL")
		}
	})
}
