package pool

import (
	"strings"
	"testing"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/wire"
)

func TestAssignments(t *testing.T) {
	for _, test := range []struct {
		name     string
		settings []wire.Param
		want     string
	}{
		{"none", nil, ""},
		{"one", []wire.Param{{Name: "a", Value: "b"}}, "SELECT pg_catalog.set_config('a', 'b', false)"},
		{"two, in order", []wire.Param{{Name: "a", Value: "1"}, {Name: "a", Value: ""}},
			"SELECT pg_catalog.set_config('a', '1', false), pg_catalog.set_config('a', '', false)"},
		{"quotes", []wire.Param{{Name: "it's", Value: "'; DROP TABLE x; --"}},
			"SELECT pg_catalog.set_config('it''s', '''; DROP TABLE x; --', false)"},
		{"backslashes", []wire.Param{{Name: "a", Value: `\'`}}, `SELECT pg_catalog.set_config('a',  E'\\''', false)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var q assignments
			for _, p := range test.settings {
				q.set(p.Name, p.Value)
			}
			if got := q.query(); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// FuzzQuote: whatever a client names or values, the literal ends where we end
// it, with standard_conforming_strings on or off.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a", "'", `\`, `\'`, `'\`, `\\'`, "$$", "\u00e4'\\"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var q strings.Builder
		quote(&q, s)
		for _, escapes := range []bool{false, true} {
			if got, ok := unquote(q.String(), escapes); !ok || got != s {
				t.Errorf("escapes %v: %q is read as %q, %v; want %q", escapes, q.String(), got, ok, s)
			}
		}
	})
}

// unquote reads a whole string literal as PostgreSQL's scanner does; escapes
// says that a backslash is special in a plain one.
func unquote(text string, escapes bool) (string, bool) {
	text = strings.TrimPrefix(text, " ")
	if rest, ok := strings.CutPrefix(text, "E"); ok {
		text, escapes = rest, true
	}
	if len(text) < 2 || text[0] != '\'' {
		return "", false
	}
	var s strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && escapes && i+1 < len(text) && text[i+1] == '\\':
			i++
			s.WriteByte('\\')
		case text[i] == '\\' && escapes:
			return "", false
		case text[i] == '\'' && i+1 < len(text) && text[i+1] == '\'':
			i++
			s.WriteByte('\'')
		case text[i] == '\'':
			return s.String(), i == len(text)-1
		default:
			s.WriteByte(text[i])
		}
	}
	return "", false
}

// TestReportedParameters: a client is told what differs from what it knows, when
// a server is lent to it and when its value changes, and of nothing that pgvip
// does in between.
func TestReportedParameters(t *testing.T) {
	server := pgscript.Serve(t, pgscript.AcceptLogin(),
		// Prepared for the first client.
		pgscript.Expect("Q"), pgscript.Send(pgscript.Status("TimeZone", "UTC"), pgscript.Complete("SELECT 1"), pgscript.Ready('I')),
		// Its own SET.
		pgscript.Expect("Q"), pgscript.Send(pgscript.Complete("SET"), pgscript.Status("DateStyle", "German"), pgscript.Ready('I')),
		// The reset, of which nobody hears.
		pgscript.Expect("Q"), pgscript.Send(pgscript.Complete("DISCARD ALL"), pgscript.Status("DateStyle", "ISO, MDY"),
			pgscript.Status("TimeZone", "GMT"), pgscript.Ready('I')),
		pgscript.ExpectGone())
	r := newRig(t, server.Addr, usual())
	a := r.lend(wire.Param{Name: "TimeZone", Value: "UTC"})
	r.do(func() {
		if !strings.Contains(string(a.got), "TimeZone\x00UTC\x00") || strings.Contains(string(a.got), "GMT") {
			t.Errorf("told %q", a.got)
		}
		a.got = nil
	})
	a.send(pgscript.Query("SET DateStyle = German"))
	r.eventually("answered", func() bool { return a.ready == 1 })
	want := string(pgscript.Complete("SET")) + string(pgscript.Status("DateStyle", "German")) + string(pgscript.Ready('I'))
	r.do(func() {
		if string(a.got) != want {
			t.Errorf("got %q, want %q", a.got, want)
		}
	})
	a.release()
	b := r.lend()
	r.do(func() {
		if !strings.Contains(string(b.got), "TimeZone\x00GMT\x00") || !strings.Contains(string(b.got), "DateStyle\x00ISO, MDY\x00") {
			t.Errorf("the next client is told %q", b.got)
		}
		if string(a.got) != want {
			t.Errorf("the client that has left is told %q", a.got[len(want):])
		}
	})
}
