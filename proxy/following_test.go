package proxy

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/internal/pgscript"
)

// TestReloadedParameter: PostgreSQL is told, while its servers are idle here, that a
// reported parameter has another value. What a client was told last is what it has,
// no server is given up, and after RECONNECT new clients have the new value.
func TestReloadedParameter(t *testing.T) {
	pg := postgres(t, 1)
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			reset := func() {
				pg.ask(t, "ALTER SYSTEM RESET IntervalStyle")
				pg.ask(t, "SELECT pg_reload_conf()")
				eventually(t, "it is as before", func() bool { return pg.ask(t, "SHOW IntervalStyle") == "postgres" })
			}
			s := newSite(t, plan{pool: mode, table: table(node("n1", pg.Addr))})
			t.Cleanup(reset)
			old := login(t, s.primary)
			backend := old.value("SELECT pg_backend_pid()")
			told := map[*client]string{}
			shown := func(c *client) string {
				r := c.exec("SHOW IntervalStyle")
				for _, p := range slices.Concat(c.welcome, r.status) {
					if v, ok := strings.CutPrefix(p, "IntervalStyle="); ok {
						told[c] = v
					}
				}
				c.welcome = nil
				if r.rows[0] != told[c] {
					t.Errorf("a client has %q and was told %q", r.rows[0], told[c])
				}
				return r.rows[0]
			}
			shown(old)
			pg.ask(t, "ALTER SYSTEM SET IntervalStyle = 'iso_8601'")
			pg.ask(t, "SELECT pg_reload_conf()")
			if name == "session" { // its server is its own: it sees what PostgreSQL does
				eventually(t, "the client has the new value", func() bool { return shown(old) == "iso_8601" })
			}
			shown(old)
			if got := old.value("SELECT pg_backend_pid()"); got != backend {
				t.Error("the server was given up")
			}
			old.leave()
			for range 3 {
				c := login(t, s.primary)
				shown(c)
				if got := c.value("SELECT pg_backend_pid()"); got != backend {
					t.Error("the server was given up")
				}
				c.leave()
			}
			// The welcome is that of the last login of a server.
			s.pools.Reconnect("")
			eventually(t, "a new client has the new value", func() bool {
				c := login(t, s.primary)
				defer c.leave()
				return shown(c) == "iso_8601"
			})
		})
	}
}

// TestLeavingInATransaction: whatever state a transaction is in when its client
// goes, and however it goes, nothing of it is left on the server.
func TestLeavingInATransaction(t *testing.T) {
	pg := postgres(t, 0)
	states := map[string]func(*client){
		"open":   func(*client) {},
		"failed": func(c *client) { c.query("SELECT 1/0") },
		"with unread replies": func(c *client) {
			c.send(pgscript.Query("SELECT 1"), pgscript.Query("SELECT generate_series(1, 1000)"))
		},
		"in a query": func(c *client) {
			c.send(pgscript.Query("SELECT pg_sleep(600)"))
			pg.sleeping(t, 1)
		},
		"in a row": func(c *client) {
			c.send(pgscript.Query("SELECT repeat('x', 9000000)"))
			c.conn.Read(make([]byte, 1000))
		},
	}
	for name, mode := range modes {
		for state, reach := range states {
			for how, leave := range map[string]func(*client){"Terminate": (*client).leave, "RST": (*client).reset} {
				if state == "in a query" && how == "Terminate" {
					continue // it is carried out: TestLeavingClients
				}
				t.Run(state+", "+how+", "+name, func(t *testing.T) {
					s := newSite(t, plan{pool: mode})
					c := login(t, s.primary)
					backend := c.value("SELECT pg_backend_pid()")
					c.exec("BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY")
					c.exec("SET LOCAL work_mem = '7MB'")
					c.exec("SET TimeZone = 'Asia/Tokyo'")
					reach(c)
					leave(c)
					next := login(t, s.primary)
					r := next.exec("SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')," +
						" current_setting('work_mem'), current_setting('TimeZone') <> 'Asia/Tokyo', pg_backend_pid()")
					if want := "read committed|off|4MB|t|" + backend; r.rows[0] != want || r.ready != 'I' {
						t.Errorf("the next client has %s %c, want %s", r.rows[0], r.ready, want)
					}
				})
			}
		}
	}
}

