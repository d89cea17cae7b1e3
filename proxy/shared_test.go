package proxy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/route"
)

// transactions makes a site pool by transaction.
func transactions(set *pool.Settings) { set.Mode = pool.TransactionMode }

// TestTransactionMode: two clients with one server take turns by transaction, and
// neither sees anything of the other.
func TestTransactionMode(t *testing.T) {
	s := newSite(t, plan{pool: transactions})
	a, b := login(t, s.primary), login(t, s.primary)
	pid := a.value("SELECT pg_backend_pid()")
	if got := b.value("SELECT pg_backend_pid()"); got != pid {
		t.Errorf("the second client has server %s, want %s", got, pid)
	}
	a.exec("BEGIN")
	b.send(pgscript.Query("SELECT 'b'"))
	if got := a.value("SELECT 'a'"); got != "a" {
		t.Errorf("inside its transaction a gets %q", got)
	}
	a.exec("COMMIT")
	if r := b.answer(); !slices.Equal(r.rows, []string{"b"}) {
		t.Errorf("after that b gets %q", r.rows)
	}
}

// TestTransactionModePipelines: a server goes back when the last request of a
// pipeline has been answered, never on a Flush, and errors stay inside.
func TestTransactionModePipelines(t *testing.T) {
	s := newSite(t, plan{pool: transactions})
	var wg sync.WaitGroup
	for i := range 8 {
		c := login(t, s.primary)
		wg.Go(func() {
			for j := range 50 {
				want := fmt.Sprint(i, "/", j)
				c.send(
					pgscript.Query("SELECT '"+want+"'"),
					pgscript.Parse("", "SELECT '"+want+"'"), pgscript.Bind("", ""), pgscript.Execute(""), pgscript.Sync(),
					pgscript.Parse("", "SELECT 1/0"), pgscript.Bind("", ""), pgscript.Execute(""), pgscript.Execute(""), pgscript.Sync(),
					pgscript.Query("BEGIN"), pgscript.Query("SELECT '"+want+"'"), pgscript.Query("COMMIT"))
				types := ""
				for range 6 {
					r := c.answer()
					types += r.types + " "
					if len(r.rows) > 0 && r.rows[0] != want {
						t.Errorf("%s got the rows %q", want, r.rows)
					}
				}
				if types != "TDCZ 12DCZ 12EZ CZ TDCZ CZ " && types != "TDCZ 12DCZ 1EZ CZ TDCZ CZ " {
					t.Errorf("%s got %q", want, types)
					return
				}
			}
			c.leave()
		})
	}
	wg.Wait()
}

// TestParametersFollowTheClient: with one server for all, each client has its own
// run-time parameters, those of its startup packet and those it has set since.
func TestParametersFollowTheClient(t *testing.T) {
	s := newSite(t, plan{pool: transactions})
	clients := []*client{
		login(t, s.primary, "application_name", "one", "DateStyle", "German", "search_path", "a"),
		login(t, s.primary, "application_name", "two", "TimeZone", "Asia/Tokyo", "options", "-c work_mem=5MB"),
		login(t, s.primary),
	}
	clients[2].exec("SET DateStyle = 'SQL, DMY'")
	clients[2].exec("SET application_name = 'three'")
	const show = "SELECT concat_ws('|', current_setting('application_name'), current_setting('DateStyle'), current_setting('search_path'), " +
		"current_setting('work_mem'), current_setting('TimeZone'))"
	zone := clients[2].value("SHOW TimeZone")
	want := []string{
		"one|German, DMY|a|4MB|" + zone,
		"two|ISO, MDY|\"$user\", public|5MB|Asia/Tokyo",
		"three|SQL, DMY|\"$user\", public|4MB|" + zone,
	}
	for round := range 3 {
		for i, c := range clients {
			r := c.query(show)
			if r.types != "TDCZ" || r.rows[0] != want[i] {
				t.Errorf("round %d: client %d got %q %q, want %q", round, i, r.types, r.rows, want[i])
			}
		}
	}
}

