package e2e

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// beyondFloor is how much longer than the database itself, and the time in which
// work was held for it, clients may be without an answer; the best of some
// switchovers has to meet it, and each followLoaded.
const beyondFloor = 100 * time.Millisecond

// patientHold is switchover_hold where other tests keep the machine so busy that
// Patroni takes longer than half a second to stop PostgreSQL.
const patientHold = "5s"

// TestSwitchoverUnderLoad: nobody hears of a switchover whose statements and
// transactions are shorter than the time between its announcement and the moment
// at which PostgreSQL closes.
func TestSwitchoverUnderLoad(t *testing.T) {
	p := pgvip(t, 60, settings{"pool_mode": "transaction", "default_pool_size": "4", "switchover_hold": patientHold})
	p.ready(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*switchoverLimit)
	defer cancel()
	l := startLoad(ctx, t, p, 8, 2*time.Millisecond)
	var moments []moment
	for range 2 {
		l.goesOn(t, 100)
		moments = append(moments, move(ctx, t, p))
		l.goesOn(t, 100)
	}
	l.stop()
	best := time.Hour
	for _, m := range moments {
		outage := l.outage(m.held.Add(-time.Second), m.writable.Add(followLoaded))
		over := outage - m.floor() - m.lead()
		t.Logf("outage_ms=%d floor_ms=%d lead_ms=%d over_ms=%d", outage.Milliseconds(), m.floor().Milliseconds(), m.lead().Milliseconds(), over.Milliseconds())
		best = min(best, over)
		if over > followLoaded {
			t.Errorf("writes stopped for %v, want at most %v + %v + %v", outage, m.floor(), m.lead(), followLoaded)
		}
	}
	if best > beyondFloor {
		t.Errorf("at best writes stopped for %v longer than the database and the hold, want at most %v", best, beyondFloor)
	}
	for _, f := range l.failures() {
		t.Errorf("write %d at %v failed: %v", f.id, f.at.Format(logTime), f.err)
	}
	l.audit(ctx, t, p.cluster)
	if !strings.Contains(p.log.String(), "servers were warmed for the new primary") {
		t.Error("nothing was warmed")
	}
}

// moment are the times of one switchover.
type moment struct {
	held     time.Time // pgvip's log: announced
	closed   time.Time // the old primary has closed a connection
	writable time.Time // the new one takes writes
}

func (m moment) floor() time.Duration { return m.writable.Sub(m.closed) }
func (m moment) lead() time.Duration  { return max(0, m.closed.Sub(m.held)) }

// logTime is how the log writes the time.
const logTime = "2006-01-02T15:04:05.000Z0700"

// move makes one switchover and watches both nodes beside pgvip.
func move(ctx context.Context, t *testing.T, p *process) moment {
	t.Helper()
	leader, err := p.cluster.WaitLeader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cluster.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	to := replicaOf(p.cluster, leader)
	before := len(p.log.String())
	var m moment
	var wg sync.WaitGroup
	witness, err := pgx.Connect(ctx, url(leader.Postgres.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer witness.Close(ctx)
	wg.Go(func() { _, _ = witness.WaitForNotification(ctx); m.closed = time.Now() })
	wg.Go(func() { m.writable = awaitWritable(ctx, t, to) })
	if err := p.cluster.Switchover(ctx, to.Name); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	m.held = p.logged(t, before, "switchover announced")
	return m
}

// logged is when the first line with this text was written behind a place in the
// log.
func (p *process) logged(t *testing.T, from int, text string) time.Time {
	t.Helper()
	for line := range strings.Lines(p.log.String()[from:]) {
		if strings.Contains(line, text) {
			at, err := time.Parse(logTime, strings.Fields(line)[0])
			if err != nil {
				t.Fatal(err)
			}
			return at
		}
	}
	t.Fatalf("the log does not say %q", text)
	return time.Time{}
}

// TestSwitchoverEndsWhatIsLonger: a transaction that goes on when PostgreSQL closes,
// and a session that has a server, get PostgreSQL's own 57P01; a client without a
// server is moved without a word (rule 28).
func TestSwitchoverEndsWhatIsLonger(t *testing.T) {
	pooled, sessions := pgvip(t, 63, settings{"pool_mode": "transaction"}), pgvip(t, 64, settings{"pool_mode": "session"})
	pooled.ready(t)
	sessions.ready(t)
	ctx, cancel := context.WithTimeout(t.Context(), switchoverLimit)
	defer cancel()
	open, running, resting := connect(t, pooled.primary), connect(t, pooled.primary), connect(t, pooled.primary)
	bound, unbound := connect(t, sessions.primary), connect(t, sessions.primary)
	for _, conn := range []*pgx.Conn{open, resting, bound} {
		if _, err := conn.Exec(ctx, "SELECT 1"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := open.Exec(ctx, "BEGIN"); err != nil {
		t.Fatal(err)
	}
	slept := make(chan error, 1)
	go func() {
		_, err := running.Exec(ctx, "SELECT pg_sleep(60)")
		slept <- err
	}()
	move(ctx, t, pooled)
	_, commit := open.Exec(ctx, "COMMIT")
	_, next := bound.Exec(ctx, "SELECT 1")
	for name, err := range map[string]error{"open transaction": commit, "running query": <-slept, "session": next} {
		if sqlstate(err) != "57P01" || explained(err) != "FATAL | 57P01 | terminating connection due to administrator command |  | " {
			t.Errorf("%s: %s, want PostgreSQL's own 57P01", name, explained(err))
		}
	}
	for name, conn := range map[string]*pgx.Conn{"rests": resting, "has had no server": unbound} {
		var recovery bool
		if err := conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&recovery); err != nil || recovery {
			t.Errorf("client that %s: %v, recovery %t", name, err, recovery)
		}
	}
}
