package proxy

import (
	"testing"

	"github.com/pgvip/pgvip/pool"
)

// TestServerFastClose: RECONNECT ends sessions between transactions, and those in
// one when it is over; without the setting both keep their servers.
func TestServerFastClose(t *testing.T) {
	t.Run("off", func(t *testing.T) { testReconnect(t, false) })
	t.Run("on", func(t *testing.T) { testReconnect(t, true) })
}

func testReconnect(t *testing.T, fast bool) {
	s := newSite(t, plan{pool: func(set *pool.Settings) { set.PoolSize, set.ServerFastClose = 3, fast }})
	idle, busy, unbound := login(t, s.primary), login(t, s.primary), login(t, s.primary)
	idle.exec("SELECT 1")
	busy.exec("BEGIN")
	s.pools.Reconnect("")
	if !fast {
		idle.exec("SELECT 2")
		busy.exec("COMMIT")
		busy.exec("SELECT 3")
	} else {
		if code := idle.fatal(); code != "57P01" {
			t.Errorf("an idle session got %s, want 57P01", code)
		}
		busy.exec("SELECT 2")
		busy.exec("COMMIT")
		if code := busy.fatal(); code != "57P01" {
			t.Errorf("a session after its transaction got %s, want 57P01", code)
		}
	}
	unbound.exec("SELECT 4")
}
