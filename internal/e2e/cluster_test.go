package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
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
