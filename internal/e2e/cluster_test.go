package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgvip/pgvip/internal/lab"
)

// clusterKey seals what the nodes of a test tell each other: 32 bytes, base64.
const clusterKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// nodeSettings make one pgvip of two that know each other, on the spare addresses
// self and other.
func nodeSettings(t *testing.T, self, other int, more settings) settings {
	t.Helper()
	c := cluster(t)
	s := settings{
		"peer_id":         fmt.Sprint(self),
		"cluster.name":    fmt.Sprintf("lb%d", self),
		"cluster.address": c.Host(self) + ":7946",
		"cluster.keys":    clusterKey,
		"cluster.peers":   fmt.Sprintf("{lb%d: {address: %q}}", other, c.Host(other)+":7946"),
	}
	for k, v := range more {
		s[k] = v
	}
	return s
}

// saying waits until the process has logged a text.
func (p *process) saying(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(readyLimit)
	for !strings.Contains(p.log.String(), text) {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			t.Fatalf("pgvip does not say %q\n%s", text, p.log.tail(logTail))
		}
	}
}

// TestCancelThroughTheOtherNode: a cancel request that comes to the wrong node ends
// the query all the same, before its connection is closed; a wrong key ends nothing.
func TestCancelThroughTheOtherNode(t *testing.T) {
	a := pgvip(t, 70, nodeSettings(t, 70, 71, nil))
	b := pgvip(t, 71, nodeSettings(t, 71, 70, nil))
	a.saying(t, "cluster: peer is here")
	b.saying(t, "cluster: peer is here")
	for _, addr := range []string{a.primary, a.replicas} {
		conn := connect(t, addr)
		key := conn.PgConn()
		done := make(chan error, 1)
		go func() {
			_, err := conn.Exec(t.Context(), "SELECT pg_sleep(30)")
			done <- err
		}()
		for i := range uint32(5) {
			if err := cancelRequest(b.primary, key.PID(), secretKey(key)^(1<<i)); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case err := <-done:
			t.Fatalf("a wrong key ended the query: %v", err)
		default:
		}
		if got := sqlstate(cancelUntil(t, b.primary, key, done)); got != queryCanceled {
			t.Errorf("the query ended with %q, want %s", got, queryCanceled)
		}
		var one int
		if err := conn.QueryRow(t.Context(), "SELECT 1").Scan(&one); err != nil {
			t.Errorf("the session did not survive: %v", err)
		}
	}
}

// cancelUntil sends cancel requests, the first of which may come before the query,
// until it has ended.
func cancelUntil(t *testing.T, addr string, key *pgconn.PgConn, done <-chan error) error {
	t.Helper()
	for {
		if err := cancelRequest(addr, key.PID(), secretKey(key)); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// crowdOf are clients of one node that hold a server each, or wait for one.
type crowdOf struct {
	holding atomic.Int64  // ever
	release chan struct{} // a token ends one transaction
	done    sync.WaitGroup
}

// hold has n clients of database sharing begin a transaction, which lasts until it is
// released, or the test has ended.
func hold(t *testing.T, addr string, n int) *crowdOf {
	t.Helper()
	c := &crowdOf{release: make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	for range n {
		conn, err := pgx.Connect(ctx, strings.Replace(url(addr), "/"+lab.AppDatabase+"?", "/sharing?", 1))
		if err != nil {
			t.Fatal(err)
		}
		c.done.Go(func() {
			defer conn.Close(context.Background())
			if _, err := conn.Exec(ctx, "BEGIN"); err != nil {
				return
			}
			c.holding.Add(1)
			select {
			case <-c.release:
				conn.Exec(ctx, "COMMIT")
				<-ctx.Done()
			case <-ctx.Done():
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		c.done.Wait()
	})
	return c
}

// await waits until so many hold a server.
func (c *crowdOf) await(t *testing.T, n int64, what string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for c.holding.Load() < n {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatalf("%s: %d have a server, want %d", what, c.holding.Load(), n)
		}
	}
}

// sharingPids are the backends of database sharing.
func sharingPids(t *testing.T, leader *lab.Node) map[string]bool {
	t.Helper()
	text, err := leader.Postgres.SQL(t.Context(), "postgres", "SELECT pid FROM pg_stat_activity WHERE datname = 'sharing'")
	if err != nil {
		t.Fatal(err)
	}
	pids := map[string]bool{}
	for _, pid := range strings.Fields(text) {
		pids[pid] = true
	}
	return pids
}

// TestLimitOfAllNodes: max_db_connections holds for two nodes together; one that is
// alone in use has nearly all of it; both have their part when both want it; one that
// is killed leaves all to the other.
func TestLimitOfAllNodes(t *testing.T) {
	const limit, reserve = 40, 2
	leader, err := cluster(t).WaitLeader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"DROP DATABASE IF EXISTS sharing", "CREATE DATABASE sharing"} {
		if _, err := leader.Postgres.SQL(t.Context(), "postgres", sql); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { leader.Postgres.SQL(context.Background(), "postgres", "DROP DATABASE sharing WITH (FORCE)") })
	more := settings{"databases": fmt.Sprintf("{sharing: {max_db_connections: %d, pool_size: 100}}", limit), "pool_mode": "transaction"}
	a := pgvip(t, 72, nodeSettings(t, 72, 73, more))
	b := pgvip(t, 73, nodeSettings(t, 73, 72, more))
	a.saying(t, "cluster: peer is here")
	b.saying(t, "cluster: peer is here")
	// Backends that are there in two looks: one that is just ending is in no more
	// than one of them.
	check := func(what string, want int) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; {
			before := sharingPids(t, leader)
			both := 0
			for pid := range sharingPids(t, leader) {
				if before[pid] {
					both++
				}
			}
			if both > limit {
				t.Fatalf("%s: %d backends, limit %d", what, both, limit)
			}
			if both == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d backends, want %d", what, both, want)
			}
		}
	}
	first := hold(t, a.primary, limit+10)
	first.await(t, limit-reserve, "alone")
	check("alone", limit-reserve)
	second := hold(t, b.primary, limit+10)
	second.await(t, reserve, "the other, while all is in use")
	check("both", limit)
	// The first ones end their transactions, and others take their place there.
	for range limit - reserve {
		first.release <- struct{}{}
	}
	second.await(t, limit/2-1, "the other, when there is room")
	check("both, evenly", limit)

	a.cmd.Process.Kill()
	<-a.done
	second.await(t, limit, "the one that is left")
	check("one is killed", limit)
}
