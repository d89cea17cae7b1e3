package proxy

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/wire"
)

func params(pairs ...string) []wire.Param {
	var list []wire.Param
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, wire.Param{Name: pairs[i], Value: pairs[i+1]})
	}
	return list
}

// show prints parameters as "a=b c=d".
func show(list []wire.Param) string {
	var words []string
	for _, p := range list {
		words = append(words, p.Name+"="+p.Value)
	}
	return strings.Join(words, " ")
}

// TestReadRequest: none of a startup packet's parameters is refused as unknown
// and none is dropped (rule 5).
func TestReadRequest(t *testing.T) {
	for _, test := range []struct {
		name     string
		params   []wire.Param
		database string
		appName  string
		settings string
		backend  string
	}{
		{"user only", params("user", "u"), "u", "", "", ""},
		{"empty database", params("user", "u", "database", ""), "u", "", "", ""},
		{"database", params("user", "u", "database", "d"), "d", "", "", ""},
		{"the last of two counts", params("user", "u", "database", "d", "database", "e"), "e", "", "", ""},
		{"application_name", params("user", "u", "application_name", "a b"), "u", "a b", "", ""},
		{"application_name in any case", params("user", "u", "Application_Name", "a"), "u", "a", "", ""},
		{"application_name not in ASCII", params("user", "u", "application_name", "\u00e4"), "u", "", "application_name=\u00e4", ""},
		{"application_name too long", params("user", "u", "application_name", strings.Repeat("a", 64)), "u", "", "application_name=" + strings.Repeat("a", 64), ""},
		{"settings", params("user", "u", "x", "1", "y.z", ""), "u", "", "x=1 y.z=", ""},
		{"one setting twice", params("user", "u", "DateStyle", "SQL", "datestyle", "DMY"), "u", "", "DateStyle=SQL datestyle=DMY", ""},
		{"options come first", params("user", "u", "x", "1", "options", "-c x=2 --y-z=3"), "u", "", "x=2 y_z=3 x=1", ""},
		{"replication off", params("user", "u", "replication", "off"), "u", "", "", ""},
		{"extensions", params("user", "u", "_pq_.x", "1"), "u", "", "", ""},
		{"odd case is a setting", params("user", "u", "User", "v", "Database", "w"), "u", "", "User=v Database=w", ""},
		{"at start only", params("user", "u", "Log_Connections", "on"), "u", "", "Log_Connections=on", "Log_Connections=on"},
		{"at start only, in options", params("user", "u", "application_name", "a", "options", "-c log_connections=on"), "u", "a",
			"log_connections=on", "application_name=a options=-c log_connections=on"},
		{"other switches", params("user", "u", "options", "-e", "_pq_.x", ""), "u", "", "", "options=-e"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := readRequest(&wire.Startup{Code: wire.ProtocolVersion30, Params: test.params})
			if err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprintf("%s|%s|%s|%s|%s", r.user, r.database, r.appName, show(r.settings), show(r.backend))
			want := fmt.Sprintf("u|%s|%s|%s|%s", test.database, test.appName, test.settings, test.backend)
			if got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if (r.backend != nil) != (test.backend != "") {
				t.Errorf("backend is nil: %v", r.backend == nil)
			}
		})
	}
}

func TestReadRequestRefuses(t *testing.T) {
	for _, test := range []struct {
		name   string
		params []wire.Param
		state  string
	}{
		{"no user", params("database", "d"), wire.CodeInvalidAuthorization},
		{"empty user", params("user", ""), wire.CodeInvalidAuthorization},
		{"replication", params("user", "u", "replication", "maybe"), wire.CodeInvalidParameterValue},
		{"option without a value", params("user", "u", "options", "--x"), wire.CodeSyntaxError},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := readRequest(&wire.Startup{Code: wire.ProtocolVersion30, Params: test.params})
			var e *wire.Error
			if !errors.As(err, &e) || e.Code != test.state || !e.Fatal() {
				t.Errorf("got %v, want FATAL %s", err, test.state)
			}
		})
	}
}

