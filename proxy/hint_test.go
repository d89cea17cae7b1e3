package proxy

import (
	"strings"
	"testing"

	"github.com/pgvip/pgvip/pool"
)

func TestInspect(t *testing.T) {
	tracks := func(name string) bool { return strings.EqualFold(name, "DateStyle") }
	for text, want := range map[string]hint{
		"":                                     {},
		"SELECT 1":                             {},
		"BEGIN":                                {begins: true},
		"/* /* */ */ -- x\n START TRANSACTION": {begins: true},
		"SELECT 1; BEGIN":                      {},
		"SET work_mem = '1MB'":                 {state: pool.StateSettings},
		"set session work_mem to 1":            {state: pool.StateSettings},
		"SET LOCAL work_mem = 1":               {},
		"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE":                   {},
		"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY":           {state: pool.StateSettings},
		"SET SESSION AUTHORIZATION x":                                    {state: pool.StateSettings},
		"SET ROLE x":                                                     {state: pool.StateSettings},
		"SET CONSTRAINTS ALL DEFERRED":                                   {},
		"SET datestyle = 'ISO'":                                          {},
		"SET \"DateStyle\" = 'ISO'":                                      {state: pool.StateSettings},
		"SET datestyle.x = 'ISO'":                                        {state: pool.StateSettings},
		"SET TIME ZONE 'UTC'; SET NAMES 'UTF8'":                          {},
		"SELECT 1; SET x.y = 1":                                          {state: pool.StateSettings},
		"SELECT 'SET x = 1', \"set_config(\", $$set_config($$, $a$;$$a$": {},
		"SELECT E'\\'; SET x = 1'":                                       {},
		"SELECT 'it''s; SET x = 1'":                                      {},
		"SELECT pg_catalog.set_config('role', $1, true)":                 {},
		"SELECT set_config('a', f(1, 2, true), false)":                   {state: pool.StateSettings},
		"SELECT set_config('a', 'b', is_local)":                          {state: pool.StateSettings},
		"DO $$ BEGIN PERFORM set_config('a', 'b', false); END $$":        {state: pool.StateSettings},
		"LISTEN x":                {state: pool.StateListen},
		"NOTIFY x":                {},
		"PREPARE p AS SELECT 1":   {state: pool.StatePrepared},
		"PREPARE TRANSACTION 'x'": {},
		"CREATE TEMP TABLE t ()":  {state: pool.StateTemp},
		"CREATE OR REPLACE LOCAL TEMPORARY VIEW v AS SELECT 1":               {state: pool.StateTemp},
		"CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'": {state: pool.StateTemp},
		"CREATE TABLE pg_temp.t ()":                                          {state: pool.StateTemp},
		"CREATE TEMP TABLE t () ON COMMIT DROP":                              {},
		"CREATE TEMP TABLE t () ON COMMIT DELETE ROWS":                       {state: pool.StateTemp},
		"CREATE TABLE t (temp int)":                                          {},
		"SELECT 1 INTO TEMP t":                                               {state: pool.StateTemp},
		"SELECT temp FROM weather":                                           {},
		"DECLARE c CURSOR WITH HOLD FOR SELECT 1":                            {state: pool.StateCursors},
		"DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1":                         {},
		"SELECT pg_advisory_lock(1), PG_TRY_ADVISORY_LOCK_SHARED(2)":         {state: pool.StateLocks},
		"SELECT pg_advisory_xact_lock(1)":                                    {},
		"LOAD 'x'":                                                           {state: pool.StateLibrary},
		"SELECT $1, $2":                                                      {},
		"SELECT 'unfinished":                                                 {},
		"SELECT /* unfinished":                                               {},
		"SELECT $a$ unfinished":                                              {},
		"SET":                                                                {state: pool.StateSettings},
		"PREPARE p AS SELECT 1; LISTEN x":                                    {state: pool.StatePrepared | pool.StateListen},
	} {
		if got := inspect(append([]byte(text), 0), tracks); got != want {
			t.Errorf("%s: %v %v, want %v %v", text, got.state, got.begins, want.state, want.begins)
		}
	}
}

// FuzzInspect: any text is read to its end.
func FuzzInspect(f *testing.F) {
	for _, text := range []string{"SET x = 1", "SELECT $a$ b $a$", "/* /* */", "E'\\'", "set_config((((", "\xff$\xff$"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		inspect(text, func(string) bool { return false })
		l := lexer{text: text}
		for at := -1; ; at = l.at {
			if l.next() == nil {
				return
			}
			if l.at <= at {
				t.Fatalf("the lexer stands still at %d of %q", at, text)
			}
		}
	})
}

func BenchmarkInspect(b *testing.B) {
	text := []byte("SELECT abalance FROM pgbench_accounts WHERE aid = 12345;\x00")
	for b.Loop() {
		inspect(text, nil)
	}
}
