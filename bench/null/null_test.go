package null

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a server for one test and returns "127.0.0.1:port".
func start(t *testing.T) (*Server, string) {
	t.Helper()
	s, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, s.Addr().String()
}

func connect(t *testing.T, address string, mode pgx.QueryExecMode) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig("postgres://app@" + address + "/app?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = mode
	c, err := pgx.ConnectConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.Background()) })
	return c
}

func TestPgxReadsRowsInEveryMode(t *testing.T) {
	_, address := start(t)
	modes := []pgx.QueryExecMode{
		pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec,
		pgx.QueryExecModeDescribeExec, pgx.QueryExecModeCacheStatement,
	}
	for _, mode := range modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			ctx, c := context.Background(), connect(t, address, mode)
			for range 3 {
				var balance int32
				err := c.QueryRow(ctx, "SELECT abalance FROM pgbench_accounts WHERE aid = $1", int32(7)).Scan(&balance)
				if err != nil || balance != 0 {
					t.Fatalf("abalance = %d, %v; want 0", balance, err)
				}
			}
			rows, err := c.Query(ctx, "SELECT null_rows(100, 1000)")
			if err != nil {
				t.Fatal(err)
			}
			texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil || len(texts) != 100 || texts[99] != strings.Repeat("x", 1000) {
				t.Fatalf("null_rows: %d rows, %v; want 100 of 1000 bytes", len(texts), err)
			}
		})
	}
}

func TestErrorHasItsSQLSTATEAndTheSessionGoesOn(t *testing.T) {
	_, address := start(t)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec} {
		ctx, c := context.Background(), connect(t, address, mode)
		_, err := c.Exec(ctx, "SELECT null_error('22012')")
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "22012" {
			t.Errorf("%v: error %v, want SQLSTATE 22012", mode, err)
		}
		var one int32
		if err := c.QueryRow(ctx, "SELECT 1").Scan(&one); err != nil || one != 1 {
			t.Errorf("%v: after the error: %d, %v; want 1", mode, one, err)
		}
	}
}

func TestTransactionStatusFollowsTheStatements(t *testing.T) {
	_, address := start(t)
	ctx, c := context.Background(), connect(t, address, pgx.QueryExecModeSimpleProtocol)
	steps := []struct {
		sql  string
		want byte
	}{
		{"BEGIN", 'T'}, {"SELECT 1", 'T'}, {"SELECT null_error('22012')", 'E'},
		{"SELECT 1", 'E'}, {"ROLLBACK", 'I'}, {"BEGIN; SELECT 1; COMMIT", 'I'},
	}
	for _, step := range steps {
		_, _ = c.Exec(ctx, step.sql) // two of them fail on purpose
		if got := c.PgConn().TxStatus(); got != step.want {
			t.Errorf("after %s: status %c, want %c", step.sql, got, step.want)
		}
	}
}

func TestHealthProbeFindsAHealthyPrimary(t *testing.T) {
	_, address := start(t)
	c := connect(t, address, pgx.QueryExecModeExec)
	if got := c.PgConn().ParameterStatus("in_hot_standby"); got != "off" {
		t.Errorf("in_hot_standby = %q, want off", got)
	}
	var (
		recovery bool
		system   int64
		timeline string
	)
	err := c.QueryRow(context.Background(), `SELECT r,
		(SELECT system_identifier FROM pg_catalog.pg_control_system()),
		CASE WHEN r THEN '' ELSE pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) END
		FROM (SELECT pg_catalog.pg_is_in_recovery() AS r) AS s`).Scan(&recovery, &system, &timeline)
	if err != nil || recovery || system != 7300000000000000001 || timeline != "00000001" {
		t.Errorf("probe = %v %v %v, %v; want false %s 00000001", recovery, system, timeline, err, SystemID)
	}
}

func TestSetIsReportedOnlyWhenItChanges(t *testing.T) {
	_, address := start(t)
	ctx, c := context.Background(), connect(t, address, pgx.QueryExecModeSimpleProtocol)
	for _, sql := range []string{"SET application_name = 'a'; SET TimeZone TO 'Europe/Berlin'", "SELECT 1"} {
		if _, err := c.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.PgConn().ParameterStatus("application_name"); got != "a" {
		t.Errorf("application_name = %q, want a", got)
	}
	if got := c.PgConn().ParameterStatus("TimeZone"); got != "Europe/Berlin" {
		t.Errorf("TimeZone = %q, want Europe/Berlin", got)
	}
	if _, err := c.Exec(ctx, "DISCARD ALL"); err != nil {
		t.Fatal(err)
	}
	if got := c.PgConn().ParameterStatus("application_name"); got != "" {
		t.Errorf("after DISCARD ALL: application_name = %q, want none", got)
	}
}

func TestCopyBothWays(t *testing.T) {
	_, address := start(t)
	ctx, c := context.Background(), connect(t, address, pgx.QueryExecModeSimpleProtocol)
	var out strings.Builder
	tag, err := c.PgConn().CopyTo(ctx, &out, "COPY (SELECT null_rows(3, 2)) TO STDOUT")
	if err != nil || out.String() != "xx\nxx\nxx\n" || tag.String() != "COPY 3" {
		t.Errorf("COPY TO = %q, %v, %v", out.String(), tag, err)
	}
	tag, err = c.PgConn().CopyFrom(ctx, strings.NewReader("1\n2\n"), "COPY t FROM STDIN")
	if err != nil || tag.String() != "COPY 1" { // pgx sends both lines in one CopyData
		t.Errorf("COPY FROM = %v, %v; want COPY 1", tag, err)
	}
}

func TestCancelRequestIsCountedAndClosed(t *testing.T) {
	s, address := start(t)
	c := connect(t, address, pgx.QueryExecModeSimpleProtocol)
	if err := c.PgConn().CancelRequest(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := s.Cancels(); got != 1 {
		t.Errorf("Cancels() = %d, want 1", got)
	}
}

func TestPsql(t *testing.T) {
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("psql is not installed")
	}
	_, address := start(t)
	host, port, _ := net.SplitHostPort(address)
	out, err := exec.Command(psql, "-X", "-At", "-h", host, "-p", port, "-U", "app", "-d", "app",
		"-c", "SELECT 42, 'two'", "-c", "SHOW server_version").CombinedOutput()
	if err != nil || string(out) != "42|two\n15.0 (null)\n" {
		t.Errorf("psql: %q, %v", out, err)
	}
}
