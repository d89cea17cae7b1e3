package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// afterCrash is how much longer than the database itself clients may be without an
// answer after it has died; the best of some deaths has to meet it, and each
// followLoaded.
const afterCrash = 300 * time.Millisecond

// TestPrimaryKilled: PostgreSQL dies under load, and Patroni starts it again. Those
// whose transaction was under way are told so, the others wait, and no write is lost
// or made twice (rule 29).
func TestPrimaryKilled(t *testing.T) {
	const servers, deaths = 4, 2
	p := pgvip(t, 61, settings{"pool_mode": "transaction", "default_pool_size": "4"})
	p.ready(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*switchoverLimit)
	defer cancel()
	l := startLoad(ctx, t, p, 16, 2*time.Millisecond)
	var killed, back []time.Time
	for range deaths {
		l.goesOn(t, 100)
		leader, err := p.cluster.WaitLeader(ctx)
		if err != nil {
			t.Fatal(err)
		}
		killed = append(killed, time.Now())
		if err := leader.Postgres.Kill(); err != nil {
			t.Fatal(err)
		}
		back = append(back, awaitBack(ctx, t, leader.Postgres.Addr))
		l.goesOn(t, 100)
		if err := p.cluster.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
	}
	l.stop()
	best := time.Hour
	for i := range killed {
		floor := back[i].Sub(killed[i])
		outage := l.outage(killed[i].Add(-100*time.Millisecond), back[i].Add(followLoaded))
		t.Logf("outage_ms=%d floor_ms=%d", outage.Milliseconds(), floor.Milliseconds())
		best = min(best, outage-floor)
		if outage-floor > followLoaded {
			t.Errorf("writes stopped for %v, want at most %v + %v", outage, floor, followLoaded)
		}
		failed := 0
		for _, f := range l.failures() {
			if f.at.After(killed[i]) && (i+1 == len(killed) || f.at.Before(killed[i+1])) {
				failed++
				t.Logf("%v after the death: %v", f.at.Sub(killed[i]), f.err)
			}
		}
		if failed > servers {
			t.Errorf("%d writes failed, want at most the %d that had a server", failed, servers)
		}
	}
	if best > afterCrash {
		t.Errorf("at best writes stopped for %v longer than the database, want at most %v", best, afterCrash)
	}
	if n := len(l.failures()); n > deaths*servers {
		t.Errorf("%d writes failed in all, want at most %d", n, deaths*servers)
	}
	l.audit(ctx, t, p.cluster)
}

// awaitBack tries to log in to a node, and returns the moment at which it takes
// writes again.
func awaitBack(ctx context.Context, t *testing.T, addr string) time.Time {
	t.Helper()
	for ctx.Err() == nil {
		var recovery bool
		conn, err := pgx.Connect(ctx, url(addr))
		if err == nil {
			err = conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&recovery)
			conn.Close(ctx)
		}
		if err == nil && !recovery {
			return time.Now()
		}
		<-time.After(5 * time.Millisecond)
	}
	t.Fatal("the primary does not come back")
	return time.Time{}
}
