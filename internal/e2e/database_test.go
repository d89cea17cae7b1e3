package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgvip/pgvip/internal/lab"
)

// as is the application's user in another database, with further parameters.
func as(addr, database, params string) string {
	return strings.Replace(url(addr), "/"+lab.AppDatabase+"?", "/"+database+"?", 1) + params
}

// oneValue is the one value of a query on a connection of its own.
func oneValue(t *testing.T, dsn, sql string) (value string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), sql, pgx.QueryExecModeSimpleProtocol).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func TestServersOfADatabaseStartAsItSays(t *testing.T) {
	p := pgvip(t, 16, settings{"databases": `{tuned: {dbname: ` + lab.AppDatabase + `, timezone: Asia/Tokyo, datestyle: "SQL, DMY",
  connect_query: "SET work_mem = '5MB'"}, broken: {dbname: ` + lab.AppDatabase + `, connect_query: SELECT wrong}}`,
		"server_reset_query": `""`})
	p.ready(t)
	for _, tc := range []struct{ database, params, sql, want string }{
		{"tuned", "", "SHOW timezone", "Asia/Tokyo"},
		{"tuned", "", "SHOW datestyle", "SQL, DMY"},
		{"tuned", "", "SHOW work_mem", "5MB"},
		{"tuned", "&timezone=Europe/Berlin", "SHOW timezone", "Europe/Berlin"},
		{"tuned", "&options=-cTimeZone%3DAsia/Seoul%20-cDateStyle%3DGerman", "SHOW timezone", "Asia/Seoul"},
		// Only a starting server takes this one: the client has a server of its own.
		{"tuned", "&options=-cTimeZone%3DAsia/Seoul%20-cignore_system_indexes%3Don", "SHOW timezone", "Asia/Seoul"},
		{"tuned", "&options=-cTimeZone%3DAsia/Seoul%20-cignore_system_indexes%3Don", "SHOW datestyle", "SQL, DMY"},
		{lab.AppDatabase, "", "SELECT setting FROM pg_settings WHERE name = 'work_mem' AND source = 'default'", "4096"},
		{"broken", "", "SELECT 'served'", "served"},
	} {
		if got := oneValue(t, as(p.primary, tc.database, tc.params), tc.sql); got != tc.want {
			t.Errorf("%s%s: %s = %q, want %q", tc.database, tc.params, tc.sql, got, tc.want)
		}
	}
	if !strings.Contains(p.log.String(), "connect_query failed") {
		t.Error("the log does not say that connect_query failed")
	}
}

// What no look at the protocol can find is cleaned up after when the operator
// asks for it.
func TestServerResetQueryAlwaysCleansAfterEachTransaction(t *testing.T) {
	p := pgvip(t, 17, settings{"pool_mode": "transaction", "default_pool_size": "1", "server_reset_query_always": "true"})
	p.ready(t)
	one, other := connect(t, p.primary), connect(t, p.primary)
	for _, sql := range []string{
		"CREATE OR REPLACE FUNCTION stealthily() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('work_mem', '9MB', false); END $$",
		"SELECT stealthily()",
	} {
		if _, err := one.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	var workMem string
	if err := other.QueryRow(t.Context(), "SHOW work_mem", pgx.QueryExecModeSimpleProtocol).Scan(&workMem); err != nil || workMem != "4MB" {
		t.Errorf("work_mem of the next client = %q, %v, want 4MB", workMem, err)
	}
}
