package auth

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const hbaText = `
# TYPE  DATABASE        USER            ADDRESS         METHOD

local   mine            all                             peer  map=os
local   all             "all"                           reject
local   sameuser        all                             trust
host    all             "al""ice" , bob 10.0.0.0/8      md5	# who comes from the office
hostssl app,"a, b"      all             192.168.0.0 255.255.0.0  cert map="os"
hostnossl app           all             192.168.0.0/16  reject
host    @dbs.txt        @/etc/users     172.16.0.0/12   scram-sha-256
host    replication,app repl            all             password
host    all             v6              fd00::/8        trust
host    all             samerole        127.0.0.1/32    trust
`

// files are those that hbaText names, as if it were /conf/hba.
func files(path string) ([]byte, error) {
	text, ok := map[string]string{
		"/conf/dbs.txt":      "one two\n\n# no more\n, @more/dbs.txt",
		"/conf/more/dbs.txt": `"three"`,
		"/etc/users":         "all",
		"/conf/self":         "@self",
	}[path]
	if !ok {
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	return []byte(text), nil
}

func identMaps(t testing.TB) *IdentMaps {
	t.Helper()
	m, err := ParseIdent([]byte("os root postgres"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestHBAFirstMatchWins(t *testing.T) {
	hba, err := ParseHBA("/conf/hba", []byte(strings.ReplaceAll(hbaText, "\n", "\r\n")), identMaps(t), files)
	if err != nil {
		t.Fatal(err)
	}
	const replication, tls = "replication", "tls"
	for _, test := range []struct {
		database, user, address, how string
		line                         int // 0: none
		method                       Method
	}{
		{"mine", "bob", "", "", 4, Peer},
		{"mine", "all", "", "", 4, Peer},
		{"app", "all", "", "", 5, Reject},
		{"bob", "bob", "", "", 6, Trust},
		{"app", "bob", "", "", 0, 0},
		{"all", "bob", "", replication, 0, 0},

		{"app", "bob", "10.1.2.3", "", 7, MD5},
		{"app", `al"ice`, "10.1.2.3", tls, 7, MD5},
		{"app", "bob", "::ffff:10.1.2.3", "", 7, MD5},
		{"app", "bob", "11.1.2.3", "", 0, 0},
		{"app", "bob", "10.1.2.3", replication, 0, 0},

		{"app", "bob", "192.168.7.7", tls, 8, Cert},
		{"a, b", "bob", "192.168.7.7", tls, 8, Cert},
		{"a", "bob", "192.168.7.7", tls, 0, 0},
		{"app", "bob", "192.168.7.7", "", 9, Reject},
		{"app", "bob", "192.169.0.0", "", 0, 0},

		{"one", "bob", "172.16.0.1", "", 10, SCRAM},
		{"two", "bob", "172.31.255.255", tls, 10, SCRAM},
		{"three", "bob", "172.16.0.1", "", 10, SCRAM},
		{"four", "bob", "172.16.0.1", "", 0, 0},

		{"whatever", "repl", "8.8.8.8", replication, 11, Password},
		{"app", "repl", "2001:db8::1", "", 11, Password},
		{"other", "repl", "8.8.8.8", "", 0, 0},
		{"app", "v6", "fdff::1", "", 12, Trust},
		{"app", "v6", "fdff::1%eth0", "", 12, Trust},
		{"app", "v6", "fe00::1", "", 0, 0},
		{"app", "samerole", "127.0.0.1", "", 13, Trust},
	} {
		c := Connection{Database: test.database, User: test.user, Encrypted: test.how == tls, Replication: test.how == replication}
		if test.address != "" {
			c.Address = netip.MustParseAddr(test.address)
		}
		rule, ok := hba.Match(c)
		if ok != (test.line > 0) || rule.Line != test.line || rule.Method != test.method {
			t.Errorf("%+v: line %d, %v, %v, want line %d, %v", c, rule.Line, rule.Method, ok, test.line, test.method)
		}
		if wantMap := test.line == 4 || test.line == 8; (rule.Map != nil) != wantMap {
			t.Errorf("%+v: map %v, want one: %v", c, rule.Map, wantMap)
		}
	}
}

// TestHBAFaults: every line here is one that PgBouncer skips or that could not
// do what it seems to.
func TestHBAFaults(t *testing.T) {
	lines := []struct{ line, want string }{
		{"remote all all 10.0.0.0/8 md5", "must begin with local, host, hostssl or hostnossl"},
		{`"host" all all 10.0.0.0/8 md5`, "must begin with"},
		{"hostgssenc all all 10.0.0.0/8 gss", "no GSSAPI"},
		{"include other.conf", "cannot be included"},
		{"host", "database: is missing"},
		{"host all", "user: is missing"},
		{"host all, all", "user: is missing"},
		{"host a,,b all all trust", "database: is missing"},
		{"host samerole all all trust", "member of a role"},
		{"host samegroup all all trust", "member of a role"},
		{"host all +admins all trust", "member of a role"},
		{"host all /^a all trust", "regular expressions"},
		{`host "" all all trust`, "is empty"},
		{"host @none all all trust", "file does not exist"},
		{"host @self all all trust", "name each other"},
		{"host all all", "address: is missing"},
		{"host all all example.org md5", `"example.org": must be all, a network`},
		{"host all all samehost md5", "samehost and samenet are not supported"},
		{"host all all 10.0.0.1 md5", `mask "md5"`},
		{"host all all 10.0.0.1", "write 10.0.0.1/32"},
		{"host all all 10.0.0.0/33 md5", "must be all, a network"},
		{"host all all 10.0.0.1/8 md5", "write 10.0.0.0/8"},
		{"host all all 10.0.0.1 255.0.0.0 md5", "write 10.0.0.0/8"},
		{"host all all 10.0.0.0 255.0.255.0 md5", "mask"},
		{"host all all 10.0.0.0 ffff:: md5", "mask"},
		{"host all all fe80::1%eth0 ffff:: md5", "must be all, a network"},
		{"host all all all", "method: is missing"},
		{"host all all all plain", "is called password"},
		{"host all all all ldap ldapserver=x", `method "ldap": pgvip does not support it`},
		{"host all all all pam", `method "pam": pgvip does not support it`},
		{"host all all all any", `method "any": must be`},
		{"host all all all peer", "must be on a local line"},
		{"local all all cert", "must be on a hostssl or host line"},
		{"hostnossl all all all cert", "must be on a hostssl or host line"},
		{"host all all all md5 md5", `option "md5": must be name=value`},
		{"host all all all cert clientcert=verify-full", "the only one supported is map="},
		{"host all all all md5 map=os", "only cert and peer"},
		{"host all all all cert map=none", `has no map "none"`},
		{`host all "all all all`, "no closing double quote"},
		{"host all all all md5 \\", "must be name=value"},
	}
	var text strings.Builder
	text.WriteString("host all all all md5\n")
	for _, l := range lines {
		text.WriteString(l.line + "\n")
	}
	hba, err := ParseHBA("/conf/hba", []byte(text.String()), identMaps(t), files)
	if hba != nil || err == nil {
		t.Fatalf("ParseHBA = %v, %v, want faults and no rules", hba, err)
	}
	faults := strings.Split(err.Error(), "\n")
	if len(faults) != len(lines) {
		t.Fatalf("%d faults, want %d:\n%v", len(faults), len(lines), err)
	}
	for i, l := range lines {
		if !strings.HasPrefix(faults[i], fmt.Sprintf("line %d: ", i+2)) || !strings.Contains(faults[i], l.want) {
			t.Errorf("%s: %q, want line %d and %q", l.line, faults[i], i+2, l.want)
		}
	}
}

func TestHBAWords(t *testing.T) {
	c := Connection{Database: "app", User: "bob"}
	for _, test := range []struct {
		address              string
		tls, replication     bool
		noEntry, rejectsWith string
	}{
		{"10.0.0.1", false, false,
			`no pg_hba.conf entry for host "10.0.0.1", user "bob", database "app", no encryption`,
			`pg_hba.conf rejects connection for host "10.0.0.1", user "bob", database "app", no encryption`},
		{"::ffff:10.0.0.1", true, false,
			`no pg_hba.conf entry for host "10.0.0.1", user "bob", database "app", SSL encryption`,
			`pg_hba.conf rejects connection for host "10.0.0.1", user "bob", database "app", SSL encryption`},
		{"", false, true,
			`no pg_hba.conf entry for replication connection from host "[local]", user "bob", no encryption`,
			`pg_hba.conf rejects replication connection for host "[local]", user "bob", no encryption`},
	} {
		c.Encrypted, c.Replication, c.Address = test.tls, test.replication, netip.Addr{}
		if test.address != "" {
			c.Address = netip.MustParseAddr(test.address)
		}
		if e := c.NoEntry(); e.Message != test.noEntry || e.Code != "28000" || !e.Fatal() {
			t.Errorf("NoEntry = %v, want %s", e, test.noEntry)
		}
		if e := c.Rejected(); e.Message != test.rejectsWith || e.Code != "28000" || !e.Fatal() {
			t.Errorf("Rejected = %v, want %s", e, test.rejectsWith)
		}
	}
}

// written gives the rule as a line that means the same.
func (r *Rule) written() string {
	list := func(s nameSet) string {
		var words []string
		for keyword, is := range map[string]bool{"all": s.all, "sameuser": s.sameUser, "replication": s.replication} {
			if is {
				words = append(words, keyword)
			}
		}
		for name := range maps.Keys(s.names) {
			words = append(words, `"`+strings.ReplaceAll(name, `"`, `""`)+`"`)
		}
		slices.Sort(words)
		return strings.Join(words, ",")
	}
	kind := [...]string{"local", "host", "hostssl", "hostnossl"}[r.kind]
	line := []string{kind, list(r.databases), list(r.users)}
	switch {
	case r.anywhere:
		line = append(line, "all")
	case r.kind != kindLocal:
		line = append(line, r.network.String())
	}
	for name, m := range hbaMethods {
		if m == r.Method {
			line = append(line, name)
		}
	}
	if r.Map != nil {
		line = append(line, "map=os")
	}
	return strings.Join(line, " ")
}

// What is accepted means the same when it is written again, and no text whatever
// panics or lets a fault through as a rule.
func FuzzParseHBA(f *testing.F) {
	f.Add([]byte(hbaText))
	f.Add([]byte("host all all 0.0.0.0/0 md5"))
	f.Add([]byte("host \"a\"\"b\"c,d e ::/0 cert map=\"os\"#"))
	f.Add([]byte("host all all 1.2.3.4 255.255.255.255 reject\x00"))
	m := identMaps(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		hba, err := ParseHBA("/conf/hba", text, m, files)
		if err != nil {
			if hba != nil {
				t.Fatal("rules in spite of faults")
			}
			return
		}
		var again strings.Builder
		line := 0
		for _, r := range hba.rules {
			for line++; line < r.Line; line++ {
				again.WriteByte('\n')
			}
			again.WriteString(r.written() + "\n")
		}
		hba2, err := ParseHBA("/conf/hba", []byte(again.String()), m, func(string) ([]byte, error) { return nil, errors.New("none") })
		if err != nil || !reflect.DeepEqual(hba, hba2) {
			t.Fatalf("written again as %q: %v", again.String(), err)
		}
		for _, addr := range []netip.Addr{{}, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::1")} {
			hba.Match(Connection{Address: addr, Database: "app", User: "bob"})
		}
	})
}
