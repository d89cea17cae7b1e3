package proxy

import (
	"slices"
	"testing"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/pool"
)

// TestHeldBackInAFailedBatch: what waits until all before it has been answered,
// behind a Query that PostgreSQL skips because of an error in its batch, goes on.
func TestHeldBackInAFailedBatch(t *testing.T) {
	t.Run("statement mode", func(t *testing.T) {
		s := newSite(t, plan{pool: func(set *pool.Settings) { set.Mode = pool.StatementMode }})
		failedBatch(t, login(t, s.primary), "SELECT 2")
	})
	for _, mode := range []pool.Mode{pool.SessionMode, pool.TransactionMode} {
		t.Run("RESET in mode "+mode.String(), func(t *testing.T) {
			s := newSite(t, plan{pool: func(set *pool.Settings) { set.Mode = mode }})
			failedBatch(t, login(t, s.primary, "DateStyle", "German"), "RESET ALL")
		})
	}
}

// failedBatch has last stand behind a Query in a batch that fails before both.
func failedBatch(t *testing.T, c *client, last string) {
	t.Helper()
	c.send(pgscript.Parse("", "SELECT $1::int"), pgscript.Message('D', []byte("Pnothing\x00")), pgscript.Query("SELECT 1"), pgscript.Query(last),
		pgscript.Sync(), pgscript.Query("SHOW DateStyle"))
	if a, b := c.answer(), c.answer(); a.types != "1EZ" || b.types != "TDCZ" {
		t.Errorf("got %q %v, %q %v", a.types, a.err, b.types, b.err)
	}
}

// TestHeldBackBehindTheEnd: what was held back when the client has finished sending,
// a batch without a Sync, does not keep the server.
func TestHeldBackBehindTheEnd(t *testing.T) {
	batch := slices.Concat(pgscript.Parse("", "SELECT 2"), pgscript.Bind("", ""), pgscript.Execute(""))
	for name, first := range map[string]string{"statement": "SELECT pg_sleep(0.1)", "session": "RESET ALL"} {
		t.Run(name+" mode", func(t *testing.T) {
			s := newSite(t, plan{pool: func(set *pool.Settings) {
				if name == "statement" {
					set.Mode = pool.StatementMode
				}
			}})
			c := login(t, s.primary, "DateStyle", "German")
			c.send(slices.Concat(pgscript.Query(first), batch))
			c.closeWrite()
			c.answer()
			c.receive() // of the batch, what comes without a Sync
			if r := login(t, s.primary).query("SELECT 'free'"); !slices.Equal(r.rows, []string{"free"}) {
				t.Errorf("got %q %v", r.types, r.err)
			}
		})
	}
}