// TestSessionStateIsReset: what a client leaves behind is gone for the next one.
func TestSessionStateIsReset(t *testing.T) {
	for name, test := range map[string]struct{ make, look, clean string }{
		"settings":        {"SET work_mem = '9MB'", "SHOW work_mem", "4MB"},
		"set_config":      {"SELECT set_config('work_mem', '9MB', false)", "SHOW work_mem", "4MB"},
		"temporary table": {"CREATE TEMP TABLE left_behind ()", "SELECT count(*) FROM pg_class WHERE relname = 'left_behind'", "0"},
		"advisory lock":   {"SELECT pg_advisory_lock(42)", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", "0"},
		"prepared":        {"PREPARE p AS SELECT 1", "SELECT count(*) FROM pg_prepared_statements", "0"},
		"cursor":          {"DECLARE c CURSOR WITH HOLD FOR SELECT 1", "SELECT count(*) FROM pg_cursors WHERE is_holdable", "0"},
		"role":            {"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SHOW default_transaction_isolation", "read committed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, plan{pool: transactions})
			a, b := login(t, s.primary), login(t, s.primary)
			pid := a.value("SELECT pg_backend_pid()")
			a.exec(test.make)
			if got := b.value(test.look); got != test.clean {
				t.Errorf("the next client sees %q, want %q", got, test.clean)
			}
			if got := b.value("SELECT pg_backend_pid()"); got != pid {
				t.Error("the server was given up")
			}
			if s.proxy.Counters().StateLeft.Load() != 1 {
				t.Error("not counted")
			}
		})
	}
}

// TestSessionStateBehindDiscardAll: what follows a DISCARD ALL in its pipeline is
// still to be made when that is answered.
func TestSessionStateBehindDiscardAll(t *testing.T) {
	run := func(sql string) []byte {
		return bytes.Join([][]byte{pgscript.Parse("", sql), pgscript.Bind("", ""), pgscript.Execute(""), pgscript.Sync()}, nil)
	}
	for name, message := range map[string]func(string) []byte{"query": pgscript.Query, "batch": run} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, plan{pool: transactions})
			a, b := login(t, s.primary), login(t, s.primary)
			a.send(message("SET work_mem = '8MB'"), message("DISCARD ALL"), message("SET work_mem = '9MB'"))
			for range 3 {
				if r := a.answer(); r.err != nil {
					t.Fatal(r.err)
				}
			}
			if got := b.value("SHOW work_mem"); got != "4MB" {
				t.Errorf("the next client sees %q, want 4MB", got)
			}
		})
	}
}

// TestSessionStateIsPinned: with the policy pin, and for LISTEN always, a client
// keeps the server that has its state, until it has cleaned up.
func TestSessionStateIsPinned(t *testing.T) {
	for name, test := range map[string]struct {
		policy pool.StatePolicy
		make   string
	}{
		"pin":    {pool.PinState, "SET work_mem = '9MB'"},
		"listen": {pool.ResetState, "LISTEN news"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, plan{pool: func(set *pool.Settings) {
				transactions(set)
				set.PoolSize, set.SessionState = 2, test.policy
			}})
			a, b := login(t, s.primary), login(t, s.primary)
			a.exec(test.make)
			pid := a.value("SELECT pg_backend_pid()")
			if got := b.value("SELECT pg_backend_pid()"); got == pid {
				t.Error("the next client got the server")
			}
			b.exec("NOTIFY news, 'hello'")
			if r := a.query("SELECT pg_backend_pid()"); !slices.Equal(r.rows, []string{pid}) || (name == "listen") != (len(r.notes) == 1) {
				t.Errorf("got server %v and the notes %v", r.rows, r.notes)
			}
			a.exec("DISCARD ALL")
			eventually(t, "the server is free", func() bool { return b.value("SELECT pg_backend_pid()") == pid })
		})
	}
}