// TestOddValuesFollowTheClient: values with quotes and backslashes, long ones and
// none at all are each client's own on one server, and so is its encoding.
func TestOddValuesFollowTheClient(t *testing.T) {
	s := newSite(t, plan{pool: transactions})
	long := strings.Repeat("a_schema_of_some_length, ", 30) + "public"
	values := [][]string{
		{`""`, `it's \ "odd" $$`, "on"},
		{long, strings.Repeat(`'\`, 200), "off"},
		{`"with ""quotes"", and more", public`, "", "on"},
		{"public", `C:\new\table`, "off"}, // in front of the first, whose value has a backslash too
	}
	var clients []*client
	for _, v := range values {
		clients = append(clients, login(t, s.primary, "search_path", v[0], "my.var", v[1], "standard_conforming_strings", v[2]))
	}
	for range 3 {
		for i, c := range clients {
			for j, name := range []string{"search_path", "my.var", "standard_conforming_strings"} {
				if got := c.value("SHOW " + name); got != values[i][j] {
					t.Errorf("client %d has %s = %.60q, want %.60q", i, name, got, values[i][j])
				}
			}
		}
	}
	a, b := clients[0], clients[1]
	twin := login(t, s.primary, "search_path", values[0][0], "my.var", values[0][1], "standard_conforming_strings", values[0][2])
	if r := a.exec("SET client_encoding = 'LATIN1'"); !slices.Equal(r.status, []string{"client_encoding=LATIN1"}) {
		t.Errorf("told %q", r.status)
	}
	for range 3 {
		if got := a.value("SELECT chr(228)"); got != "\xe4" {
			t.Errorf("LATIN1: %q", got)
		}
		if got := twin.value("SELECT chr(228)") + b.value("SELECT chr(228)"); got != "ää" {
			t.Errorf("UTF8: %q", got)
		}
	}
	// What is set in a transaction and goes with it, with the other in between.
	for _, end := range []string{"ROLLBACK", "COMMIT"} {
		a.exec("BEGIN")
		set := "SET TimeZone = 'Asia/Tokyo'"
		if end == "COMMIT" {
			set = "SET LOCAL TimeZone = 'Asia/Tokyo'"
		}
		if r := a.exec(set); !slices.Equal(r.status, []string{"TimeZone=Asia/Tokyo"}) {
			t.Errorf("%s: told %q", set, r.status)
		}
		r := a.exec(end)
		if len(r.status) != 1 || a.value("SHOW TimeZone") != strings.TrimPrefix(r.status[0], "TimeZone=") || r.status[0] == "TimeZone=Asia/Tokyo" {
			t.Errorf("%s: told %q", end, r.status)
		}
		if got := b.value("SHOW TimeZone"); got == "Asia/Tokyo" {
			t.Errorf("after %s the other client has it", end)
		}
	}
	for _, all := range []string{"RESET ALL", "DISCARD ALL"} {
		b.exec("SET TimeZone = 'Asia/Tokyo'")
		a.exec("SELECT 1")
		if r := b.exec(all); !slices.ContainsFunc(r.status, func(p string) bool { return strings.HasPrefix(p, "TimeZone=") }) {
			t.Errorf("%s: told %q", all, r.status)
		}
		if got := b.value("SHOW search_path"); got != long {
			t.Errorf("after %s the client has lost its startup parameter: %.60q", all, got)
		}
	}
}

// TestOddStatements: names of any bytes, no text at all, and as many parameters as
// there can be, also on a server that has not seen the statement.
func TestOddStatements(t *testing.T) {
	s := newSite(t, plan{pool: prepared(2, 200)})
	a, b := login(t, s.primary), login(t, s.primary)
	const most = 65535
	var many strings.Builder
	many.WriteString("SELECT cardinality(ARRAY[")
	values := make([]string, most)
	for i := range values {
		if i > 0 {
			many.WriteString(", ")
		}
		many.WriteString("$" + strconv.Itoa(i+1))
		values[i] = "v"
	}
	many.WriteString("]::text[])")
	odd := []string{`it's "odd" \ $1; --`, "naïve 世界 🐘", strings.Repeat("世", 2000), "世界", " ", "pgvip_0",
		strings.Repeat("n", 62) + "a", strings.Repeat("n", 62) + "b"}
	for _, name := range odd {
		a.prepare(name, "SELECT '"+strings.ReplaceAll(name, "'", "''")+"'")
	}
	a.prepare("empty", "", "many", many.String())
	for _, elsewhere := range []bool{false, true} {
		if elsewhere {
			b.exec("BEGIN")
		}
		for _, name := range odd {
			if got := a.run(name); got != name {
				t.Errorf("%.40q gives %.40q", name, got)
			}
		}
		a.send(bind("empty"), pgscript.Execute(""), pgscript.Sync())
		if r := a.answer(); r.types != "2IZ" {
			t.Errorf("an empty statement: %q %v", r.types, r.err)
		}
		if got := a.run("many", values...); got != strconv.Itoa(most) {
			t.Errorf("%s parameters arrived, want %d", got, most)
		}
	}
	b.exec("COMMIT")
}
