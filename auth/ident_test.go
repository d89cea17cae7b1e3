package auth

import (
	"fmt"
	"strings"
	"testing"
)

func TestIdentMaps(t *testing.T) {
	all, err := ParseIdent([]byte(`
# MAP   SYSTEM-USER            DATABASE-USER
os      root                   postgres
os      deploy                 app   # twice
os      deploy                 all
cn      /^(.*)@example\.org$   \1
cn      "/^(.*) of (.*)$"      app_\1
cn      /^opt(-x)?$            x\1
cn      Plain                  \1
roles   ops                    "/^(app|web)_"
roles   "quoted all"           "all"
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		ident, system, user string
		want                bool
	}{
		{"os", "root", "postgres", true},
		{"os", "root", "app", false},
		{"os", "roo", "postgres", false},
		{"os", "postgres", "postgres", false}, // with a map, the same name is not enough
		{"os", "deploy", "whoever", true},
		{"os", "", "postgres", false},
		{"cn", "bob@example.org", "bob", true},
		{"cn", "bob@example.org", "bob@example.org", false},
		{"cn", "bob@example.org.evil", "bob", false},
		{"cn", "@example.org", "", true},
		{"cn", "joe of app", "app_joe", true},
		{"cn", "joe of app", "app_app", false},
		{"cn", "opt-x", "x-x", true},
		{"cn", "opt", "x", false}, // the group took no part
		{"cn", "opt", `x\1`, false},
		{"cn", "Plain", `\1`, true},
		{"cn", "plain", `\1`, false},
		{"roles", "ops", "app_1", true},
		{"roles", "ops", "my_app_1", false},
		{"roles", "quoted all", "all", true},
		{"roles", "quoted all", "bob", false},
	} {
		m, ok := all.Lookup(test.ident)
		if !ok {
			t.Fatalf("map %q is missing", test.ident)
		}
		if got := m.Allows(test.system, test.user); got != test.want {
			t.Errorf("%s: Allows(%q, %q) = %v, want %v", test.ident, test.system, test.user, got, test.want)
		}
	}
	if _, ok := all.Lookup("none"); ok {
		t.Error("a map that is not there was found")
	}
	var none *IdentMap
	if !none.Allows("bob", "bob") || none.Allows("bob", "root") || none.Allows("", "") {
		t.Error("without a map only the same name may be let in")
	}
}

func TestIdentFaults(t *testing.T) {
	lines := []struct{ line, want string }{
		{"os root", "has 2 words"},
		{"os root postgres app", "has 4 words"},
		{"os a,b postgres", "comma"},
		{"include maps.conf", "cannot be included"},
		{"os /( postgres", "system user: error parsing regexp"},
		{"os root /(", "database user: error parsing regexp"},
		{"os root +admins", "member of a role"},
		{`os /^x \1`, "no group"},
		{`os "" x`, "empty name"},
		{`os x ""`, "empty name"},
		{`os "x y`, "no closing double quote"},
	}
	var text strings.Builder
	for _, l := range lines {
		text.WriteString(l.line + "\n")
	}
	m, err := ParseIdent([]byte(text.String()))
	if m != nil || err == nil {
		t.Fatalf("ParseIdent = %v, %v, want faults and no maps", m, err)
	}
	faults := strings.Split(err.Error(), "\n")
	if len(faults) != len(lines) {
		t.Fatalf("%d faults, want %d:\n%v", len(faults), len(lines), err)
	}
	for i, l := range lines {
		if !strings.HasPrefix(faults[i], fmt.Sprintf("line %d: ", i+1)) || !strings.Contains(faults[i], l.want) {
			t.Errorf("%s: %q, want line %d and %q", l.line, faults[i], i+1, l.want)
		}
	}
}

func FuzzParseIdent(f *testing.F) {
	f.Add([]byte("os root postgres\ncn \"/^(.*)@x$\" \\1 # c\n"), "bob@x", "bob")
	f.Add([]byte("os /a all"), "a", "")
	f.Fuzz(func(t *testing.T, text []byte, system, user string) {
		all, err := ParseIdent(text)
		if err != nil {
			return
		}
		quote := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
		for name, m := range all.maps {
			var b strings.Builder
			for _, e := range m.entries {
				last := quote(e.user)
				if e.everybody {
					last = "all"
				}
				b.WriteString(quote(name) + " " + quote(e.system) + " " + last + "\n")
			}
			again, err := ParseIdent([]byte(b.String()))
			if err != nil {
				t.Fatalf("written again as %q: %v", b.String(), err)
			}
			if got, want := again.maps[name].Allows(system, user), m.Allows(system, user); got != want {
				t.Fatalf("Allows(%q, %q) = %v when written again, was %v", system, user, got, want)
			}
		}
	})
}
