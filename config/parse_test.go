package config

import (
	"errors"
	"io/fs"
	"reflect"
	"testing"
	"time"
)

const minimal = `scope: demo
etcd:
  hosts: [127.0.0.1:2379]
auth_file: userlist.txt
probe:
  user: pgvip
`

// parse reads text in a world of one environment variable and one file.
func parse(t testing.TB, text string) (*Config, error) {
	t.Helper()
	env := func(name string) (string, bool) {
		if name == "PGVIP_PROBE_PASSWORD" {
			return "from env", true
		}
		return "", false
	}
	readFile := func(path string) ([]byte, error) {
		switch path {
		case "/etc/pgvip/probe.password":
			return []byte("from file\r\n"), nil
		case "/etc/pgvip/empty":
			return []byte("\n"), nil
		}
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return Parse("/etc/pgvip/pgvip.yaml", []byte(text), env, readFile)
}

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := parse(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// everyKey sets each key to something else than its default.
const everyKey = `
scope: main
namespace: pg//clusters
etcd: {hosts: "10.0.0.1:2379, etcd2:2380", username: e, password: etcd secret}
probe:
  user: prober
  password_env: PGVIP_PROBE_PASSWORD
  dbname: app
  inter: 3s
  fastinter: 1s500ms
  downinter: 4s
  timeout: 10s
  rise: 2
  fall: 5
listen:
  primary: ["[::1]:6000", "127.0.0.1:6000"]
  replicas: ""
  unix_socket_dir: /run/pgvip
auth_type: md5
auth_file: users/list.txt
max_client_conn: 5
client_login_timeout: 1s
query_wait_timeout: 0
failover_wait_timeout: 0s
drain_timeout: 2m
application_name_add_host: yes
pool_mode: session
default_pool_size: 7
server_reset_query: ""
server_check_query: SELECT 1
server_check_delay: 1ms
server_lifetime: 2h
server_idle_timeout: 1h30m
server_connect_timeout: 3s
server_login_retry: 2s
listen_backlog: 128
tcp_keepalive: off
tcp_keepidle: 7s
tcp_keepintvl: 8s
tcp_keepcnt: 9
tcp_user_timeout: 12345ms
loops: 4
log: {level: debug, format: json}
databases:
  app: {dbname: app_v2, pool_size: 3, pool_mode: session, disabled: true}
  plain:
users:
  report: {pool_mode: session}
`

func TestEveryFieldHasAKey(t *testing.T) {
	c := mustParse(t, everyKey)
	// There is only one mode so far that the file may name.
	c.PoolMode = PoolTransaction
	equalFields(t, "Config", reflect.ValueOf(*c), reflect.ValueOf(*Default()))
	app, fallback := c.Databases["app"], c.Databases[AnyDatabase]
	app.PoolMode = PoolTransaction
	equalFields(t, "Database", reflect.ValueOf(app), reflect.ValueOf(fallback))
	if got := c.Users["report"].PoolMode; got != PoolSession {
		t.Errorf("users.report.pool_mode = %s, want session", got)
	}
}

// equalFields reports every field in which two structs are equal, which means
// that no key of the file has reached it.
func equalFields(t *testing.T, path string, got, untouched reflect.Value) {
	t.Helper()
	for i := range got.NumField() {
		name := path + "." + got.Type().Field(i).Name
		a, b := got.Field(i), untouched.Field(i)
		if a.Kind() == reflect.Struct && a.Type() != reflect.TypeFor[Secret]() &&
			a.Type() != reflect.TypeFor[CheckQuery]() {
			equalFields(t, name, a, b)
			continue
		}
		if reflect.DeepEqual(a.Interface(), b.Interface()) {
			t.Errorf("%s = %v, the default, though every key of the file sets another value", name, a)
		}
	}
}

func TestValuesArriveInTheirFields(t *testing.T) {
	c := mustParse(t, everyKey)
	tests := []struct {
		name      string
		got, want any
	}{
		{"namespace", c.Namespace, "/pg/clusters/"},
		{"etcd.hosts from a text", c.Etcd.Hosts, []Address{{"10.0.0.1", 2379}, {"etcd2", 2380}}},
		{"etcd.password", c.Etcd.Password.Reveal(), "etcd secret"},
		{"probe.password from the environment", c.Probe.Password.Reveal(), "from env"},
		{"probe.fastinter", c.Probe.FastInter, 1500 * time.Millisecond},
		{"listen.primary", c.Listen.Primary, []Address{{"::1", 6000}, {"127.0.0.1", 6000}}},
		{"listen.replicas", len(c.Listen.Replicas), 0},
		{"auth_type", c.AuthType, AuthMD5},
		{"auth_file beside the configuration", c.AuthFile, "/etc/pgvip/users/list.txt"},
		{"query_wait_timeout", c.QueryWaitTimeout, time.Duration(0)},
		{"server_check_query", c.ServerCheckQuery, CheckQuery{Enabled: true, SQL: "SELECT 1"}},
		{"tcp_keepalive", c.Keepalive.Enabled, false},
		{"databases.app", c.Database("app"), Database{"app_v2", 3, PoolSession, true}},
		{"databases.plain", c.Database("plain"), Database{"plain", 7, PoolSession, false}},
		{"an unnamed database", c.Database("other"), Database{"other", 7, PoolSession, false}},
		{"mode of a named user", c.Mode("app", "report"), PoolSession},
		{"mode of another user", c.Mode("app", "else"), PoolSession},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if !reflect.DeepEqual(tt.got, tt.want) {
				t.Errorf("got %v, want %v", tt.got, tt.want)
			}
		})
	}
}

func TestListenAddressOfAllIsWhatNetListenTakes(t *testing.T) {
	c := mustParse(t, minimal)
	if got := c.Listen.Primary[0].String(); got != ":5000" {
		t.Errorf("listen.primary = %q, want %q", got, ":5000")
	}
}

func TestUserModeWinsOverDatabaseMode(t *testing.T) {
	c := Default()
	c.Databases["app"] = Database{PoolMode: PoolStatement}
	c.Users["report"] = User{PoolMode: PoolTransaction}
	for _, tt := range []struct {
		database, user string
		want           PoolMode
	}{
		{"app", "report", PoolTransaction},
		{"app", "other", PoolStatement},
		{"else", "other", PoolSession},
	} {
		if got := c.Mode(tt.database, tt.user); got != tt.want {
			t.Errorf("Mode(%q, %q) = %s, want %s", tt.database, tt.user, got, tt.want)
		}
	}
}

func TestLoadNamesTheFileThatIsNotThere(t *testing.T) {
	path := t.TempDir() + "/none.yaml"
	_, err := Load(path)
	if want := path + ": cannot be read: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("Load = %v, want %s", err, want)
	}
	var faults Faults
	if !errors.As(err, &faults) {
		t.Errorf("Load = %T, want Faults, which exit with 2", err)
	}
}
