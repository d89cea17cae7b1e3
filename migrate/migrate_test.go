package migrate

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/config"
)

var rewrite = flag.Bool("rewrite", false, "write the expected files anew")

// filled is a result with what PgBouncer does not know.
func filled(r *Result) string {
	return "scope: demo\netcd: {hosts: ['127.0.0.1:2379']}\nprobe: {user: pgvip}\n" + r.YAML
}

func parse(t testing.TB, text string) (*config.Config, error) {
	t.Helper()
	env := func(string) (string, bool) { return "", false }
	return config.Parse("/etc/pgvip/pgvip.yaml", []byte(text), env, os.ReadFile)
}

func TestAWholeFile(t *testing.T) {
	r, err := Convert("testdata/pgbouncer.ini", os.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	const expected = "testdata/pgvip.yaml"
	if *rewrite {
		if err := os.WriteFile(expected, []byte(r.YAML), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(expected)
	if err != nil {
		t.Fatal(err)
	}
	if r.YAML != string(want) {
		t.Errorf("the new file is\n%s\nwant\n%s", r.YAML, want)
	}
	c, err := parse(t, filled(r))
	if err != nil {
		t.Fatal(err)
	}
	app, report := c.Rules("app", "x"), c.Rules("reports", "report")
	for _, tt := range []struct {
		what      string
		got, want any
	}{
		{"dbname", app.DBName, "app_v2"},
		{"pool_size", app.PoolSize, 40},
		{"reserve_pool", app.ReservePoolSize, 5},
		{"pool_mode", app.PoolMode, config.PoolTransaction},
		{"pool_mode of its own", report.PoolMode, config.PoolSession},
		{"password", report.Password.Reveal(), "it's secret"},
		{"server_lifetime 0 of a database", report.ServerLifetime, time.Hour},
		{"connect_query", c.Rules("other-db", "x").ConnectQuery, "SET work_mem = '64MB'"},
		{"the last line counts", c.DefaultPoolSize, 30},
		{"empty", c.ServerResetQuery, ""},
		{"milliseconds", c.Keepalive.UserTimeout, 30 * time.Second},
		{"fraction", c.ReservePoolTimeout, 2500 * time.Millisecond},
		{"list", fmt.Sprint(c.AdminUsers), "[postgres dba]"},
		{"timeout 0 of a user", c.Users["batch"].QueryTimeout.IsSet(), false},
		{"timeout of a user", c.Users["batch"].IdleTransactionTimeout.Or(0), 30 * time.Second},
		{"socket", c.Listen.UnixSocketDir, "/run/postgresql"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %v, want %v", tt.what, tt.got, tt.want)
		}
	}
}

func TestNotesHoldNoPassword(t *testing.T) {
	r, err := Convert("testdata/pgbouncer.ini", os.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range r.Notes {
		if strings.Contains(n.String(), "secret") {
			t.Errorf("note %q shows a password", n)
		}
	}
}

// files is a file system of texts.
func files(all map[string]string) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		text, ok := all[path]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		return []byte(text), nil
	}
}

func TestFaultsOfTheOldFile(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no value", "[pgbouncer]\nuser\n", "x.ini:2: must be a key, = and a value"},
		{"no section end", "[pgbouncer\n", "x.ini:1: section without its ]"},
		{"no closing quote", "[databases]\n'a = b\n", "x.ini:2: key without its closing quote"},
		{"no include", "%include none.ini\n", "x.ini:1: open none.ini: file does not exist"},
		{"includes itself", "%include x.ini\n", strings.Repeat("x.ini:1: ", 11) + "%include goes too deep"},
	} {
		_, err := Convert("x.ini", files(map[string]string{"x.ini": tt.text}))
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	if _, err := Convert("none.ini", files(nil)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v, want %v", err, fs.ErrNotExist)
	}
}

func TestIncludesAreFoundBesideTheFile(t *testing.T) {
	r, err := Convert("/etc/pgbouncer/x.ini", files(map[string]string{
		"/etc/pgbouncer/x.ini": "[pgbouncer]\n%include y.ini\n", "/etc/pgbouncer/y.ini": "max_client_conn = 7\n",
	}))
	if err != nil || !strings.Contains(r.YAML, "\nmax_client_conn: 7\n") {
		t.Errorf("%v, %v; want max_client_conn of the included file", r, err)
	}
}

func TestSilenceAboutAuthTypeIsSaidAloud(t *testing.T) {
	r, err := Convert("x.ini", files(map[string]string{"x.ini": "[pgbouncer]\n"}))
	if err != nil || !strings.Contains(r.YAML, "\nauth_type: md5\n") || len(r.Notes) != 1 || r.Notes[0].Key != "auth_type" {
		t.Errorf("%+v, %v; want md5 and a note", r, err)
	}
}

// PgBouncer has no database that is not named, unless there is a "*".
func TestDatabasesThatAreNotNamedStayRefused(t *testing.T) {
	r, err := Convert("x.ini", files(map[string]string{"x.ini": "[databases]\napp = host=a\n[pgbouncer]\nauth_type = trust\n"}))
	if err != nil {
		t.Fatal(err)
	}
	c, err := parse(t, filled(r))
	if err != nil || !c.Database("other").Disabled || c.Database("app").Disabled {
		t.Errorf("%v in\n%s\nwant app alone to be open", err, r.YAML)
	}
}

// Whatever the old file holds, nothing of it breaks out of its place in the new.
func FuzzConvert(f *testing.F) {
	for _, name := range []string{"testdata/pgbouncer.ini", "testdata/more.ini"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("[databases]\n'a: b' = user=\"x password='\ty'\n\"#\" = dbname=a\"b\\\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Convert("x.ini", files(map[string]string{"x.ini": string(data)}))
		if err != nil {
			return
		}
		_, err = parse(t, filled(r))
		var faults config.Faults
		if err == nil || !errors.As(err, &faults) {
			return
		}
		for _, fault := range faults {
			if strings.Contains(fault.Text, "is not a known key") || strings.Contains(fault.Text, "is given twice") ||
				strings.Contains(fault.Text, "is not YAML") {
				t.Errorf("%v in\n%s", fault, r.YAML)
			}
		}
	})
}