// TestSessionStateIsRefused: with the policy refuse the statement fails as any
// other does, in a pipeline and in a transaction too.
func TestSessionStateIsRefused(t *testing.T) {
	s := newSite(t, plan{pool: func(set *pool.Settings) {
		transactions(set)
		set.SessionState = pool.RefuseState
	}})
	c := login(t, s.primary)
	if r := c.query("SET work_mem = '9MB'"); r.types != "EZ" || r.state() != "0A000" || r.ready != 'I' {
		t.Errorf("got %q %v", r.types, r.err)
	}
	c.exec("BEGIN")
	c.send(pgscript.Parse("", "LISTEN x"), pgscript.Bind("", ""), pgscript.Execute(""), pgscript.Sync())
	if r := c.answer(); r.types != "EZ" || r.state() != "0A000" || r.ready != 'E' {
		t.Errorf("got %q %v", r.types, r.err)
	}
	c.exec("ROLLBACK")
	c.exec("SET LOCAL work_mem = '9MB'")
	c.exec("SET DateStyle = 'German'")
}

// TestStatementMode: transaction blocks are refused, wherever they stand, and the
// client stays (rule 12).
func TestStatementMode(t *testing.T) {
	s := newSite(t, plan{pool: func(set *pool.Settings) { set.Mode = pool.StatementMode }})
	c, other := login(t, s.primary), login(t, s.primary)
	for sql, types := range map[string]string{
		"BEGIN":                       "EZ",
		"start transaction read only": "EZ",
		"/* x */ -- y\n begin":        "EZ",
		"SELECT 1; BEGIN":             "TDCCEZ",
		"SELECT 1; BEGIN; SELECT 1/0": "TDCCEZ",
		"SELECT 'begin'":              "TDCZ",
		"SELECT 1; BEGIN; COMMIT":     "TDCCCZ",
	} {
		r := c.query(sql)
		if r.types != types || r.ready != 'I' {
			t.Errorf("%s: %q %v %c, want %q", sql, r.types, r.err, r.ready, types)
		}
		if r.err != nil && r.state() != "25001" && r.state() != "22012" {
			t.Errorf("%s: %s", sql, r.state())
		}
		if got := other.value("SELECT now() = statement_timestamp()"); got != "t" {
			t.Errorf("after %s the server was in a transaction", sql)
		}
	}
	begin := slices.Concat(pgscript.Parse("", "BEGIN"), pgscript.Bind("", ""), pgscript.Execute(""))
	c.send(begin, pgscript.Sync(), pgscript.Query("SELECT 1"))
	if r := c.answer(); r.types != "EZ" || r.state() != "25001" {
		t.Errorf("Parse of BEGIN: %q %v", r.types, r.err)
	}
	if r := c.answer(); r.types != "TDCZ" {
		t.Errorf("and then %q", r.types)
	}
	// Behind another statement of its batch, which fails with it.
	c.send(pgscript.Parse("", "SELECT 1"), pgscript.Bind("", ""), pgscript.Execute(""), begin, pgscript.Sync())
	if r := c.answer(); r.types != "12DCEZ" || r.state() != "25001" {
		t.Errorf("in a batch: %q %v", r.types, r.err)
	}
	// In pieces, with others on the server between them.
	c.send(begin)
	other.exec("SELECT 1")
	c.send(begin, pgscript.Query("SELECT 'skipped'"))
	other.exec("SELECT 1")
	c.send(pgscript.Sync())
	if r := c.answer(); r.types != "EZ" || r.state() != "25001" {
		t.Errorf("in pieces: %q %v", r.types, r.err)
	}
}

// TestBetweenTransactions: what needs no server gets none, and does no harm.
func TestBetweenTransactions(t *testing.T) {
	s := newSite(t, plan{pool: transactions})
	a, b := login(t, s.primary), login(t, s.primary)
	a.send(pgscript.Message('d', []byte("late")), pgscript.Message('c', nil), pgscript.Message('H', nil))
	a.exec("SELECT 1")
	a.send(pgscript.Message('d', make([]byte, 100_000)), pgscript.Message('H', nil))
	b.exec("SELECT 1")
	a.exec("SELECT 1")
	a.send(pgscript.Query("SELECT 1"), pgscript.Message('d', []byte("late")))
	a.answer()
	b.exec("SELECT 1")
}

