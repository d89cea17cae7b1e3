package console

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/lib/pq"

	"github.com/pgvip/pgvip/internal/lab"
)

// run runs a client program that finds the console by libpq's variables, and
// returns what it prints on both outputs.
func (s *site) run(t *testing.T, stdin string, name string, args ...string) string {
	t.Helper()
	lab.Require(t, lab.CheckInstalled)
	host, port, _ := net.SplitHostPort(s.addr)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "PGHOST="+host, "PGPORT="+port, "PGUSER=root", "PGDATABASE=pgbouncer", "PGSSLMODE=disable", "LANG=C.UTF-8")
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func sameText(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestPsql(t *testing.T) {
	s := newSite(t, 0)
	got := s.run(t, `SHOW VERSION;
SHOW STATE
;
SHOW USERS;
select lists;
BEGIN; COMMIT;
show nothing;
PAUSE app; RESUME app;
SET default_pool_size = 7;
SHOW CONFIG;
;
SHOW FDS;
`, "psql", "-X", "-A", "-t", "-v", "VERBOSITY=verbose")
	sameText(t, got, `PgBouncer 1.25.2 (pgvip 0.3)
active|yes
paused|no
suspended|no
joe|        5||transaction|0|0|0|0
ann||||0|0|0|0
databases|2
users|2
peers|0
pools|3
peer_pools|0
free_clients|90
used_clients|11
login_clients|0
free_servers|0
used_servers|0
dns_names|0
dns_zones|0
dns_queries|0
dns_pending|0
BEGIN
COMMIT
ERROR:  42601: invalid command 'show nothing;', use SHOW HELP;
PAUSE
RESUME
SET default_pool_size=7
default_pool_size|7|20|yes
max_client_conn|10000|10000|yes
max_user_connections|0|0|yes
listen_addr|*||no
ERROR:  0A000: SHOW FDS is not supported
HINT:  It would hand out sockets together with the passwords and keys of their users.
`)
}

func TestPsycopg2(t *testing.T) {
	sameText(t, newSite(t, 0).run(t, "", "/usr/bin/python3", "-B", "testdata/use_psycopg2.py"),
		`('PgBouncer 1.25.2 (pgvip 0.3)',)
['database', 'user', 'cl_active'] 3
('app', Decimal('1'), Decimal('20000'), Decimal('300000000'))
42601 ERROR:  invalid command 'SHOW NONSENSE', use SHOW HELP;
PAUSE
RESUME
SET ['NOTICE:  SET ignored']
`)
}

func TestPsycopg3(t *testing.T) {
	sameText(t, newSite(t, 0).run(t, "", "/usr/bin/python3", "-B", "testdata/use_psycopg3.py"),
		`('PgBouncer 1.25.2 (pgvip 0.3)',) INTRANS
IDLE
('app', 'ann', 1)
('app', 'ann', 1)
('app', Decimal('1'), Decimal('20000'), Decimal('300000000'))
('db1.example', 15, '10.0.0.11,10.0.0.12')
('app', '10.0.0.11', 5432, 'appdb', None)
42601 invalid command 'SHOW NONSENSE', use SHOW HELP;
42601 invalid command 'SHOW $1', use SHOW HELP;
42601 invalid command 'SET default_pool_size = $1', use SHOW HELP;
PAUSE [('active', 'yes'), ('paused', 'no'), ('suspended', 'no')] RESUME
`)
}

// TestPgx uses each of the five ways in which pgx runs a query.
func TestPgx(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			conn := newSite(t, 0).pgx(t, mode)
			if err := conn.Ping(t.Context()); err != nil {
				t.Errorf("ping: %v", err)
			}
			for range 2 { // the second time the statement is known
				rows, _ := conn.Query(t.Context(), "SHOW STATS_TOTALS")
				list, err := pgx.CollectRows(rows, pgx.RowToMap)
				if err != nil || len(list) != 2 {
					t.Fatalf("SHOW STATS_TOTALS: %d rows, %v", len(list), err)
				}
				if got := mustFloat(t, list[0]["query_count"]); got != 300000000 {
					t.Errorf("query_count = %v, want 300000000", got)
				}
				if got := mustFloat(t, list[0]["xact_count"]); got != 20000 {
					t.Errorf("xact_count = %v, want 20000", got)
				}
			}
			var e *pgconn.PgError
			if _, err := conn.Exec(t.Context(), "SHOW NOTHING"); !errors.As(err, &e) || e.Code != "42601" {
				t.Errorf("SHOW NOTHING: %v, want 42601", err)
			}
			tx, err := conn.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if tag, err := tx.Exec(t.Context(), "RECONNECT app"); err != nil || tag.String() != "RECONNECT" {
				t.Errorf("RECONNECT: %v, %v", tag, err)
			}
			if err := tx.Commit(t.Context()); err != nil {
				t.Errorf("commit: %v", err)
			}
		})
	}
}

