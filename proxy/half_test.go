package proxy

import (
	"slices"
	"testing"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/pool"
)

// TestLeavesHalfAMessage: a server that has got half a message of COPY data, which it
// would pass over because the COPY has failed, waits for the other half. It is not
// lent to anybody.
func TestLeavesHalfAMessage(t *testing.T) {
	for _, mode := range []pool.Mode{pool.SessionMode, pool.TransactionMode, pool.StatementMode} {
		t.Run(mode.String(), func(t *testing.T) {
			s := newSite(t, plan{pool: func(set *pool.Settings) { set.Mode, set.ServerResetQuery = mode, "" }})
			first := login(t, s.primary)
			first.exec("CREATE TABLE IF NOT EXISTS sink (n int)")
			first.leave()
			c := login(t, s.primary)
			c.send(pgscript.Query("COPY sink FROM STDIN"), pgscript.Message('d', []byte("bad\n")), []byte("d\x00\x01\x00\x00"), make([]byte, 40_000))
			c.answer()
			c.closeWrite()
			c.gone()
			next := login(t, s.primary)
			if r := next.query("SELECT 'whole'"); !slices.Equal(r.rows, []string{"whole"}) {
				t.Errorf("the next client got %q %v", r.types, r.err)
			}
			next.leave()
		})
	}
}
