package proxy

import (
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/route"
)

// scripted is a replica that answers a login for the welcome, then plays a
// script on the connection that is lent.
func scripted(t *testing.T, script ...pgscript.Step) *site {
	t.Helper()
	server := pgscript.Serve(t, append([]pgscript.Step{pgscript.AcceptLogin()}, script...)...)
	return newSite(t, plan{table: table(nil, node("n1", server.Addr))})
}

// TestLostServer: what a client is told when its server goes says whether its
// transaction may have been committed (rule 13).
func TestLostServer(t *testing.T) {
	begin := pgscript.Steps(pgscript.Expect("Q"), pgscript.Send(pgscript.Complete("BEGIN"), pgscript.Ready('T')))
	parse := pgscript.Message('P', append(pgscript.Strings("", "COMMIT"), 0, 0))
	bind := pgscript.Message('B', append(pgscript.Strings("", ""), int16s(0, 0, 0)...))
	execute := pgscript.Message('E', append(pgscript.Strings(""), 0, 0, 0, 0))
	end := pgscript.Message('S', nil)
	for _, test := range []struct {
		name  string
		begin bool
		send  []byte
		die   pgscript.Step
		state string
	}{
		{"autocommit", false, pgscript.Query("INSERT"), pgscript.Reset(), "08007"},
		{"autocommit, closed", false, pgscript.Query("INSERT"), pgscript.Close(), "08007"},
		{"autocommit, half a row came", false, pgscript.Query("SELECT 1"),
			pgscript.Steps(pgscript.Send(pgscript.Columns("x"), []byte("D\x00\x00")), pgscript.Close()), "08007"},
		{"in a transaction", true, pgscript.Query("INSERT"), pgscript.Reset(), "08006"},
		{"COMMIT", true, pgscript.Query("COMMIT"), pgscript.Reset(), "08007"},
		{"end, in small letters", true, pgscript.Query("\n end"), pgscript.Reset(), "08007"},
		{"PREPARE TRANSACTION", true, pgscript.Query("PREPARE TRANSACTION 'x'"), pgscript.Reset(), "08007"},
		{"COMMIT behind a comment", true, pgscript.Query("/* x */ COMMIT"), pgscript.Reset(), "08007"},
		{"COMMIT behind another statement", true, pgscript.Query("SELECT 1; COMMIT"), pgscript.Reset(), "08007"},
		{"COMMIT behind another query", true, slices.Concat(pgscript.Query("SELECT 1"), pgscript.Query("COMMIT")), pgscript.Reset(), "08007"},
		{"COMMIT in the extended protocol", true, slices.Concat(parse, bind, execute, end), pgscript.Reset(), "08007"},
		{"COMMIT prepared before", true, slices.Concat(bind, execute, end), pgscript.Reset(), "08007"},
		{"idle in a transaction", true, nil, pgscript.Reset(), "08006"},
		{"FATAL of the server", false, pgscript.Query("SELECT 1"),
			pgscript.Steps(pgscript.Send(pgscript.Error("FATAL", "57P05", "a word")), pgscript.Close()), "57P05"},
		{"FATAL while idle in a transaction", true, nil,
			pgscript.Steps(pgscript.Send(pgscript.Error("FATAL", "25P03", "a word")), pgscript.Close()), "25P03"},
		{"FATAL without a close", true, nil,
			pgscript.Steps(pgscript.Send(pgscript.Error("FATAL", "57P01", "a word")), pgscript.ExpectGone()), "57P01"},
		{"nonsense", false, pgscript.Query("SELECT 1"), pgscript.Send([]byte("?nonsense")), "08007"},
	} {
		t.Run(test.name, func(t *testing.T) {
			sent := make(chan struct{})
			steps := []pgscript.Step{pgscript.Wait(sent)}
			if test.begin {
				steps = []pgscript.Step{begin, pgscript.Wait(sent)}
			}
			if len(test.send) > 0 {
				steps = append(steps, func(c *pgscript.Conn) error { // the first message is enough
					return pgscript.Expect(string(test.send[0]))(c)
				})
			}
			s := scripted(t, append(steps, test.die)...)
			c := login(t, s.replica)
			if test.begin {
				c.exec("BEGIN")
			}
			c.send(test.send)
			if len(test.send) == 0 && !test.begin {
				t.Fatal("BUG: no server")
			}
			close(sent)
			if got := c.fatal(); got != test.state {
				t.Errorf("SQLSTATE %s, want %s", got, test.state)
			}
		})
	}
}

