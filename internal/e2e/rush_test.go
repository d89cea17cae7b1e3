package e2e

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
)

// rush is how many clients come at once.
const rush = 5000

// TestRushAfterACrash: five thousand clients log in at the moment of PostgreSQL's
// death, and all are served when it is back: none hears of a limit of the server's.
func TestRushAfterACrash(t *testing.T) {
	p := pgvip(t, 62, settings{
		"pool_mode": "transaction", "default_pool_size": "200", "auth_type": "trust", "client_login_timeout": "60s",
		"databases":       fmt.Sprintf("{%s: {user: %s, password: %s}}", lab.AppDatabase, lab.AppUser, lab.AppPassword),
		"log_connections": "false", "log_disconnections": "false",
	})
	p.ready(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*switchoverLimit)
	defer cancel()
	leader, err := p.cluster.WaitLeader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := leader.Postgres.Kill(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	took := make([]time.Duration, rush)
	errs := make(chan error, rush) // one from each client
	var wg sync.WaitGroup
	for i := range rush {
		wg.Go(func() {
			err := visit(p.primary)
			took[i] = time.Since(began)
			errs <- err
		})
	}
	back := awaitBack(ctx, t, leader.Postgres.Addr).Sub(began)
	wg.Wait()
	close(errs)
	failed := map[string]int{}
	for err := range errs {
		if err != nil {
			failed[err.Error()]++
		}
	}
	if len(failed) > 0 {
		t.Errorf("failed: %v", failed)
	}
	slices.Sort(took)
	t.Logf("clients=%d floor_ms=%d p50_ms=%d p99_ms=%d max_ms=%d", rush, back.Milliseconds(),
		took[rush/2].Milliseconds(), took[rush*99/100].Milliseconds(), took[rush-1].Milliseconds())
	if err := p.cluster.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
}

// visit logs in, runs one query, which takes long enough for the pool to grow to
// what PostgreSQL has room for, and leaves.
func visit(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, switchoverLimit)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(switchoverLimit))
	body := "\x00\x03\x00\x00user\x00" + lab.AppUser + "\x00database\x00" + lab.AppDatabase + "\x00\x00"
	if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...)); err != nil {
		return err
	}
	in := bufio.NewReaderSize(conn, 1024)
	if err := readyIn(in); err != nil {
		return fmt.Errorf("login: %w", err)
	}
	if _, err := io.WriteString(conn, "Q\x00\x00\x00\x19SELECT pg_sleep(0.1)\x00"); err != nil {
		return err
	}
	if err := readyIn(in); err != nil {
		return fmt.Errorf("query: %w", err)
	}
	_, err = io.WriteString(conn, "X\x00\x00\x00\x04")
	return err
}

// readyIn reads up to a ReadyForQuery; an ErrorResponse is an error.
func readyIn(in *bufio.Reader) error {
	for {
		var head [5]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return err
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(in, body); err != nil {
			return err
		}
		switch head[0] {
		case 'E':
			return fmt.Errorf("%q", body)
		case 'Z':
			return nil
		}
	}
}