// mustFloat reads a numeric, which pgx gives as pgtype.Numeric.
func mustFloat(t *testing.T, v any) float64 {
	t.Helper()
	n, ok := v.(pgtype.Numeric)
	if !ok {
		t.Fatalf("a %T where a numeric is expected", v)
	}
	f, err := n.Float64Value()
	if err != nil {
		t.Fatal(err)
	}
	return f.Float64
}

// TestExporter asks what prometheus-community/pgbouncer_exporter 0.12 asks, with
// its driver and its startup parameters, and reads the columns it reads by name.
func TestExporter(t *testing.T) {
	s := newSite(t, 0)
	connector, err := pq.NewConnector(s.url("monitor") + "&extra_float_digits=2&client_encoding=UTF8")
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	db.SetMaxOpenConns(1)
	if err := db.PingContext(t.Context()); err != nil {
		t.Errorf("ping: %v", err)
	}
	for query, want := range map[string][]string{
		"SHOW DATABASES;": {"name", "host", "port", "database", "force_user", "pool_size", "reserve_pool_size", "pool_mode",
			"max_connections", "current_connections", "paused", "disabled"},
		"SHOW STATS_TOTALS;": {"database", "server_assignment_count", "xact_count", "query_count", "bytes_received", "bytes_sent",
			"xact_time", "query_time", "wait_time", "client_parse_count", "server_parse_count", "bind_count"},
		"SHOW POOLS;": {"database", "user", "cl_active", "cl_waiting", "cl_active_cancel_req", "cl_waiting_cancel_req", "sv_active",
			"sv_active_cancel", "sv_being_canceled", "sv_idle", "sv_used", "sv_tested", "sv_login", "maxwait", "maxwait_us"},
		"SHOW LISTS;":   {"list", "items"},
		"SHOW CONFIG;":  {"key", "value", "default", "changeable"},
		"SHOW CLIENTS;": {"database", "user", "state", "application_name"},
		"SHOW VERSION;": {"version"},
	} {
		rows, err := db.QueryContext(t.Context(), query)
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		got, err := rows.Columns()
		if err != nil {
			t.Error(err)
		}
		for _, name := range want {
			if !strings.Contains(" "+strings.Join(got, " ")+" ", " "+name+" ") {
				t.Errorf("%s lacks column %s", query, name)
			}
		}
		if query == "SHOW CONFIG;" && len(got) != 4 {
			t.Errorf("SHOW CONFIG has %d columns, the exporter takes 3 or 4", len(got))
		}
		unique(t, query, rows)
	}
}

// unique wants no two rows of SHOW POOLS with the same labels: Prometheus would
// refuse the whole scrape.
func unique(t *testing.T, query string, rows *sql.Rows) {
	t.Helper()
	defer rows.Close()
	names, _ := rows.Columns()
	seen := map[string]bool{}
	for rows.Next() {
		values := make([]any, len(names))
		for i := range values {
			values[i] = new(sql.NullString)
		}
		if err := rows.Scan(values...); err != nil {
			t.Errorf("%s: %v", query, err)
		}
		if query != "SHOW POOLS;" {
			continue
		}
		key := values[0].(*sql.NullString).String + "/" + values[1].(*sql.NullString).String
		if seen[key] {
			t.Errorf("SHOW POOLS has two rows for %s", key)
		}
		seen[key] = true
	}
	if err := rows.Err(); err != nil {
		t.Errorf("%s: %v", query, err)
	}
}
