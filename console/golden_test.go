package console

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestColumnsAreThoseOfPgBouncer compares with what testdata/capture.go got from
// PgBouncer 1.25.2: the same names, types and order, and new ones behind them.
func TestColumnsAreThoseOfPgBouncer(t *testing.T) {
	conn := newSite(t, 0).connect(t, "root")
	shows := lines(t, "columns.txt")
	if len(shows) != 20 {
		t.Errorf("%d SHOWs in the golden file, want 20", len(shows))
	}
	for _, line := range shows {
		name, want, _ := strings.Cut(line, " ")
		t.Run(name, func(t *testing.T) {
			answer := conn.Exec(t.Context(), "SHOW "+name)
			var simple []pgconn.FieldDescription
			for answer.NextResult() {
				simple = append(simple, answer.ResultReader().FieldDescriptions()...)
				answer.ResultReader().Close()
			}
			if err := answer.Close(); err != nil {
				t.Fatal(err)
			}
			if got := described(simple); got != want && !strings.HasPrefix(got, want+" ") {
				t.Errorf("simple protocol:\n%s\nPgBouncer:\n%s", got, want)
			}
			st, err := conn.Prepare(t.Context(), "", "SHOW "+name, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := described(st.Fields); got != described(simple) {
				t.Errorf("Describe:\n%s\nsimple protocol:\n%s", got, described(simple))
			}
		})
	}
}

func described(fields []pgconn.FieldDescription) string {
	var list []string
	for _, f := range fields {
		list = append(list, fmt.Sprintf("%s:%d:%d", f.Name, f.DataTypeOID, f.DataTypeSize))
	}
	return strings.Join(list, " ")
}

// TestCommandsEndAsInPgBouncer compares tags and messages, over both protocols.
func TestCommandsEndAsInPgBouncer(t *testing.T) {
	list := lines(t, "commands.txt")
	for _, protocol := range []string{"simple", "extended"} {
		t.Run(protocol, func(t *testing.T) {
			conn := newSite(t, 0).connect(t, "root")
			for i := 0; i+1 < len(list); i += 2 {
				sql, want := list[i], strings.TrimSpace(list[i+1])
				if got := outcome(t, conn, protocol, sql); got != want {
					t.Errorf("%q: %s, PgBouncer: %s", sql, got, want)
				}
			}
		})
	}
}

func outcome(t *testing.T, conn *pgconn.PgConn, protocol, sql string) string {
	t.Helper()
	var tag string
	var err error
	if protocol == "simple" {
		var results []*pgconn.Result
		if results, err = conn.Exec(t.Context(), sql).ReadAll(); len(results) == 1 {
			tag = results[0].CommandTag.String()
		}
	} else {
		result := conn.ExecParams(context.Background(), sql, nil, nil, nil, nil).Read()
		tag, err = result.CommandTag.String(), result.Err
	}
	var e *pgconn.PgError
	switch {
	case errors.As(err, &e):
		if e.Code == "08P01" {
			t.Errorf("%q: SQLSTATE 08P01 for what is no protocol violation", sql)
		}
		return e.Severity + ": " + e.Message
	case err != nil:
		t.Fatalf("%s: %v", sql, err)
	}
	return tag
}

func lines(t *testing.T, name string) []string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}