// TestBackendKilled: the same with a real server.
func TestBackendKilled(t *testing.T) {
	pg := postgres(t, 1)
	for _, test := range []struct {
		name  string
		sql   []string
		last  string
		kill  func(pid string)
		state string
	}{
		{"terminated in a query", nil, "SELECT pg_sleep(600)", func(pid string) { pg.ask(t, "SELECT pg_terminate_backend("+pid+")") }, "57P01"},
		{"terminated in a transaction", []string{"BEGIN"}, "", func(pid string) { pg.ask(t, "SELECT pg_terminate_backend("+pid+")") }, "57P01"},
		{"idle_in_transaction_session_timeout", []string{"SET idle_in_transaction_session_timeout = '50ms'", "BEGIN"}, "", nil, "25P03"},
		{"idle_session_timeout", []string{"SET idle_session_timeout = '50ms'"}, "", nil, "57P05"},
		{"transaction read only", []string{"SET default_transaction_read_only = on", "BEGIN"}, "COMMIT; SELECT pg_terminate_backend(pg_backend_pid())", nil, "57P01"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, plan{table: table(node("n1", pg.Addr))})
			c := login(t, s.primary)
			pid := c.value("SELECT pg_backend_pid()")
			for _, sql := range test.sql {
				c.exec(sql)
			}
			if test.last != "" {
				c.send(pgscript.Query(test.last))
			}
			if test.kill != nil {
				test.kill(pid)
			}
			if got := c.fatal(); got != test.state {
				t.Errorf("SQLSTATE %s, want %s", got, test.state)
			}
			login(t, s.primary).exec("SELECT 1")
		})
	}
}

// TestCrash: kill -9 of one backend ends all, and clients that wait are served
// when PostgreSQL is back.
func TestCrash(t *testing.T) {
	pg := postgres(t, 1)
	s := newSite(t, plan{table: table(node("n1", pg.Addr)), pool: poolSize(3)})
	inQuery, inTransaction, idle := login(t, s.primary), login(t, s.primary), login(t, s.primary)
	idle.exec("SELECT 1")
	inTransaction.exec("BEGIN")
	inTransaction.send(pgscript.Query("SELECT pg_sleep(600)"))
	pid, err := strconv.Atoi(inQuery.value("SELECT pg_backend_pid()"))
	if err != nil {
		t.Fatal(err)
	}
	waiting := login(t, s.primary)
	s.waits(waiting, "SELECT 42", 0)
	inQuery.send(pgscript.Query("SELECT pg_sleep(600)"))
	pg.sleeping(t, 2)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := inQuery.fatal(); got != "08007" {
		t.Errorf("in a query: %s, want 08007", got)
	}
	if got := inTransaction.fatal(); got != "08006" {
		t.Errorf("in a transaction: %s, want 08006", got)
	}
	if got := idle.fatal(); got != "08006" {
		t.Errorf("idle: %s, want 08006", got)
	}
	r := waiting.answer()
	if r.state() == "08007" {
		// It had got a new backend before PostgreSQL noticed the crash and ended
		// that one too: its query was in flight.
		r = login(t, s.primary).query("SELECT 42")
	}
	if r.err != nil || r.rows[0] != "42" {
		t.Errorf("waiting: %q %v", r.rows, r.err)
	}
	pg.reconnect(t)
}

// TestFencedPrimary: nothing of an old primary is used any more; only clients
// that had a server there hear of it (rules 22, 23 and 28).
func TestFencedPrimary(t *testing.T) {
	old, next := postgres(t, 0), postgres(t, 1)
	s := newSite(t, plan{table: table(node("n1", old.Addr)), pool: poolSize(5)})
	unbound, idle, open, busy, gone := login(t, s.primary), login(t, s.primary), login(t, s.primary), login(t, s.primary), login(t, s.primary)
	idle.exec("SELECT 1")
	open.exec("BEGIN")
	gone.exec("SELECT 1")
	gone.leave() // leaves an idle server
	busy.send(pgscript.Query("SELECT pg_sleep(600) /* fenced */"))
	running := func() bool {
		return old.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%600) /* fenced */'") == "1"
	}
	eventually(t, "it runs", running)
	s.proxy.SetTable(table(node("n2", next.Addr), node("n1", old.Addr)))
	for name, c := range map[string]*client{"idle": idle, "in a transaction": open} {
		if got := c.fatal(); got != "57P01" {
			t.Errorf("%s: %s, want 57P01", name, got)
		}
	}
	if got := busy.fatal(); got != "08007" {
		t.Errorf("busy: %s, want 08007", got)
	}
	eventually(t, "the query is cancelled", func() bool { return !running() })
	eventually(t, "all servers there are closed", func() bool { return old.backends(t) == "0" })
	if got, want := unbound.value("SELECT inet_server_addr()"), next.Host; got != want {
		t.Errorf("the unbound client went to %s, want %s", got, want)
	}
}

