package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// dialect is what a random conversation may use.
type dialect struct {
	blocks  bool // transaction blocks
	state   bool // what outlives a transaction and is not reported
	names   bool // prepared statements with names
	unnamed bool // and the one without, in a later transaction
	copies  bool // COPY FROM STDIN
}

// chat is a random conversation: its login, and units that leave no transaction
// open, so that any of them can be left out. All are text in the corpus's
// language: what has failed can be read, played again and kept.
type chat struct {
	startup []string
	units   []string
	end     string
}

func (c chat) text(name string) string {
	return "transcript " + name + "\n" + strings.Join(c.startup, "") + strings.Join(c.units, "") + c.end
}

// composer writes a chat. The same seed and dialect give the same chat.
type composer struct {
	*rand.Rand
	dialect
	out   strings.Builder
	marks int
}

func compose(seed uint64, d dialect, units int) chat {
	c := &composer{Rand: rand.New(rand.NewPCG(seed, 0)), dialect: d}
	var all chat
	all.startup = c.startup()
	for range units {
		c.unit()
		all.units = append(all.units, c.out.String())
		c.out.Reset()
	}
	c.ending()
	all.end = c.out.String()
	return all
}

func (c *composer) say(format string, args ...any) {
	fmt.Fprintf(&c.out, format+"\n", args...)
}

// pick gives one of some texts.
func (c *composer) pick(texts ...string) string { return texts[c.IntN(len(texts))] }

// chance is true once in n times.
func (c *composer) chance(n int) bool { return c.IntN(n) == 0 }

func (c *composer) startup() []string {
	var all []string
	for _, line := range []string{
		`application_name "random \\ 'name'"`, `TimeZone Asia/Tokyo`, `DateStyle German`, `IntervalStyle iso_8601`,
		`options "-c work_mem=5MB --enable_seqscan=off"`, `extra_float_digits 1`, `search_path "pg_catalog, corpus"`,
	} {
		if c.chance(6) {
			all = append(all, "startup "+line+"\n")
		}
	}
	return all
}

// unit is some exchange, after which everything is as it was but for what may
// outlive a transaction.
func (c *composer) unit() {
	kinds := []func(){c.simple, c.simple, c.soup, c.soup, c.soup, c.flushed, c.reported, c.large, c.call}
	if c.blocks {
		kinds = append(kinds, c.block, c.block, c.blockOfBatches)
	}
	if c.state {
		kinds = append(kinds, c.leave)
	}
	if c.copies {
		kinds = append(kinds, c.copyIn)
	}
	kinds[c.IntN(len(kinds))]()
	c.settle()
}

// settle ends whatever a unit may have left open, and waits for the answers.
func (c *composer) settle() {
	c.marks++
	c.say("c")
	c.say("S")
	if c.blocks {
		c.say("Q ROLLBACK")
	}
	c.say(`Q "SELECT 'mark %d.'"`, c.marks)
	c.say(`wait row "mark %d." Z`, c.marks)
}

// maybeWrite cuts the stream here, so that what stands before leaves by itself.
func (c *composer) maybeWrite() {
	if c.chance(8) {
		c.say("wait nothing")
	}
}

func (c *composer) simple() {
	for range 1 + c.IntN(4) {
		c.say("Q %q", c.query())
		c.maybeWrite()
	}
}

