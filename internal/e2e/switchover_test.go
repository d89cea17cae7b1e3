package e2e

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgvip/pgvip/internal/lab"
)

const (
	// follow is how soon after a node becomes writable a new connection on the
	// port for writes reaches it.
	follow = 100 * time.Millisecond

	// followLoaded holds for every switchover, also when the two cores of the
	// machine are busy with other tests; the best one has to meet follow.
	followLoaded = time.Second

	probers         = 4
	switchoverLimit = 60 * time.Second
)

// answer is what a new connection on the port for writes came to.
type answer struct {
	began, ended time.Time
	node         string // address of the server
	recovery     bool
	err          error
}

// TestNewConnectionsFollowASwitchover moves the primary twice, while new
// connections come all the time.
func TestNewConnectionsFollowASwitchover(t *testing.T) {
	p := pgvip(t, 8, settings{})
	p.ready(t)
	best := time.Hour
	for range 2 {
		took := switchover(t, p)
		t.Logf("first new connection on the new primary %v after it became writable", took)
		if took > followLoaded {
			t.Errorf("a new connection took %v to reach the new primary, want at most %v", took, followLoaded)
		}
		best = min(best, took)
	}
	if best > follow {
		t.Errorf("at best a new connection took %v to reach the new primary, want at most %v", best, follow)
	}
}

// switchover makes one and returns how long after the new primary's becoming
// writable the first new connection reached it.
func switchover(t *testing.T, p *process) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), switchoverLimit)
	defer cancel()
	leader, err := p.cluster.WaitLeader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cluster.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	to := replicaOf(p.cluster, leader)

	stop := make(chan struct{})
	var answers []answer
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range probers {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a := ask(ctx, p.primary)
				mu.Lock()
				answers = append(answers, a)
				mu.Unlock()
			}
		})
	}
	var writable time.Time
	wg.Go(func() { writable = awaitWritable(ctx, t, to) })
	if err := p.cluster.Switchover(ctx, to.Name); err != nil {
		t.Error(err)
	}
	if err := p.cluster.WaitReady(ctx); err != nil {
		t.Error(err)
	}
	close(stop)
	wg.Wait()
	return judge(t, answers, to, writable)
}

// ask makes one new connection and asks where it is.
func ask(ctx context.Context, addr string) answer {
	a := answer{began: time.Now()}
	conn, err := pgx.Connect(ctx, url(addr))
	if err == nil {
		err = conn.QueryRow(ctx, "SELECT host(inet_server_addr()), pg_is_in_recovery()", pgx.QueryExecModeSimpleProtocol).Scan(&a.node, &a.recovery)
		conn.Close(ctx)
	}
	a.err, a.ended = err, time.Now()
	return a
}

// awaitWritable asks a node directly, every few milliseconds, and returns the
// moment at which it first was out of recovery.
func awaitWritable(ctx context.Context, t *testing.T, n *lab.Node) time.Time {
	conn, err := pgx.Connect(ctx, url(n.Postgres.Addr))
	if err != nil {
		t.Error(err)
		return time.Now()
	}
	defer conn.Close(ctx)
	for {
		var recovery bool
		if err := conn.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&recovery); err != nil {
			t.Error(err)
			return time.Now()
		}
		if !recovery {
			return time.Now()
		}
		<-time.After(2 * time.Millisecond)
	}
}

// judge: no new connection may end on a node in recovery, none may fail other
// than with the reason of a stopping primary, and those after the switchover
// are on the new one.
func judge(t *testing.T, answers []answer, to *lab.Node, writable time.Time) time.Duration {
	t.Helper()
	first := time.Time{}
	failed := map[string]int{}
	for _, a := range answers {
		switch {
		case a.err != nil:
			failed[sqlstate(a.err)]++
			if a.began.After(writable.Add(followLoaded)) {
				t.Errorf("a connection %v after the switchover failed: %v", a.began.Sub(writable), a.err)
			}
		case a.recovery:
			t.Errorf("a new connection reached %s, which is in recovery, %v after the switchover", a.node, a.ended.Sub(writable))
		case a.node == to.Postgres.Host:
			if first.IsZero() || a.ended.Before(first) {
				first = a.ended
			}
		case a.began.After(writable):
			t.Errorf("a new connection reached the old primary %v after the switchover", a.began.Sub(writable))
		}
	}
	t.Logf("%d new connections; failed while the primary moved: %v", len(answers), failed)
	if first.IsZero() {
		t.Fatal("no new connection reached the new primary")
	}
	return max(0, first.Sub(writable))
}

// TestReplicaDown: reads go on, on the replica that is left, and both are used
// again when the other is back.
func TestReplicaDown(t *testing.T) {
	p := pgvip(t, 9, settings{})
	p.ready(t)
	ctx, cancel := context.WithTimeout(t.Context(), switchoverLimit)
	defer cancel()
	leader, err := p.cluster.WaitLeader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	down := replicaOf(p.cluster, leader)
	if err := down.Kill(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := down.Start(ctx); err != nil {
			t.Fatal(err)
		}
		if err := p.cluster.WaitReady(ctx); err != nil {
			t.Fatal(err)
		}
		awaitNode(ctx, t, p, down)
	}()
	start := time.Now()
	failures := 0
	for range 100 {
		a := ask(ctx, p.replicas)
		switch {
		case a.err != nil:
			failures++
			t.Logf("%v after the node's death: %v", a.ended.Sub(start), a.err)
		case a.node == down.Postgres.Host:
			t.Errorf("reached the dead node %v after its death", a.ended.Sub(start))
		}
	}
	if failures > 0 {
		t.Errorf("%d of 100 new connections failed with a healthy replica left", failures)
	}
}

// awaitNode waits until the port for reads leads to a node again.
func awaitNode(ctx context.Context, t *testing.T, p *process, n *lab.Node) {
	t.Helper()
	for start := time.Now(); time.Since(start) < readyLimit; {
		if a := ask(ctx, p.replicas); a.err == nil && a.node == n.Postgres.Host {
			return
		}
	}
	t.Errorf("%s gets no reads %v after it is back", n.Name, readyLimit)
}
