package proxy

import (
	"bytes"
	"slices"
	"testing"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/pool"
)

// conversation is what a client with these startup parameters sees: its welcome,
// and the type and text of every message that answers its statements.
func conversation(t *testing.T, addr string, params, statements []string) [][]string {
	t.Helper()
	c := login(t, addr, params...)
	seen := [][]string{c.welcome}
	for _, sql := range statements {
		r := c.query(sql)
		seen = append(seen, slices.Concat([]string{sql, r.types, r.state(), string(r.ready)}, r.rows, r.status))
	}
	c.leave()
	return seen
}

// lasting are the modes in which what is set in a session lasts as long as that.
var lasting = map[string]func(*pool.Settings){
	"session": func(set *pool.Settings) { set.Mode = pool.SessionMode },
	"transaction, pinned": func(set *pool.Settings) {
		transactions(set)
		set.SessionState = pool.PinState
	},
}

// TestParametersAsDirect: with whatever startup parameters, a client sees of its
// session what it would see of PostgreSQL itself, byte for byte, also after it
// has reset what it asked for at startup (rule 5).
func TestParametersAsDirect(t *testing.T) {
	pg := postgres(t, 0)
	german := []string{"DateStyle", "German, DMY", "TimeZone", "Asia/Tokyo", "application_name", "shop", "extra_float_digits", "0",
		"search_path", `"odd, name", public`, "options", `-c work_mem=5MB -c my.var=a\ b --statement-timeout=77s`}
	show := []string{
		"SELECT '2001-02-03'::date, '2001-02-03 04:05:06+00'::timestamptz, 0.1::float4", "SHOW search_path",
		"SHOW work_mem", "SHOW my.var", "SHOW statement_timeout", "SHOW application_name", "SHOW DateStyle", "SHOW TimeZone",
	}
	with := func(change ...string) []string { return slices.Concat(show, change, show) }
	for _, test := range []struct {
		name       string
		params     []string
		statements []string
	}{
		{"none", nil, slices.Concat([]string{"SET my.var = 'x'"}, with("RESET ALL"))},
		{"RESET ALL", german, with("SET DateStyle = SQL; SET search_path = x; SET work_mem = '6MB'", "RESET ALL")},
		{"DISCARD ALL", german, with("SET DateStyle = SQL; SET search_path = x; SET work_mem = '6MB'; SET my.var = 'mine'", "DISCARD ALL")},
		{"RESET of one", german, with("SET DateStyle = SQL", "SET application_name = 'other'", "SET my.var = 'mine'", "RESET DateStyle")},
		{"RESET of another", german, with("SET DateStyle = SQL", "SET application_name = 'other'", "RESET TimeZone", "RESET my.var")},
		{"RESET that is rolled back", german, with("SET DateStyle = SQL", "BEGIN", "RESET ALL", "SHOW DateStyle", "ROLLBACK")},
		{"RESET in a failed transaction", german, with("BEGIN", "RESET ALL", "SELECT 1/0", "SHOW DateStyle", "ROLLBACK")},
		{"RESET in a Query that fails", german, with("BEGIN; RESET ALL; SELECT 1/0", "SHOW DateStyle", "ROLLBACK")},
		{"RESET that is committed", german, with("SET work_mem = '6MB'", "BEGIN", "RESET ALL", "SHOW work_mem", "COMMIT")},
		{"SET LOCAL", german, with("BEGIN", "SET LOCAL DateStyle = SQL", "SHOW DateStyle", "COMMIT")},
		{"set twice, the last counts", []string{"options", "-c DateStyle=SQL -c datestyle=German", "DATESTYLE", "Postgres"}, with("RESET ALL")},
		{"application_name in options", []string{"options", "-c application_name=one"}, show},
		{"application_name overridden", []string{"options", "-c application_name=one", "application_name", "two"}, with("RESET ALL")},
		{"application_name overridden by an odd one", []string{"options", "-c application_name=one", "application_name", "zwei\u00e4"}, with("RESET ALL")},
		{"application_name overridden by none", []string{"options", "-c application_name=one", "application_name", ""}, with("RESET ALL")},
		{"odd application_name overridden", []string{"options", "-c application_name=\u00e4", "application_name", "two"}, with("RESET ALL")},
		{"long application_name", []string{"application_name", "0123456789012345678901234567890123456789012345678901234567890123456789"}, show},
		{"client_encoding", []string{"client_encoding", "LATIN1"}, with("SELECT chr(228)", "RESET ALL")},
		{"quotes and backslashes", []string{"my.var", `it's \ "odd" $$`, "standard_conforming_strings", "off"}, with("RESET ALL")},
		{"role", []string{"options", "-c role=none"}, show},
		{"switches for a server of its own", []string{"options", "-c ignore_system_indexes=on -e -S 6144"}, with("SHOW ignore_system_indexes", "RESET ALL")},
		{"a value that only a new connection takes", []string{"ignore_system_indexes", "on"}, with("SHOW ignore_system_indexes")},
	} {
		for name, mode := range lasting {
			t.Run(test.name+", "+name, func(t *testing.T) {
				want := conversation(t, pg.Addr, test.params, test.statements)
				s := newSite(t, plan{pool: mode})
				for round := range 2 { // the second one has its welcome from the cache
					got := conversation(t, s.primary, test.params, test.statements)
					for i := range want {
						if !slices.Equal(got[i], want[i]) {
							t.Errorf("round %d, step %d:\ngot  %q\nwant %q", round, i, got[i], want[i])
						}
					}
				}
			})
		}
	}
}

