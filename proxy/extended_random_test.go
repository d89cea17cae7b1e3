package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"pgregory.net/rapid"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/wire"
)

// talker is a client that counts the replies it is owed.
type talker struct {
	*client
	replies wire.Replies
}

func newTalker(c *client) *talker {
	t := &talker{client: c}
	t.replies.SetStatus('I')
	return t
}

// hears sends messages, cut into pieces, and returns all that comes of them.
func (c *talker) hears(messages [][]byte, cuts []int) []string {
	var all []byte
	for _, m := range messages {
		c.replies.Sent(m[0], wire.Forward)
		all = append(all, m...)
	}
	c.conn.SetDeadline(time.Now().Add(patience))
	for _, n := range cuts {
		n = min(n, len(all))
		c.send(all[:n])
		all = all[n:]
	}
	c.send(all)
	var seen []string
	for c.replies.Outstanding() > 0 {
		m, err := c.tryReceive()
		if err != nil {
			return append(seen, "  "+err.Error())
		}
		line, typ := describe(m)
		seen = append(seen, line)
		if typ == 'Z' {
			_, err = c.replies.GotReady(line[3])
		} else {
			_, err = c.replies.Got(typ)
		}
		if err != nil {
			c.t.Fatalf("after %q: %v", seen, err)
		}
	}
	return seen
}

// holds is 1 while the client is in a transaction.
func (c *talker) holds() int {
	if c.replies.Status() != 'I' {
		return 1
	}
	return 0
}

// describe writes a message as it is compared: of an error what clients go by.
func describe(m pgproto3.BackendMessage) (string, byte) {
	if e, ok := m.(*pgproto3.ErrorResponse); ok {
		return fmt.Sprintf("E %s %s %s %s", e.Severity, e.Code, e.Message, e.Detail), 'E'
	}
	b, err := m.Encode(nil)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%c %q", b[0], b[wire.HeaderSize:]), b[0]
}

// anyMessage draws a message of the extended protocol, most of them about
// prepared statements.
func anyMessage(t *rapid.T) []byte {
	name := rapid.SampledFrom([]string{"a", "b", "c", ""}).Draw(t, "name")
	switch rapid.SampledFrom([]string{"P", "P", "B", "B", "E", "E", "DS", "CS", "S", "Q", "H"}).Draw(t, "type") {
	case "P":
		return pgscript.Parse(name, rapid.SampledFrom([]string{
			"SELECT 1", "SELECT $1::int", "SELEC", "SELECT 1/0", "", "BEGIN", "COMMIT", "ROLLBACK", "DEALLOCATE ALL",
			"SELECT 2 -- " + strings.Repeat("x", 20000),
		}).Draw(t, "text"))
	case "B":
		if rapid.Bool().Draw(t, "parameter") {
			return bind(name, strings.Repeat("0", rapid.SampledFrom([]int{1, 30000}).Draw(t, "size")))
		}
		return bind(name)
	case "E":
		return pgscript.Execute("")
	case "DS":
		return describing(name)
	case "CS":
		return closing(name)
	case "Q":
		return pgscript.Query(rapid.SampledFrom([]string{"SELECT 3", "BEGIN", "COMMIT", "ROLLBACK", "DEALLOCATE ALL", "DEALLOCATE a", "DISCARD ALL"}).Draw(t, "query"))
	case "H":
		return pgscript.Message('H', nil)
	default:
		return pgscript.Sync()
	}
}

// TestSharedStatementsAnswerAsPostgreSQL: clients with two servers between them,
// which keep three statements each, cannot be told from clients of PostgreSQL.
func TestSharedStatementsAnswerAsPostgreSQL(t *testing.T) {
	const clients, servers = 3, 2
	s := newSite(t, plan{pool: prepared(servers, 3)})
	var direct, shared [clients]*talker
	for i := range clients {
		direct[i], shared[i] = newTalker(login(t, postgres(t, 0).Addr)), newTalker(login(t, s.primary))
	}
	rapid.Check(t, func(t *rapid.T) {
		var lost [clients]bool
		all := slices.Concat(direct[:], shared[:])
		slices.SortFunc(all, func(a, b *talker) int { return b.holds() - a.holds() })
		for _, c := range all { // those first that hold a server
			c.conn.SetDeadline(time.Now().Add(patience))
			c.exec("ROLLBACK")
			c.exec("DEALLOCATE ALL")
			c.replies.SetStatus('I')
		}
		for range rapid.IntRange(1, 10).Draw(t, "turns") {
			n := rapid.IntRange(0, clients-1).Draw(t, "client")
			held := 0
			for i, c := range shared {
				if i != n {
					held += c.holds()
				}
			}
			if held == servers {
				continue
			}
			var turn [][]byte
			if lost[n] {
				turn = append(turn, pgscript.Parse("", "SELECT 9"), pgscript.Sync())
			}
			for range rapid.IntRange(1, 8).Draw(t, "messages") {
				turn = append(turn, anyMessage(t))
			}
			turn = append(turn, pgscript.Sync())
			cuts := rapid.SliceOfN(rapid.IntRange(1, 50), 0, 6).Draw(t, "cuts")
			want := direct[n].hears(turn, nil)
			got := shared[n].hears(turn, cuts)
			ok, deviates := alike(got, want)
			if !ok {
				t.Fatalf("client %d\n got %s\nwant %s", n, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
			}
			// An unnamed statement is kept as far as the last Parse of one was
			// carried out: 26000 is allowed after one that was not.
			if deviates {
				return
			}
			lost[n] = slices.ContainsFunc(want, func(s string) bool { return s[0] == 'E' })
		}
	})
}

// alike compares what a client got. In a failed transaction a statement that the
// server has not seen cannot be parsed there: an error sooner than PostgreSQL's,
// from where on the two differ.
func alike(got, want []string) (ok, deviates bool) {
	for i, line := range got {
		switch {
		case i < len(want) && line == want[i]:
		case strings.HasPrefix(line, "E ERROR 25P02"):
			return slices.Contains(want[min(i, len(want)):], `Z "E"`), true
		default:
			return false, false
		}
	}
	return len(got) == len(want), false
}