// TestSharedFollowsThePrimary: between its transactions a client is bound to no
// node; one that has had a server of the old primary goes on at the new one.
func TestSharedFollowsThePrimary(t *testing.T) {
	old, next := postgres(t, 0), postgres(t, 1)
	s := newSite(t, plan{pool: transactions, table: table(node("n1", old.Addr))})
	c := login(t, s.primary)
	if got := c.value("SELECT inet_server_addr()"); got != old.Host {
		t.Errorf("first on %s, want %s", got, old.Host)
	}
	s.proxy.SetTable(table(node("n2", next.Addr), node("n1", old.Addr)))
	if got := c.value("SELECT inet_server_addr()"); got != next.Host {
		t.Errorf("then on %s, want %s", got, next.Host)
	}
}

// TestSharedReaderMoves: a reader keeps its replica while that is one, and moves
// between transactions when it is none any more (rule 2).
func TestSharedReaderMoves(t *testing.T) {
	pg := [2]*database{postgres(t, 0), postgres(t, 1)}
	n1, n2 := node("n1", pg[0].Addr), node("n2", pg[1].Addr)
	s := newSite(t, plan{pool: transactions, table: table(nil, n1, n2)})
	c := login(t, s.replica)
	first := c.value("SELECT inet_server_addr()")
	for range 5 {
		if got := c.value("SELECT inet_server_addr()"); got != first {
			t.Fatalf("went to %s, though %s is still a replica", got, first)
		}
	}
	left, other := n2, pg[1].Host
	if first == pg[1].Host {
		left, other = n1, pg[0].Host
	}
	s.proxy.SetTable(table(nil, left))
	if got := c.value("SELECT inet_server_addr()"); got != other {
		t.Errorf("on %s, want %s", got, other)
	}
}

// TestSharedStorm: clients in the middle of their work, sent from node to node and
// so from loop to loop between their transactions, lose nothing.
func TestSharedStorm(t *testing.T) {
	pg := postgres(t, 0)
	nodes := []*route.Node{node("n1", pg.Addr), node("n2", pg.Addr), node("n3", pg.Addr)}
	tables := []*route.Table{{Primary: nodes[0], Nodes: nodes}, {Primary: nodes[1], Nodes: nodes}, {Primary: nodes[2], Nodes: nodes}, {Nodes: nodes}}
	s := newSite(t, plan{loops: 3, table: tables[0], pool: func(set *pool.Settings) {
		transactions(set)
		set.PoolSize = 2
	}})
	stop := make(chan struct{})
	var flipper, clients sync.WaitGroup
	flipper.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				s.proxy.SetTable(tables[i%len(tables)])
				s.onLoops(func(*loop.Loop) {}) // as fast as the loops can follow
			}
		}
	})
	for i := range 10 {
		c := login(t, s.primary, "application_name", fmt.Sprint("client ", i), "search_path", fmt.Sprint("s", i))
		clients.Go(func() {
			for n := range 40 {
				want := fmt.Sprintf("%d %d|client %d|s%d", i, n, i, i)
				look := fmt.Sprintf("SELECT '%d %d', current_setting('application_name'), current_setting('search_path')", i, n)
				c.send(pgscript.Query("BEGIN"), pgscript.Query(look))
				begun, first := c.answer(), c.answer()
				second := c.query(look)
				if begun.err != nil || !slices.Equal(first.rows, []string{want}) || !slices.Equal(second.rows, []string{want}) {
					t.Errorf("want %s: %v %v %v", want, begun.err, first, second)
					return
				}
				c.exec("COMMIT")
			}
			c.leave()
		})
	}
	clients.Wait()
	close(stop)
	flipper.Wait()
}

