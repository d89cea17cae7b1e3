package proxy

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/pool"
)

// TestRandomEnds: whatever a client has sent around a COPY, in whatever pieces, and
// however it leaves: the next client gets the server, or a new one, in step.
func TestRandomEnds(t *testing.T) {
	extended := func(sql string) []byte {
		return slices.Concat(pgscript.Parse("", sql), pgscript.Bind("", ""), pgscript.Execute(""))
	}
	words := []struct {
		name string
		b    []byte
	}{
		{"Q(COPY)", pgscript.Query("COPY sink FROM STDIN")},
		{"Q(COPY; SELECT)", pgscript.Query("COPY sink FROM STDIN; SELECT 1")},
		{"PBE(COPY)", extended("COPY sink FROM STDIN")},
		{"Q(SELECT)", pgscript.Query("SELECT 1")},
		{"PBE(SELECT)", extended("SELECT 1")},
		{"d", pgscript.Message('d', []byte("1\n"))},
		{"d(bad)", pgscript.Message('d', []byte("bad\n"))},
		{"c", pgscript.Message('c', nil)},
		{"f", pgscript.Message('f', []byte("x\x00"))},
		{"S", pgscript.Sync()},
		{"H", pgscript.Message('H', nil)},
	}
	leave := []struct {
		name string
		do   func(*client)
	}{
		{"FIN", (*client).closeWrite},
		{"RST", (*client).reset},
		{"close", func(c *client) { c.conn.Close() }},
		{"Terminate", func(c *client) {
			c.conn.Write(pgscript.Terminate()) // the connection may have ended already
			c.conn.Close()
		}},
	}
	for _, mode := range []pool.Mode{pool.SessionMode, pool.TransactionMode, pool.StatementMode} {
		t.Run(mode.String(), func(t *testing.T) {
			seed := rand.Uint64()
			t.Log("seed", seed)
			r := rand.New(rand.NewPCG(seed, 0))
			s := newSite(t, plan{pool: func(set *pool.Settings) { set.Mode = mode }})
			first := login(t, s.primary)
			first.exec("CREATE TABLE IF NOT EXISTS sink (n int)")
			first.leave()
			told := ""
			t.Cleanup(func() {
				if t.Failed() {
					t.Log("the last client:", told)
				}
			})
			for range 200 {
				c := login(t, s.primary)
				var story []string
				for range 1 + r.IntN(7) {
					w := words[r.IntN(len(words))]
					c.conn.Write(w.b) // as above
					story = append(story, w.name)
					if r.IntN(3) == 0 {
						login(t, s.primary).leave() // lets some time pass
						story = append(story, "...")
					}
				}
				end := leave[r.IntN(len(leave))]
				end.do(c)
				told = strings.Join(story, " ") + ", " + end.name
				next := login(t, s.primary)
				if reply := next.query("SELECT 'free'"); !slices.Equal(reply.rows, []string{"free"}) {
					t.Fatalf("got %q %v", reply.types, reply.err)
				}
				next.leave()
			}
		})
	}
}