// TestPrivateServerServesOnce: what a server took at its start is not lent on.
func TestPrivateServerServesOnce(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{})
	pid := func(params ...string) string {
		c := login(t, s.primary, params...)
		defer c.leave()
		return c.value("SELECT pg_backend_pid()")
	}
	shared := pid()
	for range 2 {
		if private := pid("ignore_system_indexes", "on"); private == shared {
			t.Error("a client with parameters of its own got a shared server")
		}
	}
	if again := pid(); again != shared {
		t.Error("the shared server was given up")
	}
	eventually(t, "private servers are closed", func() bool { return pg.backends(t) == "1" })
}

// TestResetInPipeline: what a RESET has taken away is back once the pipeline has
// been answered.
func TestResetInPipeline(t *testing.T) {
	s := newSite(t, plan{})
	c := login(t, s.primary, "DateStyle", "German")
	c.send(pgscript.Query("SET DateStyle = SQL"), pgscript.Query("RESET DateStyle"))
	c.answer()
	c.answer()
	if got := c.value("SHOW DateStyle"); got != "German, DMY" {
		t.Errorf("DateStyle = %q, want the one of the startup packet", got)
	}
}

// TestResetBeforeManyQueries: what waits behind a RESET may be more than is kept.
func TestResetBeforeManyQueries(t *testing.T) {
	s := newSite(t, plan{})
	c := login(t, s.primary, "DateStyle", "German")
	const n = 10_000 // 140 KB
	go c.conn.Write(append(pgscript.Query("SELECT pg_sleep(0.05); RESET ALL"),
		append(pgscript.Query("RESET ALL"), bytes.Repeat(pgscript.Query("SELECT 1"), n)...)...))
	c.answer()
	c.answer()
	for i := range n {
		if r := c.answer(); r.types != "TDCZ" {
			t.Fatalf("query %d: %q, %v", i, r.types, r.err)
		}
	}
}

// TestResetBehindCopy: PostgreSQL wants data, and ends the connection for anything
// else. It must get the RESET to do so: held back, it would make both wait for ever.
func TestResetBehindCopy(t *testing.T) {
	s := newSite(t, plan{})
	c := login(t, s.primary, "DateStyle", "German")
	c.exec("CREATE TEMP TABLE t (x text)")
	c.send(pgscript.Query("COPY t FROM STDIN"), pgscript.Query("RESET ALL"))
	if r := c.answer(); r.types != "GEE" || r.state() != "08P01" {
		t.Errorf("COPY: %q %s, want GEE 08P01", r.types, r.state())
	}
}
