package proxy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/statement"
	"github.com/pgvip/pgvip/wire"
)

// prepared makes a site pool by transaction, with a limit on the statements that
// a server keeps.
func prepared(servers, statements int) func(*pool.Settings) {
	return func(set *pool.Settings) {
		set.Mode = pool.TransactionMode
		set.PoolSize = servers
		set.MaxPreparedStatements = statements
	}
}

// run executes a prepared statement and gives the first value of its first row.
func (c *client) run(name string, values ...string) string {
	c.t.Helper()
	c.send(bind(name, values...), pgscript.Execute(""), pgscript.Sync())
	r := c.answer()
	if r.err != nil || len(r.rows) != 1 {
		c.t.Fatalf("%s: %q %v, want one row", name, r.rows, r.err)
	}
	return r.rows[0]
}

// prepare parses statements, names and texts in turn.
func (c *client) prepare(pairs ...string) {
	c.t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		c.send(pgscript.Parse(pairs[i], pairs[i+1]), pgscript.Sync())
		if r := c.answer(); r.err != nil {
			c.t.Fatalf("Parse %s: %v", pairs[i], refusal(r.err))
		}
	}
}

// bind binds text values to a statement.
func bind(name string, values ...string) []byte {
	body := append(pgscript.Strings("", name), 0, 0)
	body = append(body, int16s(uint16(len(values)))...)
	for _, v := range values {
		body = append(body, byte(len(v)>>24), byte(len(v)>>16), byte(len(v)>>8), byte(len(v)))
		body = append(body, v...)
	}
	return pgscript.Message('B', append(body, 0, 0))
}

func closing(name string) []byte {
	return pgscript.Message('C', append([]byte{'S'}, pgscript.Strings(name)...))
}

func describing(name string) []byte {
	return pgscript.Message('D', append([]byte{'S'}, pgscript.Strings(name)...))
}

// onServers is how many statements the servers know of pgvip's.
const onServers = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'pgvip_%'"

// TestStatementsFollowTheClient: each client has its own names, on whatever
// server it is, and the servers have each text once.
func TestStatementsFollowTheClient(t *testing.T) {
	s := newSite(t, plan{pool: prepared(1, 200)})
	a, b := login(t, s.primary), login(t, s.primary)
	a.prepare("q", "SELECT 'a' || $1::text", "r", "SELECT 'same'")
	b.prepare("q", "SELECT 'b' || $1::text", "s", "SELECT 'same'")
	for range 3 {
		if got := a.run("q", "1") + a.run("r"); got != "a1same" {
			t.Errorf("a gets %q", got)
		}
		if got := b.run("q", "2") + b.run("s"); got != "b2same" {
			t.Errorf("b gets %q", got)
		}
	}
	if got := a.value(onServers); got != "3" {
		t.Errorf("the server has %s statements, want 3", got)
	}
	s.counted(t)
	a.leave()
	if got := b.run("s"); got != "same" {
		t.Errorf("after the other has left: %q", got)
	}
}

