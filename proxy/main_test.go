package proxy

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/internal/lab"
)

// patience bounds everything that should take no time at all, so that a hang is
// an error. The machine may be busy with other tests.
const patience = 20 * time.Second

// world is what the tests of this package share. There is one, because a test
// function cannot be given arguments; TestMain ends it.
var world = &shared{}

// inTLS reports whether this run of the tests has every session, its client's leg
// and its server's, in TLS: make test runs them both ways.
func inTLS() bool { return os.Getenv("PGVIP_TEST_TLS") != "" }

// shared starts a server when a test first asks for it.
type shared struct {
	mu      sync.Mutex
	servers [2]*database // guarded by mu
}

// database is one real PostgreSQL, and a superuser's connection to look at it.
type database struct {
	*lab.Postgres
	mu      sync.Mutex
	monitor *dial.Conn // guarded by mu
}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := world.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "proxy:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func (w *shared) stop() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var first error
	for _, d := range w.servers {
		if d == nil {
			continue
		}
		d.monitor.Close()
		if err := d.Stop(); first == nil {
			first = err
		}
	}
	return first
}

// postgres returns the shared server n, 0 or 1.
func postgres(t testing.TB, n int) *database {
	t.Helper()
	lab.Require(t, lab.CheckInstalled)
	world.mu.Lock()
	defer world.mu.Unlock()
	if world.servers[n] == nil {
		d, err := startDatabase()
		if err != nil {
			t.Fatal(err)
		}
		world.servers[n] = d
	}
	return world.servers[n]
}

// deserted waits until no server has a client any more.
func (w *shared) deserted(t testing.TB) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.servers {
		if d != nil {
			eventually(t, "all backends end", func() bool { return d.backends(t) == "0" })
		}
	}
}

func startDatabase() (*database, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pg, err := lab.StartPostgres(ctx, lab.PostgresOptions{TLS: inTLS(), Parameters: map[string]string{
		"max_connections": "60",
		"wal_level":       "logical",
		"fsync":           "off",
	}})
	if err != nil {
		return nil, err
	}
	d := &database{Postgres: pg}
	if d.monitor, err = d.superuser(ctx); err == nil {
		_, err = d.monitor.Query(ctx, "CREATE TABLE things (id int, note text); GRANT ALL ON things TO PUBLIC;"+
			"GRANT CREATE ON SCHEMA public TO PUBLIC")
	}
	if err != nil {
		pg.Stop()
		return nil, err
	}
	return d, nil
}

func (d *database) superuser(ctx context.Context) (*dial.Conn, error) {
	return dial.Login(ctx, &dial.Config{Network: "tcp", Address: d.Addr, User: lab.Superuser, Database: lab.AppDatabase})
}

// reconnect replaces the superuser's connection, which a crash has ended.
func (d *database) reconnect(t testing.TB) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.monitor.Close()
	eventually(t, "PostgreSQL is back", func() bool {
		conn, err := d.superuser(t.Context())
		d.monitor = conn
		return err == nil
	})
}

// ask runs SQL as the superuser and returns the first value of the answer.
func (d *database) ask(t testing.TB, sql string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	rows, err := d.monitor.Query(ctx, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if len(rows) == 0 || len(rows[0]) == 0 {
		return ""
	}
	return rows[0][0].Text
}

// sleeping waits until n sessions are inside pg_sleep: a cancel request that
// comes before its query cancels nothing.
func (d *database) sleeping(t testing.TB, n int) {
	t.Helper()
	eventually(t, "queries run", func() bool {
		return d.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event = 'PgSleep'") == strconv.Itoa(n)
	})
}

// backends counts the sessions other than the superuser's.
func (d *database) backends(t testing.TB) string {
	t.Helper()
	return d.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename <> 'postgres'")
}

// eventually waits until a condition holds. Most become true by themselves
// within a millisecond; there is nothing to wait on but the condition.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
