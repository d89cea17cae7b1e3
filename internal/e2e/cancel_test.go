package e2e

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// SQLSTATEs that the tests wait for; PostgreSQL documentation, appendix A.
const (
	queryCanceled     = "57014"
	cannotConnectNow  = "57P03"
	adminShutdown     = "57P01"
	tooManyConnection = "53300"
	invalidPassword   = "28P01"
	invalidCatalog    = "3D000"
)

// stormTime is how long the storm of cancel requests blows.
const stormTime = 3 * time.Second

func connect(t *testing.T, addr string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// cancelRequest sends the 16 bytes of a CancelRequest and waits until the
// server has closed, which means that it has dealt with them.
func cancelRequest(addr string, pid uint32, secret uint32) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	const cancelCode = 80877102 // 1234 << 16 | 5678
	msg := binary.BigEndian.AppendUint32(nil, 16)
	msg = binary.BigEndian.AppendUint32(msg, cancelCode)
	msg = binary.BigEndian.AppendUint32(msg, pid)
	msg = binary.BigEndian.AppendUint32(msg, secret)
	if _, err := conn.Write(msg); err != nil {
		return err
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("answer to a cancel request: %d bytes, %w", n, err)
	}
	return nil
}

// secretKey is the secret of a connection as the number of protocol 3.0.
func secretKey(c *pgconn.PgConn) uint32 {
	return binary.BigEndian.Uint32(c.SecretKey())
}

func TestCancelEndsTheQueryAndKeepsTheSession(t *testing.T) {
	p := sharedPgvip(t)
	for _, addr := range []string{p.primary, p.replicas} {
		conn := connect(t, addr)
		done := make(chan error, 1)
		start := time.Now()
		go func() {
			_, err := conn.Exec(t.Context(), "SELECT pg_sleep(30)")
			done <- err
		}()
		// The request may come before the query; then it does nothing.
		var err error
		for finished := false; !finished; {
			if e := cancelRequest(addr, conn.PgConn().PID(), secretKey(conn.PgConn())); e != nil {
				t.Fatal(e)
			}
			select {
			case err = <-done:
				finished = true
			case <-time.After(20 * time.Millisecond):
			}
		}
		if got := sqlstate(err); got != queryCanceled {
			t.Errorf("%s: cancelled query ended with %v, want %s", addr, err, queryCanceled)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: the cancel took %v", addr, took)
		}
		var one int
		if err := conn.QueryRow(t.Context(), "SELECT 1").Scan(&one); err != nil {
			t.Errorf("%s: the session did not survive: %v", addr, err)
		}
	}
}

func TestCancelWithAWrongKeyDoesNothing(t *testing.T) {
	p := sharedPgvip(t)
	conn := connect(t, p.primary)
	pid, secret := conn.PgConn().PID(), secretKey(conn.PgConn())
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), "SELECT pg_sleep(0.5)")
		done <- err
	}()
	for i := range uint32(32) {
		// Every bit of the secret counts, and so does the process id.
		if err := cancelRequest(p.primary, pid, secret^(1<<i)); err != nil {
			t.Fatal(err)
		}
		if err := cancelRequest(p.primary, pid^(1<<i), secret); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Errorf("a wrong key ended the query: %v", err)
	}
}

func TestCancelOfAnIdleClientDoesNothing(t *testing.T) {
	p := sharedPgvip(t)
	conn := connect(t, p.primary)
	for range 20 {
		if err := cancelRequest(p.primary, conn.PgConn().PID(), secretKey(conn.PgConn())); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "SELECT 1"); err != nil {
			t.Fatalf("a cancel of an idle client hit its next query: %v", err)
		}
	}
}

// TestCancelWhileQueued: rule 14, ERROR 57014 and the client stays.
func TestCancelWhileQueued(t *testing.T) {
	p := pgvip(t, 2, settings{"default_pool_size": "1"})
	p.ready(t)
	holder, waiter := connect(t, p.primary), connect(t, p.primary)
	if _, err := holder.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := waiter.Exec(t.Context(), "SELECT 2")
		done <- err
	}()
	var err error
	for finished := false; !finished; {
		if e := cancelRequest(p.primary, waiter.PgConn().PID(), secretKey(waiter.PgConn())); e != nil {
			t.Fatal(e)
		}
		select {
		case err = <-done:
			finished = true
		case <-time.After(20 * time.Millisecond):
		}
	}
	if got := sqlstate(err); got != queryCanceled {
		t.Errorf("cancelled while queued: %v, want %s", err, queryCanceled)
	}
	holder.Close(t.Context())
	if _, err := waiter.Exec(t.Context(), "SELECT 3"); err != nil {
		t.Errorf("the client did not stay: %v", err)
	}
}

// TestCancelStormHitsNobodyElse lets clients come, work and go on two servers,
// while their keys are used for cancels all the time, and late ones too. Those
// who were never cancelled by their own key must never see 57014.
func TestCancelStormHitsNobodyElse(t *testing.T) {
	p := pgvip(t, 3, settings{"default_pool_size": "2"})
	p.ready(t)
	ctx, cancel := context.WithTimeout(t.Context(), stormTime)
	defer cancel()
	var wg sync.WaitGroup
	var hit, cancels, quiet atomic.Int64

	// Targets: their keys are cancelled while they work and after they left.
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				conn, err := pgx.Connect(ctx, url(p.primary))
				if err != nil {
					continue
				}
				pid, secret := conn.PgConn().PID(), secretKey(conn.PgConn())
				var inner sync.WaitGroup
				inner.Go(func() {
					for range 10 {
						if cancelRequest(p.primary, pid, secret) == nil {
							cancels.Add(1)
						}
					}
				})
				if _, err := conn.Exec(ctx, "SELECT pg_sleep(0.002)"); sqlstate(err) == queryCanceled {
					hit.Add(1)
				}
				conn.Close(ctx)
				inner.Wait()
			}
		})
	}
	// The others share the two servers with them.
	for range 3 {
		wg.Go(func() {
			for ctx.Err() == nil {
				conn, err := pgx.Connect(ctx, url(p.primary))
				if err != nil {
					continue
				}
				for range 3 {
					if _, err := conn.Exec(ctx, "SELECT pg_sleep(0.001)"); sqlstate(err) == queryCanceled {
						t.Error("a cancel request hit another client's query")
					}
				}
				quiet.Add(1)
				conn.Close(ctx)
			}
		})
	}
	wg.Wait()
	t.Logf("%d cancels, %d hit their own query; %d other sessions", cancels.Load(), hit.Load(), quiet.Load())
	if cancels.Load() < 50 || hit.Load() == 0 || quiet.Load() < 20 {
		t.Error("too little happened for this test to mean anything")
	}
}