// query is a text for the simple protocol.
func (c *composer) query() string {
	texts := []string{
		"SELECT 1", "", ";;", "SELECT 1/0", "SELEC", "SELECT * FROM nowhere", "SELECT 1; SELECT 1/0; SELECT 2",
		"SELECT g FROM generate_series(1, 300) g", "VALUES (1, 'a'), (NULL, 'ü')", "SELECT current_setting('TimeZone')",
		"DO $$ BEGIN RAISE NOTICE 'noticed'; END $$", "SELECT corpus.noisy(g) FROM generate_series(1, 3) g",
		"COPY (SELECT g, 'x' FROM generate_series(1, 50) g) TO STDOUT", "COPY (SELECT 1/(g-20) FROM generate_series(1, 50) g) TO STDOUT",
		"SELECT 1/(g-200) FROM generate_series(1, 300) g", "SHOW DateStyle", "EXPLAIN (COSTS off) SELECT 1", "INSERT INTO corpus.sink VALUES (1, 'simple')",
	}
	if c.blocks {
		texts = append(texts, "BEGIN; SELECT 1; COMMIT; SELECT 2", "BEGIN; SELECT 1/0; COMMIT", "SELECT 1; BEGIN; SELECT 2; COMMIT", "COMMIT", "SAVEPOINT s")
	}
	return c.pick(texts...)
}

// statement is a text to prepare, and how many parameters it takes.
type statement struct {
	sql        string
	parameters int
}

func (c *composer) statement() statement {
	all := []statement{
		{"SELECT 1", 0}, {"SELECT $1::int + 1", 1}, {"SELECT $1::text || $2::text", 2}, {"", 0}, {"SELEC", 0},
		{"SELECT g, repeat('r', g) FROM generate_series(1, $1::int) g", 1}, {"SELECT 100/$1::int", 1}, {"SELECT 1; SELECT 2", 0},
		{"SHOW TimeZone", 0}, {"VALUES (1), (2), (3)", 0}, {"SELECT corpus.noisy($1)", 1}, {"SET DateStyle = 'SQL, DMY'", 0},
		{"INSERT INTO corpus.sink VALUES ($1, 'extended') RETURNING a + 0", 1}, {"COPY (VALUES (1), (2)) TO STDOUT", 0},
		{"SELECT * FROM nowhere", 0},
	}
	if c.blocks {
		all = append(all, statement{"BEGIN", 0}, statement{"COMMIT", 0}, statement{"SAVEPOINT s", 0}, statement{"ROLLBACK TO s", 0})
	}
	return all[c.IntN(len(all))]
}

// soup is messages of the extended protocol in no sensible order. PostgreSQL has
// an answer to each; it is the same through pgvip.
func (c *composer) soup() {
	last := c.statement()
	name := c.name()
	c.parse(name, last)
	for range 1 + c.IntN(12) {
		switch c.IntN(14) {
		case 0, 1:
			last, name = c.statement(), c.name()
			c.parse(name, last)
		case 2, 3, 4:
			c.say("B %q %q%s%s", c.portal(), name, c.arguments(last.parameters), c.pick("", "", " -> 1", " -> 0"))
		case 5, 6, 7:
			c.say("E %q %s", c.portal(), c.pick("0", "0", "1", "2"))
		case 8:
			c.say("D P %q", c.portal())
		case 9:
			c.say("D S %q", c.name())
		case 10:
			c.say("C %s %q", c.pick("S", "P"), c.name())
		case 11:
			c.say("H")
		case 12:
			c.say("S")
			// The unnamed statement is not promised to outlive a transaction on a
			// server that others use too.
			if !c.unnamed {
				c.parse("", last)
			}
		case 13:
			c.odd()
		}
		c.maybeWrite()
	}
}

func (c *composer) parse(name string, s statement) {
	types := ""
	if s.parameters == 1 && c.chance(4) {
		types = " 23"
	}
	c.say("P %q %q%s", name, s.sql, types)
}

// odd is what seldom stands in a batch.
func (c *composer) odd() {
	switch c.IntN(4) {
	case 0:
		c.say("Q %q", c.query())
	case 1:
		c.say(`d "1\tcopied\n"`)
	case 2:
		c.say("%s", c.pick("c", "f broken"))
	case 3:
		c.say(`F 177 b"\x00\x00\x00\x01" b"\x00\x00\x00\x02" -> 1`) // int4pl
	}
}

