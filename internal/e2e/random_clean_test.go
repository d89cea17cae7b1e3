package e2e

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// dirtSQL finds in a server connection, from inside, what somebody has left in it.
// What pgvip itself puts there is not dirt: the examiner's parameters, and
// prepared statements under names of pgvip's.
const dirtSQL = `
SELECT 'prepared ' || name FROM pg_prepared_statements WHERE name NOT LIKE 'pgvip%'
UNION ALL SELECT 'cursor ' || name FROM pg_cursors WHERE name <> ''
UNION ALL SELECT 'lock ' || locktype || ' ' || mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype IN ('advisory', 'transactionid')
UNION ALL SELECT 'temporary ' || relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()
UNION ALL SELECT 'listens ' || c FROM pg_listening_channels() c
UNION ALL SELECT 'parameter ' || name || ' ' || setting FROM pg_settings
	WHERE source = 'session' AND name NOT IN ('application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'IntervalStyle', 'standard_conforming_strings')
UNION ALL SELECT 'reported ' || n || ' ' || current_setting(n) || ', want ' || w
	FROM (VALUES ('DateStyle', 'ISO, MDY'), ('TimeZone', 'Etc/UTC'), ('IntervalStyle', 'postgres'), ('standard_conforming_strings', 'on'),
		('application_name', ''), ('client_encoding', 'UTF8'), ('work_mem', '4MB'), ('search_path', '"$user", public'),
		('transaction_isolation', 'read committed'), ('transaction_read_only', 'off'), ('extra_float_digits', '1')) v(n, w)
	WHERE current_setting(n) <> w
UNION ALL SELECT 'role ' || current_user WHERE current_user <> session_user
UNION ALL SELECT 'transaction open' WHERE now() <> statement_timestamp() OR txid_current_if_assigned() IS NOT NULL`

// examine looks into the servers that it is lent, as a client like any other.
func (r *randomRun) examine(ctx context.Context) {
	for ctx.Err() == nil {
		config, err := pgx.ParseConfig(corpusURL(r.pgvip.primary))
		if err != nil {
			r.Error(err)
			return
		}
		config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
		limited, cancel := context.WithTimeout(r.Context(), abuseLimit)
		conn, err := pgx.ConnectConfig(limited, config)
		if err != nil {
			cancel()
			r.Error(err)
			return
		}
		for range 5 {
			r.look(limited, conn)
		}
		conn.Close(limited)
		cancel()
	}
}

// look asks one server.
func (r *randomRun) look(ctx context.Context, conn *pgx.Conn) {
	rows, err := conn.Query(ctx, dirtSQL)
	if err == nil {
		var dirt []string
		if dirt, err = pgx.CollectRows(rows, pgx.RowTo[string]); len(dirt) > 0 {
			r.Errorf("a server was lent with %q", dirt)
		}
	}
	if err != nil {
		r.Errorf("examine: %v", err)
	}
	r.examined.Add(1)
}

// leaksNothing waits until pgvip has let go of everything: descriptors, and the
// server connections that PostgreSQL sees.
func (r *randomRun) leaksNothing(descriptorsBefore int) {
	if n := descriptorsDownTo(r.T, r.pgvip, descriptorsBefore); n > descriptorsBefore {
		r.Errorf("%d descriptors, %d before; open are %v", n, descriptorsBefore, descriptors(r.T, r.pgvip.cmd.Process.Pid))
	}
	leader, err := r.pgvip.cluster.WaitLeader(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	for start := time.Now(); ; {
		left, err := leader.Postgres.SQL(r.Context(), "postgres",
			"SELECT count(*), string_agg(state || ' ' || query, '; ') FROM pg_stat_activity WHERE usename = 'corpus'")
		if err != nil {
			r.Fatal(err)
		}
		if left == "0|" {
			break
		}
		if time.Since(start) > settleLimit {
			r.Errorf("PostgreSQL still has connections: %s", left)
			break
		}
	}
	for _, what := range []string{"POOLS", "SERVERS", "CLIENTS"} {
		r.showsNothing(what)
	}
}

// showsNothing asks pgvip what it thinks it has of the database.
func (r *randomRun) showsNothing(what string) {
	url := strings.Replace(corpusURL(r.pgvip.primary), "/corpus?", "/pgbouncer?", 1)
	config, err := pgx.ParseConfig(url)
	if err != nil {
		r.Fatal(err)
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(r.Context(), config)
	if err != nil {
		r.Fatal(err)
	}
	defer conn.Close(r.Context())
	rows, err := conn.Query(r.Context(), "SHOW "+what)
	if err != nil {
		r.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowToMap)
	if err != nil {
		r.Fatal(err)
	}
	for _, row := range all {
		if row["database"] != "corpus" {
			continue
		}
		if what != "POOLS" {
			r.Errorf("SHOW %s has %v", what, row)
			continue
		}
		for column, n := range row {
			if (strings.HasPrefix(column, "cl_") || strings.HasPrefix(column, "sv_")) && fmt.Sprint(n) != "0" {
				r.Errorf("SHOW POOLS: %s is %v", column, n)
			}
		}
	}
}

// endsAlone ends pgvip and compares its goroutines with those of one that nobody has
// used. Its races stand in its log.
func (r *randomRun) endsAlone(peace map[string]int) {
	settle(r.T, r.pgvip)
	for name, n := range r.pgvip.goroutines(r.T) {
		if n > peace[name] {
			r.Errorf("%d goroutines run %s, %d where nothing happened", n, name, peace[name])
		}
	}
	if _, race, ok := strings.Cut(r.pgvip.log.String(), "WARNING: DATA RACE"); ok {
		r.Errorf("a data race:%s", race[:min(len(race), logTail)])
	}
}
