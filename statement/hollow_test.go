package statement

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/internal/pgscript"
)

// TestUnseenInAFailedTransaction: a server that is in a failed transaction lacks what
// the client has prepared on another one. It answers as PostgreSQL does.
func TestUnseenInAFailedTransaction(t *testing.T) {
	texts := map[string]string{
		"one": "SELECT $1::int", "two": "SET work_mem = '4MB'", "three": "INSERT INTO pg_class SELECT FROM pg_class WHERE relname = $1 AND oid = $2",
		"rollback": "ROLLBACK", "end": " /* x */ ;END", "savepoint": "ROLLBACK TO s", "empty": "",
	}
	fail := [][]byte{pgscript.Query("BEGIN"), pgscript.Query("SELECT 1/0")}
	healed := [][]byte{bind("", "one", "5"), execute(""), describe('S', "one"), describe('S', "two"), bind("", "two"), execute(""), syncing()}
	for name, turn := range map[string][][]byte{
		"Bind":                        {bind("", "one", "7"), execute(""), syncing()},
		"Bind, no result":             {bind("", "two"), execute(""), syncing()},
		"Bind, too few":               {bind("", "three", "7"), execute(""), syncing()},
		"Bind, too many":              {bind("", "one", "7", "8"), execute(""), syncing()},
		"Describe, no result":         {describe('S', "two"), describe('S', "two"), bind("", "two"), execute(""), syncing()},
		"Describe of parameters":      {describe('S', "three"), describe('S', "one"), describe('S', "two"), syncing()},
		"Describe of what ends it":    {describe('S', "rollback"), bind("", "rollback"), execute(""), syncing()},
		"prepared end":                {bind("", "end"), execute(""), bind("", "one", "7"), execute(""), syncing()},
		"prepared savepoint":          {bind("", "savepoint"), execute(""), bind("", "one", "7"), execute(""), syncing()},
		"nothing":                     {describe('S', "empty"), bind("", "empty"), execute(""), syncing()},
		"Describe, then the end":      {describe('S', "two"), bind("", "rollback"), execute(""), describe('S', "two"), bind("", "two"), execute(""), syncing()},
		"Describe, Sync, then":        {describe('S', "two"), syncing(), bind("", "two"), syncing(), describe('S', "two"), pgscript.Query("ROLLBACK"), bind("", "two"), execute(""), syncing()},
		"known name":                  {parse("one", "SELECT 3"), syncing()},
		"known name, no SQL":          {parse("one", "SELEC"), syncing()},
		"known name, what ends it":    {parse("two", "ROLLBACK"), syncing(), bind("", "two"), syncing()},
		"known name, two statements":  {parse("two", "SELECT 1; SELECT 2"), syncing(), parse("new", "SELECT 4"), syncing()},
		"another name, known text":    {parse("again", texts["one"]), syncing(), parse("again", texts["rollback"]), bind("", "again"), execute(""), syncing()},
		"end by Query, then the rest": {pgscript.Query("ROLLBACK"), bind("", "two"), execute(""), parse("two", "SELECT 1"), syncing()},
	} {
		t.Run(name, func(t *testing.T) {
			direct, first, second := connect(t), connect(t), connect(t)
			store := NewStore()
			for _, b := range []*backend{first, second} {
				b.known = NewServer(store, &b.replies)
			}
			f := &front{limit: 10}
			f.borrow(first)
			both := func(messages ...[]byte) {
				t.Helper()
				want := direct.direct(messages)
				if got := f.turn(messages...); !slices.Equal(got, want) {
					t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
				}
			}
			for name, text := range texts {
				both(parse(name, text), describe('S', name), syncing())
			}
			if !f.release() {
				t.Fatal("the first server is not free")
			}
			f.borrow(second)
			if strings.Contains(name, "savepoint") {
				both(pgscript.Query("BEGIN"), pgscript.Query("SAVEPOINT s"))
			}
			both(fail...)
			both(turn...)
			both(pgscript.Query("ROLLBACK"))
			both(healed...)
		})
	}
}