// TestParkedGoOn: clients wait for a primary in the order in which they came.
func TestParkedGoOn(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{})
	pg.ask(t, "CREATE TABLE IF NOT EXISTS turns (n serial, who text); TRUNCATE turns; GRANT ALL ON turns, turns_n_seq TO PUBLIC")
	const n = 6
	var clients [n]*client
	for i := range clients {
		clients[i] = login(t, s.primary)
	}
	s.proxy.SetTable(table(nil))
	want := ""
	for i := range clients {
		name := string(rune('a' + i))
		want += name
		clients[(i*5)%n].send(pgscript.Query("INSERT INTO turns (who) VALUES ('"+name+"')"), pgscript.Terminate())
		eventually(t, "parked", func() bool { return s.proxy.counters.Parked.Load() == int64(i+1) })
	}
	s.proxy.SetTable(table(nil)) // news that helps nobody
	s.proxy.SetTable(table(node("n1", pg.Addr)))
	eventually(t, "all have been served", func() bool {
		return pg.ask(t, "SELECT string_agg(who, '' ORDER BY n) FROM turns") == want
	})
	eventually(t, "all have gone", func() bool { return s.proxy.Clients() == 0 })
}

// TestFailoverWaitTimeout ends the wait for a node with 57P03, naming the
// setting and the reason.
func TestFailoverWaitTimeout(t *testing.T) {
	s := newSite(t, plan{proxy: func(set *Settings) { set.FailoverWaitTimeout = 50 * time.Millisecond }})
	first, second := login(t, s.primary), login(t, s.primary)
	none := table(nil)
	none.Reason = "the leader key is missing"
	s.proxy.SetTable(none)
	first.send(pgscript.Query("SELECT 1"))
	eventually(t, "parked", func() bool { return s.proxy.counters.Parked.Load() == 1 })
	for _, c := range []*client{first, second} {
		if c == second { // parked when the first has gone
			c.send(pgscript.Query("SELECT 1"))
		}
		r := c.answer()
		if r.state() != "57P03" || !strings.Contains(r.err.Message, "leader key is missing") || !strings.Contains(r.err.Hint, "failover_wait_timeout") {
			t.Errorf("got %+v, want 57P03 with reason and setting", r.err)
		}
	}
}

// TestReplicasAlternate by login, each client stays where it is, and one whose
// node leaves the set goes elsewhere (rule 2).
func TestReplicasAlternate(t *testing.T) {
	a, b := postgres(t, 0), postgres(t, 1)
	n1, n2 := node("n1", a.Addr), node("n2", b.Addr)
	s := newSite(t, plan{table: table(nil, n1, n2), pool: poolSize(4)})
	var clients []*client
	var hosts []string
	for range 4 {
		c := login(t, s.replica)
		clients = append(clients, c)
		hosts = append(hosts, c.value("SELECT inet_server_addr()"))
	}
	if hosts[0] == hosts[1] || hosts[0] != hosts[2] || hosts[1] != hosts[3] {
		t.Errorf("four logins went to %v, want them to alternate", hosts)
	}
	unbound := login(t, s.replica)
	s.proxy.SetTable(&route.Table{Replicas: []*route.Node{n1}, Nodes: []*route.Node{n1, n2}})
	for i, c := range clients {
		// Lag is finished, not cut (rule 2): the node lives on.
		if got := c.value("SELECT inet_server_addr()"); got != hosts[i] {
			t.Errorf("client %d moved in mid-session", i)
		}
	}
	if got := unbound.value("SELECT inet_server_addr()"); got != a.Host {
		t.Errorf("unbound client went to %s, want %s", got, a.Host)
	}
	if got := login(t, s.replica).value("SELECT inet_server_addr()"); got != a.Host {
		t.Errorf("new client went to %s, want %s", got, a.Host)
	}
	s.proxy.SetTable(table(nil, n2))
	for i, c := range clients {
		if got := c.value("SELECT inet_server_addr()"); got != hosts[i] {
			t.Errorf("client %d moved in mid-session", i)
		}
		c.leave()
	}
	eventually(t, "servers of the node that left are closed", func() bool { return a.backends(t) == "2" })
}

// TestNotWritable: a node in recovery is never lent on the port for writes.
func TestNotWritable(t *testing.T) {
	pg := postgres(t, 0)
	recovering := pgscript.Serve(t, pgscript.ExpectStartup(), pgscript.Send(
		pgscript.AuthOK(), pgscript.Statuses("on"), pgscript.BackendKey(1, 2), pgscript.Ready('I')), pgscript.ExpectGone())
	s := newSite(t, plan{})
	c := login(t, s.primary)
	s.proxy.SetTable(table(node("n2", recovering.Addr)))
	s.waits(c, "SELECT 42", 0)
	eventually(t, "it was tried more than once", func() bool { return s.pools.Counters().LoginFailures.Load() > 1 })
	s.proxy.SetTable(table(node("n1", pg.Addr)))
	if r := c.answer(); r.err != nil || r.rows[0] != "42" {
		t.Errorf("got %+v", r)
	}
}
