package statement

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/wire"
)

// desk is a client with a server that answers only in a test's imagination.
type desk struct {
	t       *testing.T
	store   *Store
	replies wire.Replies
	server  *Server
	client  Client
}

func newDesk(t *testing.T, limit int) *desk {
	d := &desk{t: t, store: NewStore()}
	d.replies.SetStatus('I')
	d.server = NewServer(d.store, &d.replies)
	d.server.Lend(&d.client, limit)
	return d
}

// sends gives the types of the messages that go to the server.
func (d *desk) sends(messages ...[]byte) string {
	d.t.Helper()
	var out, raw []byte
	for _, m := range messages {
		var v Verdict
		out, v = d.server.Forward(out, raw, m)
		switch v {
		case Sent:
			raw = nil
		case Pass:
			raw = append(raw, m...)
		case Wait:
			d.t.Fatalf("%c has to wait", m[0])
		}
	}
	return typesOf(append(out, raw...))
}

// answers plays the server's answers, "Z" being one outside a transaction, and
// gives the types that the client gets.
func (d *desk) answers(types string) string {
	d.t.Helper()
	var seen []byte
	for _, typ := range []byte(types) {
		seen = append(seen, d.made()...)
		before := d.replies.Done()
		var action wire.Action
		var err error
		if typ == 'Z' {
			action, err = d.replies.GotReady('I')
		} else {
			action, err = d.replies.Got(typ)
		}
		if err != nil {
			d.t.Fatalf("%c: %v", typ, err)
		}
		d.server.Got(typ, before)
		if action == wire.Forward {
			seen = append(seen, typ)
		}
		seen = append(seen, d.made()...)
	}
	return string(seen)
}

func (d *desk) made() (types []byte) {
	for {
		before := d.replies.Done()
		typ, ok := d.replies.Synthetic()
		if !ok {
			return types
		}
		d.server.Got(typ, before)
		types = append(types, typ)
	}
}

func typesOf(b []byte) (types string) {
	for len(b) > 0 {
		types += string(rune(b[0]))
		b = b[length(b):]
	}
	return types
}

func TestKnownStatementCostsNothing(t *testing.T) {
	d := newDesk(t, 10)
	if got := d.sends(parse("a", "SELECT 1"), syncing()); got != "PS" {
		t.Fatalf("first Parse: %q", got)
	}
	d.answers("1Z")
	var other Client
	d.server.Lend(&other, 10)
	if got := d.sends(parse("x", "SELECT 1"), bind("", "x"), execute(""), syncing()); got != "BES" {
		t.Errorf("the same statement of another client: %q goes to the server, want BES", got)
	}
	if got := d.answers("2CZ"); got != "12CZ" {
		t.Errorf("client gets %q, want 12CZ", got)
	}
	if d.store.Len() != 1 || d.server.Counts != (Counts{ClientParses: 2, ServerParses: 1, Binds: 1}) {
		t.Errorf("%d statements, counted %+v", d.store.Len(), d.server.Counts)
	}
}

func TestMissingStatementIsParsedFirst(t *testing.T) {
	d := newDesk(t, 10)
	d.sends(parse("a", "SELECT 1"), syncing())
	d.answers("1Z")
	d.server.Return()
	another := desk{t: t, store: d.store}
	another.replies.SetStatus('I')
	another.server = NewServer(d.store, &another.replies)
	another.server.Lend(&d.client, 10)
	if got := another.sends(bind("", "a"), execute(""), syncing()); got != "PBES" {
		t.Errorf("on a new server: %q, want PBES", got)
	}
	if got := another.answers("12CZ"); got != "2CZ" {
		t.Errorf("client gets %q, want 2CZ", got)
	}
}

// TestOldestStatementIsEvicted: max_prepared_statements.
func TestOldestStatementIsEvicted(t *testing.T) {
	d := newDesk(t, 2)
	d.sends(parse("a", "SELECT 1"), parse("b", "SELECT 2"), syncing())
	d.answers("11Z")
	d.sends(bind("", "a"), syncing())
	d.answers("2Z")
	if got := d.sends(parse("c", "SELECT 3"), syncing()); got != "CPS" {
		t.Errorf("third of two: %q, want CPS", got)
	}
	if got := d.answers("31Z"); got != "1Z" {
		t.Errorf("client gets %q, want 1Z", got)
	}
	if got := d.sends(bind("", "a"), syncing()); got != "BS" {
		t.Errorf("the one used last: %q, want BS", got)
	}
	d.answers("2Z")
	if got := d.sends(bind("", "b"), syncing()); got != "CPBS" {
		t.Errorf("the one evicted: %q, want CPBS", got)
	}
}

