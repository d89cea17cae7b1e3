package proxy

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/pool"
)

// TestSettle: what runs comes to its end, what is asked for meanwhile waits without
// a byte having left, and goes on when the address has not moved after all.
func TestSettle(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{pool: func(set *pool.Settings) {
		transactions(set)
		set.PoolSize = 3
	}})
	inside, idle := login(t, s.primary), login(t, s.primary)
	inside.exec("BEGIN")
	idle.exec("SELECT 1")
	settled := make(chan bool)
	go func() { settled <- s.proxy.Settle(t.Context()) }()
	eventually(t, "it begins", s.proxy.settling.Load)
	idle.send(pgscript.Query("SELECT 'held back'"))
	eventually(t, "a new request waits", func() bool { return s.phases()[parked] == 1 })
	select {
	case <-settled:
		t.Fatal("settled, with a transaction open")
	default:
	}
	if r := inside.exec("COMMIT"); r.tags[0] != "COMMIT" {
		t.Errorf("COMMIT = %+v", r)
	}
	if !<-settled {
		t.Error("not settled when the last transaction has ended")
	}
	if n := pg.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%held back%' AND pid <> pg_backend_pid()"); n != "0" {
		t.Errorf("%s requests have left", n)
	}
	s.proxy.Unsettle()
	if r := idle.answer(); r.rows[0] != "held back" {
		t.Errorf("the request that waited: %+v", r)
	}
	inside.exec("SELECT 1")
}

// TestSettleIsBounded, and clients of an address that has moved are told so, whether
// they were held back or are in the middle of something.
func TestSettleIsBounded(t *testing.T) {
	s := newSite(t, plan{pool: transactions})
	inside, waits := login(t, s.primary), login(t, s.primary)
	inside.exec("BEGIN")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if s.proxy.Settle(ctx) {
		t.Error("settled, with a transaction open")
	}
	waits.send(pgscript.Query("SELECT 1"))
	eventually(t, "a new request waits", func() bool { return s.phases()[parked] == 1 })
	s.proxy.EndMoved(func(netip.Addr) bool { return true }, false)
	for _, c := range []*client{inside, waits} {
		if got := c.fatal(); got != "57P01" {
			t.Errorf("SQLSTATE %q, want 57P01", got)
		}
	}
	s.proxy.Unsettle()
	login(t, s.primary).exec("SELECT 1")
}
