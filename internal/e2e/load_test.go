package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgvip/pgvip/internal/lab"
)

// A load of writers, each with rising ids of its own. What was acknowledged must be
// in the table once, and what was not at most once.

// writer is one client.
type writer struct {
	name  int
	done  []time.Time // when each of its acknowledged writes ended
	acked []int
	fails []failure
}

// failure is a write that came to nothing.
type failure struct {
	id   int
	at   time.Time
	code string
	err  error
}

// load is a number of writers that go on until stop.
type load struct {
	table   string
	writers []*writer
	running sync.WaitGroup
	ending  chan struct{}
	acks    atomic.Int64
}

// startLoad begins n writers on p, of which every second one writes in
// transactions of two statements. Each rests for pause after a write.
func startLoad(ctx context.Context, t *testing.T, p *process, n int, pause time.Duration) *load {
	t.Helper()
	l := &load{table: "load_" + strings.ToLower(t.Name()), ending: make(chan struct{})}
	conn := connect(t, p.primary)
	if _, err := conn.Exec(ctx, "DROP TABLE IF EXISTS "+l.table+"; CREATE TABLE "+l.table+" (writer int, id int)"); err != nil {
		t.Fatal(err)
	}
	conn.Close(ctx)
	for i := range n {
		w := &writer{name: i}
		l.writers = append(l.writers, w)
		l.running.Go(func() { l.write(ctx, p, w, pause) })
	}
	return l
}

// write goes on after an error, on a new connection.
func (l *load) write(ctx context.Context, p *process, w *writer, pause time.Duration) {
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			conn.Close(context.WithoutCancel(ctx))
		}
	}()
	for id := 1; ctx.Err() == nil; id++ {
		select {
		case <-l.ending:
			return
		case <-time.After(pause):
		}
		var err error
		if conn == nil || conn.IsClosed() {
			conn, err = pgx.Connect(ctx, url(p.primary))
		}
		if err == nil {
			err = l.one(ctx, conn, w, id)
		}
		now := time.Now()
		if err != nil {
			w.fails = append(w.fails, failure{id, now, sqlstate(err), err})
			continue
		}
		w.acked, w.done = append(w.acked, id), append(w.done, now)
		l.acks.Add(1)
	}
}

func (l *load) one(ctx context.Context, conn *pgx.Conn, w *writer, id int) error {
	insert := fmt.Sprintf("INSERT INTO %s VALUES (%d, %d)", l.table, w.name, id)
	if w.name%2 == 0 {
		_, err := conn.Exec(ctx, insert)
		return err
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "SELECT 1"); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, insert); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// goesOn waits until so many more writes have been acknowledged.
func (l *load) goesOn(t *testing.T, more int64) {
	t.Helper()
	from := l.acks.Load()
	for start := time.Now(); l.acks.Load() < from+more; <-time.After(5 * time.Millisecond) {
		if time.Since(start) > switchoverLimit {
			t.Fatalf("no more than %d writes in %v", l.acks.Load()-from, switchoverLimit)
		}
	}
}

// stop ends the writers.
func (l *load) stop() {
	close(l.ending)
	l.running.Wait()
}

// failures are those of all writers, in order of time.
func (l *load) failures() []failure {
	var all []failure
	for _, w := range l.writers {
		all = append(all, w.fails...)
	}
	slices.SortFunc(all, func(a, b failure) int { return a.at.Compare(b.at) })
	return all
}

// outage is the longest time between from and to in which no write was
// acknowledged.
func (l *load) outage(from, to time.Time) time.Duration {
	var ends []time.Time
	for _, w := range l.writers {
		ends = append(ends, w.done...)
	}
	slices.SortFunc(ends, time.Time.Compare)
	longest := time.Duration(0)
	for i := 1; i < len(ends); i++ {
		if ends[i].After(from) && ends[i-1].Before(to) {
			longest = max(longest, ends[i].Sub(ends[i-1]))
		}
	}
	return longest
}

// audit compares what was acknowledged with what is there.
func (l *load) audit(ctx context.Context, t *testing.T, c *lab.Cluster) {
	t.Helper()
	leader, err := c.WaitLeader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(ctx, url(leader.Postgres.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "SELECT writer, id, count(*) FROM "+l.table+" GROUP BY writer, id")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[[2]int]int)
	for rows.Next() {
		var writer, id, count int
		if err := rows.Scan(&writer, &id, &count); err != nil {
			t.Fatal(err)
		}
		found[[2]int{writer, id}] = count
		if count > 1 {
			t.Errorf("write %d of writer %d is there %d times", id, writer, count)
		}
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	for _, w := range l.writers {
		for _, id := range w.acked {
			if found[[2]int{w.name, id}] == 0 {
				t.Errorf("write %d of writer %d was acknowledged and is lost", id, w.name)
			}
		}
	}
}
