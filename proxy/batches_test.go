package proxy

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgvip/pgvip/internal/pgscript"
)

// step is what a client sends, and the answers it then waits for: n messages of
// type last, and those in front of them.
type step struct {
	send []byte
	last byte
	n    int
}

// say is a step that ends with n ReadyForQuery.
func say(n int, parts ...[]byte) step { return step{slices.Concat(parts...), 'Z', n} }

// flush is a step without a Sync, which ends with the first message of type last.
func flush(last byte, parts ...[]byte) step {
	return step{slices.Concat(append(parts, pgscript.Message('H', nil))...), last, 1}
}

// executing runs a portal for at most so many rows.
func executing(portal string, rows uint32) []byte {
	return pgscript.Message('E', binary.BigEndian.AppendUint32(pgscript.Strings(portal), rows))
}

func ofPortal(typ byte, portal string) []byte {
	return pgscript.Message(typ, append([]byte{'P'}, pgscript.Strings(portal)...))
}

// take sends a step and tells what came: the types, and what is said in errors,
// rows, tags and statuses. status is that of the last ReadyForQuery, 0 without one.
func (c *client) take(s step) (told string, status byte) {
	c.t.Helper()
	c.send(s.send)
	var r reply
	var said strings.Builder
	for n := 0; n < s.n; {
		m, err := c.tryReceive()
		if err != nil {
			c.t.Fatalf("receive after %q: %v", r.types, err)
		}
		if r.note(m) {
			status = m.(*pgproto3.ReadyForQuery).TxStatus
			fmt.Fprintf(&said, " %c", status)
		}
		if e, ok := m.(*pgproto3.ErrorResponse); ok {
			fmt.Fprintf(&said, " %s %s", e.Code, e.Message)
		}
		if r.types[len(r.types)-1] == s.last {
			n++
		}
	}
	return fmt.Sprintf("%s%s %q %q", r.types, said.String(), r.rows, r.tags), status
}

