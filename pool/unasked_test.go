package pool

import (
	"strings"
	"testing"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/wire"
)

// TestUnaskedWhileIdle: a notice that nobody asked for is nobody's, and a parameter
// that changes is noted for the next client; the server is used on.
func TestUnaskedWhileIdle(t *testing.T) {
	ready := make(chan struct{})
	notice := pgscript.Message('N', []byte("SNOTICE\x00VNOTICE\x00C00000\x00Mfor nobody\x00\x00"))
	changed := wire.AppendParameterStatus(nil, wire.Param{Name: "TimeZone", Value: "Mars/Olympus"})
	server := pgscript.Serve(t, pgscript.AcceptLogin(), pgscript.Wait(ready), pgscript.Send(notice, changed), answer("SELECT 1"), pgscript.ExpectGone())
	r := newRig(t, server.Addr, usual())
	r.lend().release()
	close(ready)
	r.eventually("the parameter is noted", func() bool {
		if len(r.pool.idle) == 0 {
			return false // and never will be
		}
		value, _ := lookup(r.pool.idle[0].reported, "TimeZone")
		return value == "Mars/Olympus"
	})
	b := r.lend()
	b.send(pgscript.Query("SELECT 1"))
	r.eventually("it is answered", func() bool { return b.ready == 1 })
	r.do(func() {
		if got := string(b.got); strings.Contains(got, "for nobody") || !strings.Contains(got, "Mars/Olympus") {
			t.Errorf("the next client is told %q", got)
		}
	})
	if got := r.set.counters.ServerLogins.Load(); got != 1 {
		t.Errorf("%d logins, want 1", got)
	}
}