// TestFailedBatchChangesNothing: after an error PostgreSQL reads and discards
// messages until a Sync, a Close of ours among them.
func TestFailedBatchChangesNothing(t *testing.T) {
	d := newDesk(t, 1)
	d.sends(parse("a", "SELECT 1"), syncing())
	d.answers("1Z")
	if got := d.sends(execute("nowhere"), parse("b", "SELECT 2"), closing('S', "a"), syncing()); got != "ECPS" {
		t.Fatalf("sent %q", got)
	}
	if got := d.answers("EZ"); got != "EZ" {
		t.Errorf("client gets %q, want EZ", got)
	}
	if d.client.Len() != 1 || d.store.Len() != 1 {
		t.Errorf("client has %d statements of %d, want one", d.client.Len(), d.store.Len())
	}
	if got := d.sends(bind("", "a"), syncing()); got != "BS" {
		t.Errorf("statement from before: %q, want BS", got)
	}
}

// TestDeallocateAllSparesWhatComesBehind: a later Parse of the same pipeline
// survives it.
func TestDeallocateAllSparesWhatComesBehind(t *testing.T) {
	d := newDesk(t, 10)
	d.sends(parse("a", "SELECT 1"), syncing())
	d.answers("1Z")
	d.sends(pgscript.Query("SELECT deallocate_all_in_some_function()"), parse("b", "SELECT 2"), syncing())
	d.server.Completed([]byte("DEALLOCATE ALL\x00"), true)
	d.answers("CZ1Z")
	if _, st, _ := d.server.lookup([]byte("b")); st == nil || d.client.Len() != 1 {
		t.Errorf("client has %d statements, want only the later one", d.client.Len())
	}
	// Of a batch that is open, before the server has said that it has it.
	d.sends(pgscript.Query("SELECT deallocate_all_in_some_function()"), parse("c", "SELECT 3"))
	d.server.Completed([]byte("DEALLOCATE ALL\x00"), true)
	d.answers("CZ")
	if got := d.sends(bind("", "c"), syncing()); got != "BS" {
		t.Errorf("sent %q, want the statement to be there", got)
	}
}

// TestWhatDependsOnAnAnswerWaitsForIt: a Bind behind the Sync of a Parse that may
// yet fail.
func TestWhatDependsOnAnAnswerWaitsForIt(t *testing.T) {
	d := newDesk(t, 10)
	d.sends(parse("a", "SELEC"), syncing())
	if _, v := d.server.Forward(nil, nil, bind("", "a")); v != Wait {
		t.Fatalf("verdict %v, want Wait", v)
	}
	if d.server.Resolved() {
		t.Error("resolved before the answer")
	}
	d.answers("E")
	if !d.server.Resolved() || d.server.Resolved() {
		t.Error("want to be told once that the answer has come")
	}
	d.answers("Z")
	if got := d.sends(bind("", "a"), syncing()); got != "BS" || d.store.Len() != 0 {
		t.Errorf("sent %q with %d statements, want the server to say that there is none", got, d.store.Len())
	}
}

// TestClientsMoveBetweenLoops: names stay, references follow.
func TestClientsMoveBetweenLoops(t *testing.T) {
	d := newDesk(t, 10)
	d.sends(parse("a", "SELECT 1"), parse("", "SELECT 2"), syncing())
	d.answers("11Z")
	d.server.Return()
	d.client.Leave()
	d.server.Close()
	if d.store.Len() != 0 {
		t.Errorf("%d statements left on the old loop", d.store.Len())
	}
	there := newDesk(t, 10)
	there.server.Lend(&d.client, 10)
	if got := there.sends(bind("", "a"), bind("", ""), syncing()); got != "PBPBS" {
		t.Errorf("sent %q, want PBPBS", got)
	}
	there.answers("1212Z")
	there.server.Return()
	there.server.Close()
	d.client.Close()
	if there.store.Len() != 0 {
		t.Errorf("%d statements left on the new loop", there.store.Len())
	}
}

func TestEncodingIsPartOfAStatement(t *testing.T) {
	d := newDesk(t, 10)
	for _, row := range []struct {
		encoding, sql string
		statements    int
	}{
		{"UTF8", "SELECT 1", 1},
		{"LATIN1", "SELECT 1", 1}, // ASCII reads the same
		{"UTF8", "SELECT 'ä'", 2},
		{"LATIN1", "SELECT 'ä'", 3},
	} {
		d.server.Encoding = row.encoding
		d.sends(parse(row.encoding+row.sql, row.sql), syncing())
		if d.store.Len() != row.statements {
			t.Errorf("%v: %d statements, want %d", row, d.store.Len(), row.statements)
		}
		d.answers(map[bool]string{true: "1Z", false: "Z"}[row.encoding == "UTF8" || row.statements == 3])
	}
}