// TestLongParameter: a reported value longer than what is read in one piece follows
// its client as any other. PostgreSQL 18 reports search_path.
func TestLongParameter(t *testing.T) {
	pg := lab.StartPostgresT(t, lab.PostgresOptions{Version: 18})
	s := newSite(t, plan{pool: transactions, table: table(node("n1", pg.Addr))})
	a, b := login(t, s.primary), login(t, s.primary)
	before := b.value("SHOW search_path")
	long := strings.Repeat("a_schema_with_a_name, ", 4000) + "public" // 88 KB
	if r := a.exec("SET search_path = " + long); len(r.status) != 1 || r.status[0] != "search_path="+long {
		t.Errorf("told %d values", len(r.status))
	}
	for range 2 {
		if got := b.value("SHOW search_path"); got != before {
			t.Errorf("the other client has %d bytes", len(got))
		}
		if got := a.value("SHOW search_path"); got != long {
			t.Errorf("the client has %d bytes, want its own", len(got))
		}
	}
}

// TestResetsTakeTurns: a RESET goes to a server by itself, behind the statement that
// makes the server fit its client; with others waiting for that server it comes to
// its turn all the same.
func TestResetsTakeTurns(t *testing.T) {
	s := newSite(t, plan{pool: transactions})
	var wg sync.WaitGroup
	for _, style := range []string{"German", "SQL", "Postgres", "ISO", "SQL, DMY", "Postgres, DMY"} {
		c := login(t, s.primary, "DateStyle", style)
		wg.Go(func() {
			for range 20 {
				c.send(pgscript.Query("RESET TimeZone"), pgscript.Query("SELECT 1"))
				if a, b := c.answer(), c.answer(); a.types != "CZ" || b.types != "TDCZ" {
					t.Errorf("%s got %q %v, %q %v", style, a.types, a.err, b.types, b.err)
					return
				}
			}
			c.leave()
		})
	}
	wg.Wait()
}

// TestStatementModeSkipsWithTheServer: what PostgreSQL skips after an error in a
// batch is not waited for.
func TestStatementModeSkipsWithTheServer(t *testing.T) {
	s := newSite(t, plan{pool: func(set *pool.Settings) { set.Mode = pool.StatementMode }})
	c := login(t, s.primary)
	call := pgscript.Message('F', []byte{0, 0, 0, 177, 0, 0, 0, 0, 0, 0})
	for _, skipped := range [][]byte{call, pgscript.Query("SELECT 1")} {
		c.send(pgscript.Parse("", "SELEC"), skipped, pgscript.Bind("", ""), pgscript.Sync(), pgscript.Query("SELECT 2"))
		if a, b := c.answer(), c.answer(); a.types != "EZ" || b.types != "TDCZ" {
			t.Errorf("got %q %v, %q %v", a.types, a.err, b.types, b.err)
		}
	}
}

// TestResetSkippedWithTheServer: the same for a RESET, which goes to the server by
// itself, in every mode.
func TestResetSkippedWithTheServer(t *testing.T) {
	s := newSite(t, plan{})
	c := login(t, s.primary, "DateStyle", "German")
	c.send(pgscript.Parse("", "SELEC"), pgscript.Query("RESET ALL"), pgscript.Sync(), pgscript.Query("SHOW DateStyle"))
	if a, b := c.answer(), c.answer(); a.types != "EZ" || b.types != "TDCZ" || b.rows[0] != "German, DMY" {
		t.Errorf("got %q %v, %q %q %v", a.types, a.err, b.types, b.rows, b.err)
	}
}