// TestRequestKey: requests that PostgreSQL welcomes differently have different
// keys; the application_name makes no difference.
func TestRequestKey(t *testing.T) {
	seen := make(map[string]string)
	for _, list := range [][]wire.Param{
		params("user", "u"),
		params("user", "u", "database", "d"),
		params("user", "d", "database", "u"),
		params("user", "u", "x", "1"),
		params("user", "u", "x", "2"),
		params("user", "u", "x", "1", "y", "2"),
		params("user", "u", "y", "2", "x", "1"),
		params("user", "u", "x", "1y2"),
		params("user", "u", "log_connections", "on"),
		params("user", "u", "options", "-e"),
		params("user", "u", "options", "-e -e"),
	} {
		r, err := readRequest(&wire.Startup{Params: list})
		if err != nil {
			t.Fatal(err)
		}
		if other, taken := seen[r.key()]; taken {
			t.Errorf("%s has the key of %s", show(list), other)
		}
		seen[r.key()] = show(list)
		named, err := readRequest(&wire.Startup{Params: append(list, wire.Param{Name: "application_name", Value: "a"})})
		if err != nil {
			t.Fatal(err)
		}
		if named.backend == nil && named.key() != r.key() {
			t.Errorf("%s: application_name changes the key", show(list))
		}
	}
}

// TestIdentitiesAreBounded: parameters are the clients' to choose.
func TestIdentitiesAreBounded(t *testing.T) {
	w := welcomes{known: make(map[string]*identity)}
	for i := range maxIdentities + 100 {
		w.identity(&request{database: "d", user: "u", settings: params("x", fmt.Sprint(i))})
	}
	if n := len(w.known); n > maxIdentities {
		t.Errorf("%d identities are kept, want at most %d", n, maxIdentities)
	}
	a := w.identity(&request{database: "d", user: "u"})
	if b := w.identity(&request{database: "d", user: "u"}); a != b {
		t.Error("two identities for one request")
	}
}

// TestRequestLength measures up to what a ReadyForQuery answers.
func TestRequestLength(t *testing.T) {
	message := func(typ byte, body string) string {
		return string([]byte{typ, 0, 0, 0, byte(len(body) + 4)}) + body
	}
	batch := message('P', "\x00x\x00\x00\x00") + message('B', "xxxxxxxx") + message('E', "\x00\x00\x00\x00\x00")
	for _, test := range []struct {
		name  string
		bytes string
		want  int // 0: not complete
	}{
		{"nothing", "", 0},
		{"query", message('Q', "x\x00"), 7},
		{"query and more", message('Q', "x\x00") + message('Q', "y\x00"), 7},
		{"half a query", message('Q', "x\x00")[:6], 0},
		{"batch", batch + message('S', ""), len(batch) + 5},
		{"batch without Sync", batch + message('H', ""), 0},
		{"function call", message('F', "xx"), 7},
		{"impossible length", "Q\x00\x00\x00\x00", 0},
		{"announced only", "Q\x7f\x00\x00\x00xxx", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, ok := requestLength([]byte(test.bytes))
			if n != test.want || ok != (test.want > 0) {
				t.Errorf("got %d, %v; want %d", n, ok, test.want)
			}
		})
	}
}

// TestMayCommit: only what surely commits nothing is taken for that (rule 13).
func TestMayCommit(t *testing.T) {
	for text, want := range map[string]bool{
		"SELECT 1":            false,
		"SELECT 1;":           false,
		" \n(SELECT 1)":       false,
		"insert into t":       false,
		"COMMIT":              true,
		"  commit":            true,
		"END":                 true,
		"PREPARE TRANSACTION": true,
		"-- x\nCOMMIT":        true,
		"/* x */ COMMIT":      true,
		"SELECT 1; COMMIT":    true,
		"SELECT 1;;":          true,
		"SELECT ';'":          true, // more careful than need be
		"":                    false,
	} {
		if got := beginsCommit([]byte(text+"\x00"), 'Q'); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if !beginsCommit([]byte("SELECT 1 and so on"), 'Q') {
		t.Error("a text that is not seen to its end")
	}
}