// name is that of a statement.
func (c *composer) name() string {
	if !c.names {
		return ""
	}
	return c.pick("", "", "s1", "s2")
}

func (c *composer) portal() string {
	if c.chance(6) {
		return "p1"
	}
	return ""
}

// arguments are as many as a statement takes, mostly.
func (c *composer) arguments(n int) string {
	if c.chance(12) {
		n++
	}
	var all strings.Builder
	for range n {
		all.WriteString(" " + c.pick("1", "2", "5", "0", "7", "null", "wrong", `b"\x00\x00\x00\x03"`))
	}
	return all.String()
}

// copyIn is a COPY FROM STDIN with what can go wrong in it.
func (c *composer) copyIn() {
	if c.chance(2) {
		c.say(`P "" "COPY corpus.sink FROM STDIN"`)
		c.say(`B "" ""`)
		c.say(`E ""`)
	} else {
		c.say(`Q %q`, c.pick("COPY corpus.sink FROM STDIN", "COPY corpus.sink FROM STDIN; SELECT 1", "SELECT 1; COPY corpus.sink FROM STDIN"))
	}
	lines := []string{`"1\tone\n"`, `"2\ttwo\n3\tthree\n"`, `"5\t` + strings.Repeat("x", c.IntN(3000)) + `\n"`}
	// A Sync is ignored in the COPY and answered behind its failure: only who reads
	// the data knows which it is. Anything but a Flush ends the connection.
	during := "S"
	if c.chance(2) {
		lines, during = append(lines, `"4\tfo"`, `"ur\n"`, `"bad line\n"`), "H"
	}
	for range c.IntN(6) {
		c.say("d %s", c.pick(lines...))
		if c.chance(10) {
			c.say(during)
		}
		c.maybeWrite()
	}
	c.say("%s", c.pick("c", "c", "c", "f changed"))
}

// flushed reads answers before its Sync.
func (c *composer) flushed() {
	c.marks++
	c.say(`P "" "SELECT 'flushed %d.' FROM generate_series(1, 3)"`, c.marks)
	c.say(`B "" ""`)
	rows := c.pick("0", "2")
	c.say(`E "" %s`, rows)
	c.say("H")
	c.say(`wait row "flushed %d." %s`, c.marks, map[string]string{"0": "C", "2": "s"}[rows])
	c.say("%s", c.pick(`E ""`, `C P ""`, `D P ""`, `P "" "SELEC"`, "H"))
	c.maybeWrite()
}

// reported sets parameters that PostgreSQL reports: they last in every mode.
func (c *composer) reported() {
	texts := []string{
		"SET TimeZone = 'Europe/Berlin'", "SET DateStyle = 'German'", "SET IntervalStyle = 'sql_standard'", "RESET TimeZone", "SET TimeZone TO DEFAULT",
		"SET application_name = 'it''s'", "RESET ALL", "SET standard_conforming_strings = off", "SET standard_conforming_strings = on",
		"SELECT set_config('TimeZone', 'UTC', false)", "DISCARD ALL", "SET client_encoding = 'LATIN1'", "SET client_encoding = 'UTF8'", "SET TimeZone = 'nowhere'",
	}
	c.say("Q %q", c.pick(texts...))
	c.maybeWrite()
	if c.chance(2) {
		c.say("Q %q", c.pick(texts...))
	}
	c.say(`Q "SELECT current_setting('TimeZone'), current_setting('DateStyle'), current_setting('application_name'), current_setting('work_mem'), interval '1 day 2 hours'"`)
}

func (c *composer) large() {
	c.say(`Q "SELECT repeat('l', %d) FROM generate_series(1, %d)"`, 1<<c.IntN(17), 1+c.IntN(20))
	if c.chance(3) {
		c.say(`Q "SELECT length('"+"q"*%d+"')"`, 1<<c.IntN(18))
	}
}

