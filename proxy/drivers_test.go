package proxy

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/lib/pq"

	"github.com/pgvip/pgvip/internal/lab"
)

// url is for a driver that logs in as the trusted user.
func (s *site) url() string {
	return fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", lab.TrustUser, s.primary, lab.AppDatabase)
}

// TestPgxInTransactionMode: with its default settings pgx prepares what it runs
// and keeps it for the life of the connection.
func TestPgxInTransactionMode(t *testing.T) {
	s := newSite(t, plan{pool: prepared(2, 200)})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			conn, err := pgx.Connect(ctx, s.url())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close(ctx)
			for j := range 50 {
				if err := pgxRound(ctx, conn, i, j); err != nil {
					t.Errorf("client %d, round %d: %v", i, j, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// pgxRound is a query, a transaction and a batch, whose results must be its own.
func pgxRound(ctx context.Context, conn *pgx.Conn, i, j int) error {
	var got, twice int
	if err := conn.QueryRow(ctx, "SELECT $1::int * 1000 + $2::int", i, j).Scan(&got); err != nil {
		return err
	}
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, fmt.Sprintf("SELECT $1::int * 2 + %d", j%7), got).Scan(&twice)
	})
	if err != nil {
		return err
	}
	var batch pgx.Batch
	batch.Queue("SELECT $1::text", "x")
	batch.Queue(fmt.Sprintf("SELECT %d", j%5))
	if err := conn.SendBatch(ctx, &batch).Close(); err != nil {
		return err
	}
	if got != i*1000+j || twice != got*2+j%7 {
		return fmt.Errorf("got %d and %d", got, twice)
	}
	return nil
}

// TestLibPQInTransactionMode: lib/pq parses the unnamed statement in one round
// trip and binds it in the next.
func TestLibPQInTransactionMode(t *testing.T) {
	s := newSite(t, plan{pool: prepared(2, 200)})
	db, err := sql.Open("postgres", s.url())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	named, err := db.Prepare("SELECT $1::int + 1")
	if err != nil {
		t.Fatal(err)
	}
	defer named.Close()
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for j := range 30 {
				var a, b int
				if err := db.QueryRow("SELECT $1::int * 100 + $2::int", i, j).Scan(&a); err != nil || a != i*100+j {
					t.Errorf("unnamed: %d %v", a, err)
				}
				if err := named.QueryRow(a).Scan(&b); err != nil || b != a+1 {
					t.Errorf("named: %d %v", b, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestPgbenchPrepared: far more clients than servers. pgbench waits for the answer
// to a Parse with the whole thread, other clients' transactions with it: clients
// of transactions have threads of their own.
func TestPgbenchPrepared(t *testing.T) {
	bench, err := exec.LookPath("pgbench")
	if err != nil {
		t.Skip(err)
	}
	s := newSite(t, plan{pool: prepared(3, 200)})
	host, port, _ := net.SplitHostPort(s.primary)
	args := []string{"-h", host, "-p", port, "-U", lab.TrustUser}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for _, more := range [][]string{
		{"-i", "-q", "-s", "1"},
		{"-n", "-M", "prepared", "-S", "-c", "40", "-t", "50"},
		{"-n", "-M", "prepared", "-c", "30", "-j", "30", "-t", "10"},
		{"-n", "-M", "extended", "-c", "40", "-t", "20"},
		{"-n", "-M", "prepared", "-S", "-C", "-c", "10", "-t", "5"},
	} {
		out, err := exec.CommandContext(ctx, bench, append(append(args, more...), lab.AppDatabase)...).CombinedOutput()
		if err != nil {
			t.Fatalf("pgbench %v: %v\n%s", more, err, out)
		}
	}
}
