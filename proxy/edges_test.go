package proxy

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
)

// TestStartupPacketsAsDirect: odd startup packets are taken, or refused, as
// PostgreSQL does.
func TestStartupPacketsAsDirect(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{})
	usual := []string{"user", lab.TrustUser, "database", lab.AppDatabase}
	with := func(more ...string) []byte { return pgscript.Startup(slices.Concat(usual, more)...) }
	for _, test := range []struct {
		name   string
		packet []byte
	}{
		{"over 4 kB", with("search_path", strings.Repeat("a_schema, ", 500)+"public")},
		{"almost 10,000 bytes", with("search_path", strings.Repeat("a_schema, ", 980)+"public")},
		{"many parameters", with(slices.Repeat([]string{"DateStyle", "German", "work_mem", "5MB"}, 150)...)},
		{"one NUL more", longer(with(), "\x00")},
		{"bytes behind the end", longer(with(), "more")},
		{"a name behind the end", longer(with(), "x\x00y\x00\x00")},
		{"no terminator", shorter(with(), 1)},
		{"value not terminated", shorter(with(), 2)},
		{"name without a value", longer(shorter(with(), 1), "x\x00")},
		{"version only", []byte{0, 0, 0, 8, 0, 3, 0, 0}},
		{"no parameters", pgscript.Startup()},
		{"no user", pgscript.Startup("database", lab.AppDatabase)},
		{"a name longer than any role", pgscript.Startup("user", lab.TrustUser, "database", strings.Repeat("d", 100))},
		{"user twice", pgscript.Startup("user", "nobody", "user", lab.TrustUser, "database", lab.AppDatabase)},
		{"database twice", pgscript.Startup("user", lab.TrustUser, "database", "nowhere", "database", lab.AppDatabase)},
		{"a parameter twice", with("application_name", "one", "DateStyle", "SQL", "application_name", "two", "datestyle", "German")},
		{"no database", pgscript.Startup("user", lab.TrustUser)},
		{"an empty database", pgscript.Startup("user", lab.TrustUser, "database", "")},
		{"an empty user", pgscript.Startup("user", "", "database", lab.AppDatabase)},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, want := opening(t, s.primary, test.packet), opening(t, pg.Addr, test.packet); got != want {
				t.Errorf("got  %.200s\nwant %.200s", got, want)
			}
		})
	}
}

// longer is a startup packet with more at its end, shorter one with less.
func longer(packet []byte, more string) []byte {
	packet = append(slices.Clone(packet), more...)
	binary.BigEndian.PutUint32(packet, uint32(len(packet)))
	return packet
}

func shorter(packet []byte, n int) []byte { return longer(packet[:len(packet)-n], "") }

// opening is what comes of a startup packet: an SQLSTATE, or whose session it is.
func opening(t *testing.T, addr string, packet []byte) string {
	t.Helper()
	c := reach(t, addr)
	c.send(packet)
	if err := c.welcomed(); err != nil {
		return code(err)
	}
	defer c.leave()
	return strings.Join(c.welcome, " ") + c.value("SELECT concat_ws(' ', current_user, current_database(), "+
		"current_setting('search_path'), current_setting('work_mem'))")
}

// TestTransactionBlocksAsDirect: what a client is told of its transaction is what
// PostgreSQL tells it, and a shared server is the client's as long as that says so.
func TestTransactionBlocksAsDirect(t *testing.T) {
	pg := lab.StartPostgresT(t, lab.PostgresOptions{TLS: inTLS(), Parameters: map[string]string{"max_prepared_transactions": "2"}})
	if _, err := pg.SQL(t.Context(), lab.AppDatabase, "CREATE TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED); GRANT ALL ON late TO PUBLIC"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name       string
		statements []string
	}{
		{"several statements", []string{"SELECT 1; BEGIN; SELECT 2", "COMMIT", "BEGIN; COMMIT; SELECT 3", "SELECT 1; SELECT 2", "BEGIN; SELECT 1; COMMIT; BEGIN", "COMMIT"}},
		{"error among several", []string{"SELECT 1; SELECT 1/0; SELECT 2", "BEGIN; SELECT 1/0; COMMIT", "COMMIT", "BEGIN; COMMIT; SELECT 1/0", "SELECT 4"}},
		{"only words", []string{"SELECT 'BEGIN'", "/* BEGIN */ SELECT 1", "SELECT 'COMMIT' -- ; BEGIN"}},
		{"COMMIT AND CHAIN", []string{"BEGIN ISOLATION LEVEL SERIALIZABLE", "COMMIT AND CHAIN", "SHOW transaction_isolation", "COMMIT"}},
		{"ROLLBACK AND CHAIN", []string{"BEGIN READ ONLY", "SELECT 1/0", "ROLLBACK AND CHAIN", "SHOW transaction_read_only", "ROLLBACK"}},
		{"failed until ROLLBACK", []string{"BEGIN", "SELECT 1/0", "SELECT 1", "SAVEPOINT a", "ROLLBACK", "SELECT 1"}},
		{"COMMIT of a failed one", []string{"BEGIN", "SELECT 1/0", "COMMIT", "SELECT 1"}},
		{"failing COMMIT", []string{"BEGIN", "INSERT INTO late VALUES (1), (1)", "COMMIT", "SELECT count(*) FROM late"}},
		{"SAVEPOINT", []string{"BEGIN", "SAVEPOINT a", "SELECT 1/0", "ROLLBACK TO a", "SELECT 1", "RELEASE a", "ROLLBACK TO a", "ROLLBACK"}},
		{"two phases", []string{"BEGIN", "INSERT INTO late VALUES (7)", "PREPARE TRANSACTION 'x'", "SELECT gid FROM pg_prepared_xacts", "ROLLBACK PREPARED 'x'"}},
		{"two phases, failed", []string{"BEGIN", "SELECT 1/0", "PREPARE TRANSACTION 'y'", "SELECT gid FROM pg_prepared_xacts"}},
		{"warnings", []string{"COMMIT", "BEGIN", "BEGIN", "ROLLBACK"}},
	} {
		want := conversation(t, pg.Addr, nil, test.statements)[1:]
		for name, mode := range modes {
			t.Run(test.name+", "+name, func(t *testing.T) {
				s := newSite(t, plan{pool: mode, table: table(node("n1", pg.Addr))})
				s.holdsTo(t, test.statements, want, name == "transaction")
			})
		}
	}
}