// TestHotPathDoesNotAllocate guards the claim of rule "no allocation per query".
func TestHotPathDoesNotAllocate(t *testing.T) {
	d := newDesk(t, 10)
	d.sends(parse("a", "SELECT 1"), syncing())
	d.answers("1Z")
	b, e, s := bind("", "a"), execute(""), syncing()
	out := make([]byte, 0, 512)
	n := testing.AllocsPerRun(100, func() {
		o, _ := d.server.Forward(out, nil, b)
		d.server.Forward(o, nil, e)
		d.server.Forward(o, nil, s)
		for _, typ := range []byte("2C") {
			before := d.replies.Done()
			d.replies.Got(typ)
			d.server.Got(typ, before)
		}
		before := d.replies.Done()
		d.replies.GotReady('I')
		d.server.Got('Z', before)
	})
	if n != 0 {
		t.Errorf("%v allocations for Bind, Execute and Sync, want none", n)
	}
}

func TestBindIsRewrittenInItsHeadOnly(t *testing.T) {
	d := newDesk(t, 10)
	d.sends(parse("a", "SELECT $1::text"), syncing())
	d.answers("1Z")
	whole := bind("portal", "a", strings.Repeat("x", 100<<10))
	head := len(whole) - 50<<10
	out, v := d.server.Forward(nil, nil, whole[:head])
	if v != Sent {
		t.Fatalf("verdict %v, want Sent", v)
	}
	var got pgproto3.Bind
	out = append(out, whole[head:]...)
	if length(out) != len(out) {
		t.Fatalf("length %d, want %d", length(out), len(out))
	}
	if err := got.Decode(out[wire.HeaderSize:]); err != nil {
		t.Fatal(err)
	}
	if got.DestinationPortal != "portal" || len(got.PreparedStatement) != nameSize || len(got.Parameters[0]) != 100<<10 {
		t.Errorf("portal %q, statement %q, %d bytes", got.DestinationPortal, got.PreparedStatement, len(got.Parameters[0]))
	}
}

func TestShortAndCollected(t *testing.T) {
	big := strings.Repeat("x", wire.HoldMax)
	for name, row := range map[string]struct {
		m     []byte
		at    int
		short bool
	}{
		"small message":              {bind("", "a"), 6, false}, // the Framer's affair
		"header only":                {bind("", "a", big), 5, true},
		"portal only":                {bind("p", "a", big), 7, true},
		"both names":                 {bind("p", "a", big), 9, false},
		"name of 4 kB":               {bind("p", big[:4096], big), 4000, true},
		"name of 4 kB, seen":         {bind("p", big[:4096], big), 4200, false},
		"name of all that is held":   {bind("p", big+big+big, big), maxHead, false},
		"Parse without its name":     {parse("abc", big), 7, true},
		"Parse with its name":        {parse("abc", big), 9, false},
		"Describe of a large name":   {describe('S', big+big), 20 << 10, true},
		"Execute is nobody's affair": {execute(big), 100, false},
	} {
		if got := Short(row.m[:row.at]); got != row.short {
			t.Errorf("%s: Short = %t, want %t", name, got, row.short)
		}
	}
	if n, yes := Collected(parse("a", big)[:100]); !yes || n != len(parse("a", big)) {
		t.Errorf("a large named Parse: %d, %t", n, yes)
	}
	if _, yes := Collected(parse("", big)[:100]); yes {
		t.Error("the unnamed statement is streamed")
	}
}

func TestDeallocateIsUnderstood(t *testing.T) {
	for sql, want := range map[string]string{
		"DEALLOCATE a":                    "a",
		"deallocate Prepare FOO ; ":       "foo",
		`DEALLOCATE "Foo ""x"""`:          `Foo "x"`,
		"-- c\n/* /* */ */DEALLOCATE x_$": "x_$",
		"DEALLOCATE prepare":              "prepare",
		"DEALLOCATE prepare;":             "prepare",
		"DEALLOCATE ALL":                  "",
		"DEALLOCATE PREPARE all":          "",
		"DEALLOCATE":                      "",
		"DEALLOCATE a b":                  "",
		"DEALLOCATE a; SELECT 1":          "",
		"DEALLOCATE 1a":                   "",
		`DEALLOCATE "a`:                   "",
		"DEALLOCATED a":                   "",
		"SELECT 'DEALLOCATE a'":           "",
	} {
		if name, ok := deallocated([]byte(sql + "\x00")); string(name) != want && ok || ok != (want != "") {
			t.Errorf("%s: %q, %t; want %q", sql, name, ok, want)
		}
	}
	for sql, want := range map[string]bool{
		"DEALLOCATE ALL": true, " discard all": true, "/* x */ DISCARD ALL": true, "DISCARDED": false, "SELECT 1": false, "": false, "/* DISCARD": false,
	} {
		if got := dropsStatements([]byte(sql)); got != want {
			t.Errorf("%q takes statements away: %t, want %t", sql, got, want)
		}
	}
}

func TestLengthsAreThoseOfTheHeader(t *testing.T) {
	m := parse("a", "SELECT 1")
	if got := binary.BigEndian.Uint32(m[1:]); length(m) != int(got)+1 || length(m) != len(m) {
		t.Errorf("length %d of %d bytes", length(m), len(m))
	}
}