// counted looks at what SHOW says of the clients of TestStatementsFollowTheClient.
func (s *site) counted(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	clients, err := s.proxy.ClientList(ctx)
	if err != nil || len(clients) != 2 || clients[0].Prepared != 2 {
		t.Errorf("clients: %+v %v, want two of 2 statements", clients, err)
	}
	servers, err := s.pools.Servers(ctx)
	if err != nil || len(servers) != 1 || servers[0].Prepared != 3 {
		t.Errorf("servers: %+v %v, want one of 3 statements", servers, err)
	}
	totals, err := s.pools.Traffic(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if y := totals[lab.AppDatabase].Traffic; y.ClientParses != 4 || y.ServerParses != 3 || y.Binds != 12 {
		t.Errorf("%d parses of clients, %d of servers, %d binds, want 4, 3, 12", y.ClientParses, y.ServerParses, y.Binds)
	}
}

// TestStatementIsParsedWhereItIsMissing: inside a transaction on another server,
// and for Describe as for Bind.
func TestStatementIsParsedWhereItIsMissing(t *testing.T) {
	s := newSite(t, plan{pool: prepared(2, 200)})
	a, b := login(t, s.primary), login(t, s.primary)
	a.prepare("q", "SELECT pg_backend_pid()")
	first := a.run("q")
	b.exec("BEGIN") // takes that server
	a.exec("BEGIN")
	a.send(describing("q"), bind("q"), pgscript.Execute(""), pgscript.Sync())
	if r := a.answer(); r.types != "tT2DCZ" || r.rows[0] == first {
		t.Errorf("on another server: %q from server %q, first was %s", r.types, r.rows, first)
	}
	a.exec("COMMIT")
	b.exec("COMMIT")
}

// TestUnnamedStatementIsTheClientsOwn: lib/pq parses it in one transaction and
// binds it in the next.
func TestUnnamedStatementIsTheClientsOwn(t *testing.T) {
	s := newSite(t, plan{pool: prepared(1, 200)})
	a, b, c := login(t, s.primary), login(t, s.primary), login(t, s.primary)
	a.prepare("", "SELECT 'a'")
	b.prepare("", "SELECT 'b'")
	c.send(bind(""), pgscript.Execute(""), pgscript.Sync())
	if r := c.answer(); r.types != "EZ" || r.state() != wire.CodeInvalidStatementName || r.err.Message != "unnamed prepared statement does not exist" {
		t.Errorf("a client without one gets %q %v", r.types, r.err)
	}
	if got := a.run("") + b.run("") + b.run("") + a.run(""); got != "abba" {
		t.Errorf("got %q, want abba", got)
	}
	a.exec("SELECT 1")
	a.send(bind(""), pgscript.Sync())
	if r := a.answer(); r.state() != wire.CodeInvalidStatementName {
		t.Errorf("after a Query: %v, want 26000", r.err)
	}
	large := strings.Repeat("x", 40<<10)
	a.prepare("", "SELECT '"+large+"'")
	b.run("")
	if got := a.run(""); got != large {
		t.Errorf("a large one: %d bytes, want %d", len(got), len(large))
	}
}

// TestEvictedStatementComesBack: max_prepared_statements.
func TestEvictedStatementComesBack(t *testing.T) {
	s := newSite(t, plan{pool: prepared(1, 3)})
	c := login(t, s.primary)
	for i := range 10 {
		c.prepare(fmt.Sprint("q", i), fmt.Sprint("SELECT ", i))
	}
	if got := c.value(onServers); got != "3" {
		t.Errorf("the server has %s statements, want 3", got)
	}
	for i := range 10 {
		if got := c.run(fmt.Sprint("q", i)); got != fmt.Sprint(i) {
			t.Errorf("q%d gives %s", i, got)
		}
	}
	if got := c.value(onServers); got != "3" {
		t.Errorf("the server has %s statements, want 3", got)
	}
}

// TestDeallocate: by SQL, all or one of them, alone and in a pipeline in front of
// statements that are prepared again.
func TestDeallocate(t *testing.T) {
	s := newSite(t, plan{pool: prepared(1, 200)})
	c, other := login(t, s.primary), login(t, s.primary)
	c.prepare("q", "SELECT 'old'", "r", "SELECT 'r'")
	other.prepare("q", "SELECT 'other'")
	c.send(pgscript.Query("DEALLOCATE ALL"), pgscript.Parse("q", "SELECT 'new'"), bind("q"), pgscript.Execute(""), pgscript.Sync())
	if r := c.answer(); !slices.Equal(r.tags, []string{"DEALLOCATE ALL"}) {
		t.Errorf("DEALLOCATE ALL gives %q", r.tags)
	}
	if r := c.answer(); r.types != "12DCZ" || r.rows[0] != "new" {
		t.Errorf("behind it: %q %q %v", r.types, r.rows, r.err)
	}
	if got := c.run("q") + other.run("q"); got != "newother" {
		t.Errorf("later: %q", got)
	}
	c.send(bind("r"), pgscript.Sync())
	if r := c.answer(); r.state() != wire.CodeInvalidStatementName || r.err.Message != `prepared statement "r" does not exist` {
		t.Errorf("a deallocated one: %v", r.err)
	}
	if r := c.exec("DEALLOCATE q"); !slices.Equal(r.tags, []string{"DEALLOCATE"}) {
		t.Errorf("DEALLOCATE q gives %q", r.tags)
	}
	c.send(bind("q"), pgscript.Sync())
	if r := c.answer(); r.state() != wire.CodeInvalidStatementName {
		t.Errorf("after DEALLOCATE q: %v", r.err)
	}
	if got := other.run("q"); got != "other" {
		t.Errorf("the other client's: %q", got)
	}
}

// TestDuplicateAndUnknownNames: errors as PostgreSQL's, and the connection lives.
func TestDuplicateAndUnknownNames(t *testing.T) {
	s := newSite(t, plan{pool: prepared(1, 200)})
	c := login(t, s.primary)
	c.prepare("q", "SELECT 1")
	c.exec("BEGIN")
	c.send(pgscript.Parse("q", "SELECT 2"), bind("q"), pgscript.Execute(""), pgscript.Sync())
	if r := c.answer(); r.types != "EZ" || r.ready != 'E' || r.state() != wire.CodeDuplicatePrepared || r.err.Message != `prepared statement "q" already exists` {
		t.Errorf("a name used before: %q %c %v", r.types, r.ready, r.err)
	}
	c.exec("ROLLBACK")
	if got := c.run("q"); got != "1" {
		t.Errorf("the old one gives %q", got)
	}
	for _, m := range [][]byte{bind("x"), describing("x")} {
		c.send(m, pgscript.Execute(""), pgscript.Sync())
		if r := c.answer(); r.types != "EZ" || r.state() != wire.CodeInvalidStatementName {
			t.Errorf("%c of an unknown name: %q %v", m[0], r.types, r.err)
		}
	}
	c.send(closing("x"), closing("q"), pgscript.Sync())
	if r := c.answer(); r.types != "33Z" {
		t.Errorf("Close: %q %v", r.types, r.err)
	}
	// A name like ours is a name like any other.
	ours := c.value("SELECT name FROM pg_prepared_statements")
	c.send(bind(ours), pgscript.Sync())
	if r := c.answer(); r.state() != wire.CodeInvalidStatementName {
		t.Errorf("the name on the server: %q %v", r.types, r.err)
	}
}

// TestAnswersWithoutTheServer: what is made up comes when it is asked for, though
// the server has nothing to send.
func TestAnswersWithoutTheServer(t *testing.T) {
	s := newSite(t, plan{pool: prepared(1, 200)})
	c := login(t, s.primary)
	c.prepare("q", "SELECT 1")
	c.send(pgscript.Parse("p", "SELECT 1"), closing("q"), pgscript.Message('H', nil))
	if a, b := c.receive(), c.receive(); fmt.Sprintf("%T%T", a, b) != "*pgproto3.ParseComplete*pgproto3.CloseComplete" {
		t.Errorf("on Flush: %T and %T", a, b)
	}
	c.send(pgscript.Sync())
	c.answer()
	c.send(bind("p"), closing("p"), pgscript.Execute(""), pgscript.Parse("q", "SELECT 1"), pgscript.Sync())
	if r := c.answer(); r.types != "23DC1Z" {
		t.Errorf("between the server's answers: %q, want 23DC1Z", r.types)
	}
	c.send(pgscript.Parse("r", "SELECT 1"))
	c.closeWrite()
	if m, err := c.tryReceive(); err != nil || fmt.Sprintf("%T", m) != "*pgproto3.ParseComplete" {
		t.Errorf("on the end of a client: %T %v", m, err)
	}
	c.gone()
}

// TestLargeStatements: only as much of a message is collected as must be seen.
func TestLargeStatements(t *testing.T) {
	s := newSite(t, plan{pool: prepared(2, 200)})
	a, b := login(t, s.primary), login(t, s.primary)
	name := strings.Repeat("n", 5000)
	text := "SELECT length($1::text) /* " + strings.Repeat("x", 300<<10) + " */"
	value := strings.Repeat("v", 16<<20)
	a.prepare(name, text)
	b.exec("BEGIN")
	if got := a.run(name, value); got != fmt.Sprint(len(value)) {
		t.Errorf("on another server: %s, want %d", got, len(value))
	}
	b.exec("COMMIT")
	// A large Parse that has to wait for the answer to another one.
	a.send(pgscript.Parse("w", "SELEC"), pgscript.Sync(), pgscript.Parse("w", text), bind("w", "12"), pgscript.Execute(""), pgscript.Sync())
	if r := a.answer(); r.state() != "42601" {
		t.Errorf("a wrong one: %v", r.err)
	}
	if r := a.answer(); r.types != "12DCZ" || r.rows[0] != "2" {
		t.Errorf("the same name again: %q %v %v", r.types, r.rows, r.err)
	}
	over := pgscript.Parse("o", strings.Repeat(" ", statement.MaxText))
	a.send(over[:1<<20])
	if got := a.fatal(); got != wire.CodeOutOfMemory {
		t.Errorf("a text of more than is kept: %s", got)
	}
}

// TestStateOfAPreparedStatement: what a statement leaves behind is noticed when it
// runs, in whatever transaction.
func TestStateOfAPreparedStatement(t *testing.T) {
	s := newSite(t, plan{pool: prepared(1, 200)})
	a, b := login(t, s.primary), login(t, s.primary)
	a.prepare("q", "SELECT set_config('work_mem', '9MB', false)")
	b.exec("SELECT 1")
	a.run("q")
	if got := b.value("SHOW work_mem"); got != "4MB" {
		t.Errorf("the next client sees %q", got)
	}
	if got := a.run("q"); got != "9MB" {
		t.Errorf("after the reset: %q", got)
	}
}

// TestOneWriteForBindExecuteSync: a server that reads once has all of it.
func TestOneWriteForBindExecuteSync(t *testing.T) {
	got := make(chan []byte, 1)
	server := pgscript.Serve(t, pgscript.AcceptLogin(),
		pgscript.Expect("PS"), pgscript.Send(pgscript.Message('1', nil), pgscript.Ready('I')),
		func(c *pgscript.Conn) error {
			b := make([]byte, 1000)
			n, err := c.Read(b)
			got <- b[:n]
			return err
		},
		pgscript.Send(pgscript.Message('2', nil), pgscript.Complete("SELECT 0"), pgscript.Ready('I')),
		pgscript.ExpectGone())
	s := newSite(t, plan{pool: prepared(1, 200), table: table(node("n1", server.Addr))})
	c := login(t, s.primary)
	c.prepare("q", "SELECT 1")
	c.send(bind("q"), pgscript.Execute(""), pgscript.Sync())
	if r := c.answer(); r.types != "2CZ" {
		t.Errorf("got %q", r.types)
	}
	b := <-got
	var f wire.Framer
	types := ""
	for len(b) > 0 {
		typ, n, piece := f.Next(b)
		if piece != wire.Whole {
			t.Fatalf("%q behind %q", b, types)
		}
		types += string(rune(typ))
		b = b[n:]
	}
	if types != "BES" {
		t.Errorf("in one read: %q, want BES", types)
	}
}

// TestChangedResultType: "cached plan must not change result type" reaches only a
// client that has not asked for the new type.
func TestChangedResultType(t *testing.T) {
	s := newSite(t, plan{pool: prepared(1, 200)})
	a, b := login(t, s.primary), login(t, s.primary)
	a.exec("DROP TABLE IF EXISTS shape")
	a.exec("CREATE TABLE shape (x int)")
	a.exec("INSERT INTO shape VALUES (1)")
	portal := pgscript.Message('D', append([]byte{'P'}, 0))
	a.prepare("q", "SELECT * FROM shape")
	if got := a.run("q"); got != "1" {
		t.Fatalf("got %q", got)
	}
	widen := func(column string) {
		t.Helper()
		b.exec("ALTER TABLE shape ADD COLUMN " + column + " int DEFAULT 2")
	}

	widen("y")
	b.send(pgscript.Parse("other", "SELECT * FROM shape"), describing("other"), pgscript.Sync())
	if r := b.answer(); r.types != "1tTZ" {
		t.Errorf("a client that prepares it now gets %q %v, want 1tTZ", r.types, r.err)
	}
	widen("z")
	a.send(bind("q"), portal, pgscript.Execute(""), pgscript.Sync())
	if r := a.answer(); r.types != "2TDCZ" || r.rows[0] != "1|2|2" {
		t.Errorf("a client that asks for the type gets %q %q %v, want 2TDCZ", r.types, r.rows, r.err)
	}
	if got := a.run("q"); got != "1|2|2" {
		t.Errorf("later: %q", got)
	}

	widen("v")
	a.send(bind("q"), pgscript.Execute(""), pgscript.Sync())
	if r := a.answer(); r.types != "EZ" || r.state() != wire.CodeFeatureNotSupported {
		t.Errorf("a client that does not ask gets %q %v, want 0A000", r.types, r.err)
	}
	if got := a.run("q"); got != "1|2|2|2" {
		t.Errorf("the next time: %q", got)
	}

	widen("w")
	a.exec("BEGIN")
	a.send(bind("q"), portal, pgscript.Execute(""), pgscript.Sync())
	if r := a.answer(); r.types != "EZ" || r.ready != 'E' || r.state() != wire.CodeFeatureNotSupported {
		t.Errorf("in a transaction: %q %c %v, want 0A000", r.types, r.ready, r.err)
	}
	a.exec("ROLLBACK")
	a.send(bind("q"), portal, pgscript.Execute(""), pgscript.Sync(), pgscript.Query("SELECT 7"))
	if r := a.answer(); r.types != "2TDCZ" {
		t.Errorf("after it: %q %v", r.types, r.err)
	}
	if r := a.answer(); r.types != "TDCZ" || r.rows[0] != "7" {
		t.Errorf("behind it: %q %q", r.types, r.rows)
	}
	a.exec("DROP TABLE shape")
}