// holdsTo plays statements, which must be answered like those of a conversation.
// Where servers are shared another client uses the one of the pool whenever no
// transaction is open.
func (s *site) holdsTo(t *testing.T, statements []string, want [][]string, shared bool) {
	t.Helper()
	c, other := login(t, s.primary), login(t, s.primary)
	for i, sql := range statements {
		r := c.query(sql)
		got := slices.Concat([]string{sql, r.types, r.state(), string(r.ready)}, r.rows, r.status)
		if !slices.Equal(got, want[i]) {
			t.Errorf("got  %q\nwant %q", got, want[i])
		}
		switch {
		case shared && r.ready == 'I':
			other.exec("SELECT 'in between'")
		case s.phases()[bound] != 1:
			t.Errorf("behind %s, with status %c, the client has no server", sql, r.ready)
		}
	}
	c.leave()
	other.exec("SELECT 1") // the server is free
	other.leave()
}

// TestCopyAsDirect: each way a COPY FROM STDIN can end, by each protocol, inside a
// transaction and outside, with one server for all (PgBouncer's #1471).
func TestCopyAsDirect(t *testing.T) {
	pg := postgres(t, 0)
	pg.ask(t, "CREATE TABLE copied (n int CHECK (n < 100)); GRANT ALL ON copied TO PUBLIC")
	t.Cleanup(func() { pg.ask(t, "DROP TABLE copied") })
	data := func(text string) []byte { return pgscript.Message('d', []byte(text)) }
	done, fail := pgscript.Message('c', nil), pgscript.Message('f', pgscript.Strings("enough"))
	const into = "COPY copied FROM STDIN"
	extended := slices.Concat(pgscript.Parse("", into), pgscript.Bind("", ""), pgscript.Execute(""))
	begins := map[string]struct {
		before, copy, inside, after []byte // inside is sent when PostgreSQL reads the data
	}{
		"simple":                 {copy: pgscript.Query(into)},
		"simple, Sync inside":    {copy: pgscript.Query(into), inside: pgscript.Sync()},
		"extended":               {copy: extended, after: pgscript.Sync()},
		"extended, Sync at once": {copy: slices.Concat(extended, pgscript.Sync()), after: pgscript.Sync()},
		"extended, Sync inside":  {copy: slices.Concat(extended, pgscript.Message('H', nil)), inside: pgscript.Sync(), after: pgscript.Sync()},
		"prepared": {before: slices.Concat(pgscript.Parse("into", into), pgscript.Sync()),
			copy: slices.Concat(pgscript.Bind("", "into"), pgscript.Execute("")), after: pgscript.Sync()},
	}
	for how, begin := range begins {
		for name, rows := range map[string][]byte{
			"done":         slices.Concat(data("1\n"), data("2\n3"), data("\n"), done),
			"empty":        done,
			"failed":       slices.Concat(data("1\n"), fail),
			"wrong":        slices.Concat(data("1\nno number\n"), data("2\n"), done),
			"wrong, fail":  slices.Concat(data("1\nno number\n"), data("2\n"), fail),
			"wrong at end": slices.Concat(data("1\n"), data("100"), done),
		} {
			for _, inside := range []bool{false, true} {
				var steps []step
				if inside {
					steps = append(steps, say(1, pgscript.Query("BEGIN")))
				}
				if begin.before != nil {
					steps = append(steps, say(1, begin.before))
				}
				if begin.inside != nil {
					steps = append(steps, step{begin.copy, 'G', 1}, say(1, begin.inside, rows, begin.after))
				} else {
					steps = append(steps, say(1, begin.copy, rows, begin.after))
				}
				steps = append(steps, say(1, pgscript.Query("SELECT count(*) FROM copied")))
				if inside {
					steps = append(steps, say(1, pgscript.Query("ROLLBACK")))
				}
				title := fmt.Sprintf("%s, %s, in a transaction: %t", how, name, inside)
				pg.ask(t, "TRUNCATE copied")
				want := played(login(t, pg.Addr), steps)
				for mode, set := range modes {
					t.Run(title+", "+mode, func(t *testing.T) {
						pg.ask(t, "TRUNCATE copied")
						s := newSite(t, plan{pool: set})
						c := login(t, s.primary)
						backend := c.value("SELECT pg_backend_pid()")
						if got := played(c, steps); !slices.Equal(got, want) {
							t.Errorf("got  %q\nwant %q", got, want)
						}
						if got := login(t, s.primary).value("SELECT pg_backend_pid()"); got != backend {
							t.Error("the server was given up")
						}
					})
				}
			}
		}
	}
}

// played takes each step when the one before has been answered, and leaves.
func played(c *client, steps []step) []string {
	c.t.Helper()
	var seen []string
	for _, s := range steps {
		told, _ := c.take(s)
		seen = append(seen, told)
	}
	c.leave()
	return seen
}