// TestSyncsInsideCopy: a Sync that is sent during a COPY which fails is answered or
// not, as PostgreSQL happens to read it. Neither costs the client its session nor
// keeps a shared server from the others.
func TestSyncsInsideCopy(t *testing.T) {
	for _, mode := range []pool.Mode{pool.SessionMode, pool.TransactionMode} {
		t.Run(mode.String(), func(t *testing.T) {
			s := newSite(t, plan{pool: func(set *pool.Settings) { set.Mode = mode }})
			c := login(t, s.primary)
			c.exec("CREATE TABLE IF NOT EXISTS sink (n int)")
			bad := pgscript.Message('d', []byte("bad line\n"))
			for range 3 {
				c.send(pgscript.Query("COPY sink FROM STDIN"), bad, pgscript.Sync(), pgscript.Message('c', nil), pgscript.Sync(),
					pgscript.Query("ROLLBACK"), pgscript.Query("SELECT 'after'"))
				for r := c.answer(); !slices.Equal(r.rows, []string{"after"}); r = c.answer() {
				}
			}
			c.send(pgscript.Query("COPY sink FROM STDIN"), bad, pgscript.Sync())
			c.answer()
			if mode == pool.TransactionMode {
				login(t, s.primary).exec("SELECT 'the server is free'")
			}
			c.leave()
		})
	}
}

// TestLeavesInsideCopy: however a client leaves around a COPY, the server comes
// back or is closed.
func TestLeavesInsideCopy(t *testing.T) {
	copyIn := [][]byte{
		pgscript.Query("COPY sink FROM STDIN"),
		slices.Concat(pgscript.Parse("", "COPY sink FROM STDIN"), pgscript.Bind("", ""), pgscript.Execute("")),
	}
	rest := map[string][]byte{
		"nothing":          nil,
		"data":             pgscript.Message('d', []byte("1\n")),
		"bad data":         pgscript.Message('d', []byte("bad\n")),
		"a Sync":           pgscript.Sync(),
		"bad data, Sync":   slices.Concat(pgscript.Message('d', []byte("bad\n")), pgscript.Sync()),
		"bad data, end":    slices.Concat(pgscript.Message('d', []byte("bad\n")), pgscript.Message('c', nil)),
		"Sync, bad, end":   slices.Concat(pgscript.Sync(), pgscript.Message('d', []byte("bad\n")), pgscript.Message('c', nil)),
		"Sync, data, fail": slices.Concat(pgscript.Sync(), pgscript.Message('d', []byte("1\n")), pgscript.Message('f', []byte("no\x00"))),
		"Sync, end":        slices.Concat(pgscript.Sync(), pgscript.Message('c', nil)),
		"half a message":   []byte("d\x00\x00\x00\xff"),
		"all, in a Sync":   slices.Concat(pgscript.Message('d', []byte("1\n")), pgscript.Message('c', nil), pgscript.Sync()),
	}
	leave := map[string]func(*client){
		"Terminate": (*client).leave,
		"FIN":       (*client).closeWrite,
		"RST":       (*client).reset,
		"close":     func(c *client) { c.conn.Close() },
	}
	s := newSite(t, plan{pool: transactions})
	login(t, s.primary).exec("CREATE TABLE IF NOT EXISTS sink (n int)")
	for first, start := range copyIn {
		for what, more := range rest {
			for how, end := range leave {
				for _, at := range []string{"at once", "in COPY", "answered"} {
					c := login(t, s.primary)
					c.send(start)
					if at != "at once" {
						if first == 1 {
							c.send(pgscript.Message('H', nil))
						}
						for m := c.receive(); ; m = c.receive() {
							if _, ok := m.(*pgproto3.CopyInResponse); ok {
								break
							}
						}
					}
					c.send(more)
					if at == "answered" && strings.Contains(what, "bad data") {
						for m := c.receive(); ; m = c.receive() {
							if _, ok := m.(*pgproto3.ErrorResponse); ok {
								break
							}
						}
					}
					end(c)
					next := login(t, s.primary)
					if r := next.query("SELECT 'free'"); !slices.Equal(r.rows, []string{"free"}) {
						t.Errorf("%d %s, %s, %s: %q %v", first, what, how, at, r.types, r.err)
						continue
					}
					next.leave()
				}
			}
		}
	}
}