// TestBatchesAsDirect: what becomes of batches of the extended protocol, step by
// step, is what PostgreSQL makes of them, in session and in transaction mode. The
// client has its server as long as a batch is open, whether or not a Flush has had
// all of it answered, and in transaction mode no longer: then another client uses
// the one server of the pool between any two steps.
func TestBatchesAsDirect(t *testing.T) {
	pg := postgres(t, 0)
	one, wrong, series := "SELECT 'one'", "SELECT 1/0", "SELECT generate_series(1, 5)"
	parse, sync := pgscript.Parse, pgscript.Sync()
	run := func(statement string) []byte { return slices.Concat(pgscript.Bind("", statement), executing("", 0)) }
	for name, steps := range map[string][]step{
		"Flush": {
			flush('C', parse("", one), run("")),
			flush('C', run("")),
			flush('1', parse("s", one)),
			say(1, sync),
			flush('n', pgscript.Bind("p", "s"), ofPortal('D', "p"), ofPortal('C', "p"), parse("t", "SET LOCAL work_mem = '5MB'"), describing("t")),
			say(1, sync),
		},
		"Flush of an error": {
			flush('E', parse("", wrong), run("")),
			say(1, pgscript.Message('H', nil), run(""), pgscript.Message('H', nil), sync),
			say(1, run(""), sync),
		},
		"portals over a Flush": {
			flush('s', parse("s", series), pgscript.Bind("p", "s"), executing("p", 2)),
			flush('s', executing("p", 2)),
			flush('C', executing("p", 2)),
			say(1, sync),
			say(1, executing("p", 1), sync),
		},
		"error in the middle": {
			say(1, parse("a", one), run("a"), parse("b", "SELEC"), parse("c", one), closing("a"), run("c"), sync),
			say(1, run("a"), sync),
			say(1, run("b"), sync),
			say(1, run("c"), sync),
			say(1, parse("b", one), run("b"), parse("c", one), run("c"), sync),
		},
		"error in front of what the server has": {
			say(1, parse("a", one), sync),
			say(1, run("nothing"), parse("b", one), closing("a"), sync),
			say(1, run("a"), sync),
			say(1, run("b"), sync),
		},
		"several Syncs": {
			say(4, parse("", one), run(""), sync, sync, parse("", wrong), run(""), parse("s", one), sync, parse("s", one), run("s"), sync),
			say(3, pgscript.Query("BEGIN"), run("s"), sync, pgscript.Query("SELECT 2")),
			say(2, run("s"), sync, pgscript.Query("COMMIT")),
		},
		"a name again": {
			say(1, parse("s", one), closing("s"), parse("s", series), run("s"), sync),
			say(1, closing("s"), parse("s", one), closing("s"), closing("s"), sync),
			say(1, run("s"), sync),
		},
		"DEALLOCATE ALL": {
			say(1, parse("s", one), sync),
			say(2, pgscript.Query("DEALLOCATE ALL"), parse("s", series), run("s"), sync),
			say(2, parse("t", "DEALLOCATE ALL"), run("t"), sync, run("s"), sync),
			say(1, parse("s", one), run("s"), sync),
		},
		"what the server has, first": {
			say(1, parse("s", one), sync),
			say(1, parse("t", one), sync),
			flush('1', parse("u", one)),
			say(1, run("u"), sync),
		},
		"names taken and unknown": {
			say(1, parse("s", one), sync),
			say(1, parse("s", one), sync),
			say(1, run("nothing"), sync),
			say(1, describing("nothing"), sync),
			say(1, closing("nothing"), sync),
			say(1, pgscript.Query("BEGIN")),
			say(1, parse("s", series), sync),
			say(1, run("s"), sync),
			say(1, pgscript.Query("ROLLBACK")),
			say(1, run("s"), sync),
		},
		"the unnamed statement": {
			say(1, parse("", one), sync),
			say(1, run(""), sync),
			say(1, describing(""), sync),
			say(1, closing(""), sync),
			say(1, run(""), sync),
			say(2, parse("", one), sync, pgscript.Query("SELECT 2")),
			say(1, run(""), sync),
		},
		"Describe": {
			say(1, parse("s", "SELECT $1::int AS n"), describing("s"), sync),
			say(1, describing("s"), parse("t", "SET LOCAL work_mem = '5MB'"), describing("t"), sync),
			say(1, bind("s", "7"), ofPortal('D', ""), executing("", 0), describing("t"), sync),
			say(1, describing("t"), describing("s"), sync),
		},
		"row limits": {
			say(1, parse("s", series), pgscript.Bind("p", "s"), executing("p", 2), executing("p", 2), ofPortal('C', "p"), executing("p", 1), sync),
			say(1, pgscript.Bind("p", "s"), executing("p", 2), sync),
			say(1, executing("p", 2), sync),
			say(1, pgscript.Query("BEGIN")),
			say(1, pgscript.Bind("p", "s"), executing("p", 1), sync),
			say(1, executing("p", 3), sync),
			say(1, executing("p", 3), executing("p", 3), sync),
			say(1, pgscript.Query("COMMIT")),
			say(1, executing("p", 3), sync),
		},
		"a Query in a batch": {
			say(2, parse("s", one), run("s"), pgscript.Query("SELECT 'Query'"), run("s"), sync),
			say(1, run("s"), pgscript.Query("SELECT 'Query, and no Sync'")),
			say(1, parse("", "SELEC"), pgscript.Query("SELECT 'Query'"), run("s"), sync),
			say(2, pgscript.Bind("p", "s"), pgscript.Query(wrong), executing("p", 0), sync),
		},
	} {
		direct := login(t, pg.Addr)
		var want []string
		for _, s := range steps {
			told, _ := direct.take(s)
			want = append(want, told)
		}
		direct.leave()
		for mode, set := range modes {
			t.Run(name+", "+mode, func(t *testing.T) { newSite(t, plan{pool: set}).keepsStep(t, steps, want, mode == "transaction") })
		}
	}
}

// keepsStep plays steps, of which each must be answered as told.
func (s *site) keepsStep(t *testing.T, steps []step, want []string, shared bool) {
	t.Helper()
	c, other := login(t, s.primary), login(t, s.primary)
	for i, step := range steps {
		told, status := c.take(step)
		if told != want[i] {
			t.Errorf("step %d:\ngot  %s\nwant %s", i, told, want[i])
		}
		if shared && status == 'I' {
			other.exec("SELECT 'in between'")
		} else if s.phases()[bound] != 1 {
			t.Errorf("step %d: the client has no server", i)
		}
	}
	c.leave()
	other.exec("SELECT 'the server is free'")
	other.leave()
}
