package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgvip/pgvip/internal/lab"
)

// TestRunOnCluster: what "pgvip run" promises its operator, on the smallest
// cluster there is. Each subtest has a pgvip of its own.
func TestRunOnCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a cluster")
	}
	c := lab.StartT(t, lab.Options{Nodes: 1})
	verifier, err := c.Nodes[0].Postgres.Verifier(t.Context(), lab.AppUser)
	if err != nil {
		t.Fatal(err)
	}
	for n, tt := range []struct {
		name, more string
		password   string // of the probe
		test       func(*testing.T, *child, *door)
	}{
		{"drains", "", lab.ProbePassword, testDrain},
		{"second signal ends it at once", "", lab.ProbePassword, testSecondSignal},
		{"drain_timeout ends it", "drain_timeout: 300ms\n", lab.ProbePassword, testDrainTimeout},
		{"console shows", consoleSettings, lab.ProbePassword, testConsoleShows},
		{"console commands", consoleSettings, lab.ProbePassword, testConsoleCommands},
		{"console and servers", consoleSettings, lab.ProbePassword, testConsoleServers},
		{"SIGINT waits for servers", consoleSettings, lab.ProbePassword, testWaitForServers},
		{"RECONNECT ends sessions", "server_fast_close: true\n", lab.ProbePassword, testFastClose},
		{"SHUTDOWN at once", consoleSettings, lab.ProbePassword, testShutdownNow},
		{"operators' port", "admin:\n  token: s3cret\n  user: op\n  password: look\n", lab.ProbePassword, testOperatorsPort},
		{"wrong probe password", "", "wrong", testWrongProbePassword},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := &door{t: t, host: c.Host(n), dir: t.TempDir()}
			file := writeConfig(t, fmt.Sprintf(gateConfig, c.Scope, c.Namespace, c.EtcdEndpoints()[0],
				net.JoinHostPort(d.host, "5000"), net.JoinHostPort(d.host, "5001"),
				net.JoinHostPort(d.host, "7000")+"\n  unix_socket_dir: "+d.dir, "users.txt", lab.ProbeUser, tt.password)+tt.more)
			d.file = file
			users := filepath.Join(filepath.Dir(file), "users.txt")
			if err := os.WriteFile(users, fmt.Appendf(nil, "%q %q\n", lab.AppUser, verifier), 0o600); err != nil {
				t.Fatal(err)
			}
			c := startChild(t, file, "")
			c.says("pgvip is serving")
			tt.test(t, c, d)
		})
	}
}

// door is where a child serves.
type door struct {
	t         *testing.T
	host, dir string // of its TCP ports and of its Unix sockets
	file      string // its configuration
}

// connect logs in through one of the two.
func (d *door) connect(ctx context.Context, host string) *pgx.Conn {
	d.t.Helper()
	conn, err := d.try(ctx, host)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// try is connect for those who expect an error.
func (d *door) try(ctx context.Context, host string) (*pgx.Conn, error) {
	return pgx.Connect(ctx, fmt.Sprintf("host=%s port=5000 user=%s password=%s dbname=%s sslmode=disable",
		host, lab.AppUser, lab.AppPassword, lab.AppDatabase))
}

// code gives the SQLSTATE that a connection ends with.
func code(ctx context.Context, conn *pgx.Conn) string {
	err := conn.PgConn().WaitForNotification(ctx)
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return fmt.Sprint(err)
}

func query(ctx context.Context, t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Errorf("%s: %v", sql, err)
	}
}

func testDrain(t *testing.T, c *child, d *door) {
	ctx, cancel := context.WithTimeout(t.Context(), childLimit)
	defer cancel()
	busy, idle := d.connect(ctx, d.host), d.connect(ctx, d.dir)
	query(ctx, t, idle, "SELECT 1")
	query(ctx, t, busy, "BEGIN")
	c.signal(syscall.SIGTERM)
	if got := code(ctx, idle); got != "57P01" {
		t.Errorf("idle client: %s, want 57P01", got)
	}
	if conn, err := net.Dial("tcp", net.JoinHostPort(d.host, "5000")); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("new client: %v, %v, want refused", conn, err)
	}
	query(ctx, t, busy, "CREATE TEMP TABLE drained (a int)")
	query(ctx, t, busy, "COMMIT")
	if got := code(ctx, busy); got != "57P01" {
		t.Errorf("client after its transaction: %s, want 57P01", got)
	}
	c.ends(codeFine)
	if left, err := os.ReadDir(d.dir); err != nil || len(left) != 0 {
		t.Errorf("sockets left behind: %v, %v", left, err)
	}
}

func testSecondSignal(t *testing.T, c *child, d *door) {
	ctx, cancel := context.WithTimeout(t.Context(), childLimit) // below drain_timeout
	defer cancel()
	busy := d.connect(ctx, d.host)
	query(ctx, t, busy, "BEGIN")
	c.signal(syscall.SIGTERM)
	c.says("stopping")
	c.signal(syscall.SIGHUP) // does not count
	c.says("reloaded")
	query(ctx, t, busy, "SELECT 1")
	c.signal(syscall.SIGTERM)
	if got := code(ctx, busy); got != "57P01" {
		t.Errorf("client in a transaction: %s, want 57P01", got)
	}
	c.ends(codeFine)
	c.wants("stopping at once")
}

func testDrainTimeout(t *testing.T, c *child, d *door) {
	ctx, cancel := context.WithTimeout(t.Context(), childLimit)
	defer cancel()
	busy := d.connect(ctx, d.dir)
	query(ctx, t, busy, "BEGIN")
	c.signal(syscall.SIGINT)
	if got := code(ctx, busy); got != "57P01" {
		t.Errorf("client in a transaction: %s, want 57P01", got)
	}
	c.ends(codeFine)
	c.wants("drain_timeout: ending the sessions that are left")
}

func testWrongProbePassword(t *testing.T, c *child, _ *door) {
	c.says("password authentication failed for user")
	c.says("check probe.user, probe.password")
	c.signal(syscall.SIGTERM)
	c.ends(codeFine)
	if printed := c.printed(); strings.Contains(printed, "wrong") || strings.Contains(printed, "primary proven") {
		t.Error("the log shows the password, or a primary that nobody has proven")
	}
}