// call is a FunctionCall; 141 is int4mul, 154 int4div.
func (c *composer) call() {
	c.say(`F %s b"\x00\x00\x00\x08" b"\x00\x00\x00\x0%d" -> 1`, c.pick("141", "154", "1"), c.IntN(3))
}

// block is a transaction block of simple queries.
func (c *composer) block() {
	c.say("Q %q", c.pick("BEGIN", "BEGIN READ ONLY", "START TRANSACTION ISOLATION LEVEL REPEATABLE READ", "BEGIN; SELECT 1"))
	for range c.IntN(6) {
		c.say("Q %q", c.pick(c.query(), "SAVEPOINT s", "ROLLBACK TO s", "SET LOCAL work_mem = '7MB'", "SHOW work_mem", "SET TimeZone = 'Asia/Tokyo'",
			"CREATE TEMP TABLE t (a int) ON COMMIT DROP", "INSERT INTO t SELECT g FROM generate_series(1, 9) g", "SELECT a + 0 FROM t", "INSERT INTO t VALUES (1)",
			"DECLARE k CURSOR FOR SELECT g FROM generate_series(1, 9) g", "FETCH 3 FROM k", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "SELECT pg_advisory_xact_lock_shared(1)"))
		c.maybeWrite()
	}
	c.say("Q %s", c.pick("COMMIT", "ROLLBACK"))
}

// blockOfBatches is a transaction whose statements are batches, with a portal that
// lives across them.
func (c *composer) blockOfBatches() {
	c.say("Q BEGIN")
	c.say(`P "" "SELECT g FROM generate_series(1, 7) g"`)
	c.say(`B p1 ""`)
	c.say("S")
	for range 1 + c.IntN(4) {
		c.say("E p1 %d", c.IntN(4))
		c.say("S")
		if c.chance(4) {
			c.soup()
		}
	}
	c.say("Q COMMIT")
	c.say(`E p1`)
}

// leave makes what stays in the session until its end, and may look for it in a
// transaction of its own.
func (c *composer) leave() {
	if c.chance(2) {
		pair := [][2]string{
			{"SET work_mem = '9MB'", "SHOW work_mem"}, {"CREATE TEMP TABLE IF NOT EXISTS kept (a int)", "SELECT a + 0 FROM kept"},
			{"PREPARE sql AS SELECT 1", "EXECUTE sql"}, {"DECLARE held CURSOR WITH HOLD FOR SELECT g FROM generate_series(1, 9) g", "FETCH 2 FROM held"},
			{"SELECT pg_advisory_lock_shared(7)", "SELECT pg_advisory_unlock_shared(7)"},
		}[c.IntN(5)]
		c.say("Q %q", pair[0])
		c.settle()
		c.say("Q %q", pair[1])
		return
	}
	c.say("Q %q", c.pick("SET work_mem = '9MB'", "SHOW work_mem", "CREATE TEMP TABLE IF NOT EXISTS kept (a int)", "INSERT INTO kept VALUES (1)", "SELECT a + 0 FROM kept",
		"SELECT pg_advisory_lock_shared(7)", "SELECT pg_advisory_unlock_all()", "PREPARE sql AS SELECT 1", "EXECUTE sql", "DEALLOCATE sql",
		"DECLARE held CURSOR WITH HOLD FOR SELECT g FROM generate_series(1, 9) g", "FETCH 2 FROM held", "CLOSE held", "DISCARD TEMP", "DEALLOCATE ALL",
		"SELECT set_config('enable_seqscan', 'off', false)", "LISTEN nobody_notifies", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
		"SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"))
}

// ending is how the conversation ends; nothing is a Terminate. Not by a half-close:
// a client that does so while it waits for a server is taken to be gone.
func (c *composer) ending() {
	if c.chance(2) {
		c.say(`P "" "SELECT 'last'"`)
		c.say(`B "" ""`)
		c.say(`E ""`)
		c.say("S")
		c.say("X")
		c.say("wait eof")
	}
}
