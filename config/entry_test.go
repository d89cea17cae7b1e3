package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func entryOf(t *testing.T, c *Config, key string) Entry {
	t.Helper()
	all := Entries(c)
	i := slices.IndexFunc(all, func(e Entry) bool { return e.Key == key })
	if i < 0 {
		t.Fatalf("Entries has no %s", key)
	}
	return all[i]
}

func TestEntriesHavePgBouncersForms(t *testing.T) {
	c := mustParse(t, everyKey)
	for _, want := range []Entry{
		{"client_idle_timeout", "8", "0", true},
		{"tcp_user_timeout", "12345", "60000", true}, // milliseconds
		{"server_check_delay", "0.001", "30", true},
		{"server_lifetime", "7200", "3600", true},
		{"tcp_keepalive", "0", "1", true},
		{"pool_mode", "transaction", "session", true},
		{"auth_type", "md5", "scram-sha-256", true},
		{"server_check_query", "SELECT 1", "<empty>", true},
		{"stats_users", "monitor, exporter", "", true},
		{"auth_user_password", redacted, "", true},
		{"listen.primary", "[::1]:6000, 127.0.0.1:6000", "*:5000", false},
		{"listen.unix_socket_mode", "0660", "0777", false},
		{"listen.proxy_protocol_networks", "10.0.0.0/8, ::1/128", "", true},
		{"probe.fastinter", "1.5", "0.02", false},
		{"log.level", "debug", "info", true},
		{"scope", "main", "", false},
	} {
		if got := entryOf(t, c, want.Key); got != want {
			t.Errorf("entry = %+v, want %+v", got, want)
		}
	}
	if !slices.IsSortedFunc(Entries(c), func(a, b Entry) int { return strings.Compare(a.Key, b.Key) }) {
		t.Error("entries are not in the order of their keys")
	}
}

func TestEntriesShowNoSecret(t *testing.T) {
	for _, e := range Entries(mustParse(t, everyKey)) {
		if strings.Contains(e.Value, "secret") || strings.Contains(e.Value, "from env") || e.Value == "00ff" {
			t.Errorf("%s shows %q", e.Key, e.Value)
		}
	}
}

func TestSetTakesTheFormOfTheFileAndThatOfPgBouncer(t *testing.T) {
	for _, tt := range []struct{ key, text, want string }{
		{"query_wait_timeout", "5", "5"},
		{"query_wait_timeout", "1m30s", "90"},
		{"query_wait_timeout", "0.5", "0.5"},
		{"query_wait_timeout", "0", "0"},
		{"tcp_user_timeout", "1500", "1500"},
		{"tcp_user_timeout", "2s", "2000"},
		{"server_round_robin", "1", "1"},
		{"server_round_robin", "true", "1"},
		{"admin_users", "a, b", "a, b"},
		{"pool_mode", "statement", "statement"},
		{"log.level", "warn", "warn"},
		{"auth_file", "list.txt", "/etc/pgvip/list.txt"},
	} {
		c := mustParse(t, minimal)
		before := *c
		got, err := Set(c, tt.key, tt.text)
		if err != nil {
			t.Errorf("Set(%s, %q): %v", tt.key, tt.text, err)
			continue
		}
		if value := entryOf(t, got, tt.key).Value; value != tt.want {
			t.Errorf("Set(%s, %q) makes it %q, want %q", tt.key, tt.text, value, tt.want)
		}
		if !reflect.DeepEqual(*c, before) {
			t.Errorf("Set(%s, %q) changed the configuration it was given", tt.key, tt.text)
		}
	}
}

// A database without a setting of its own follows the one at the top.
func TestSetReachesDatabases(t *testing.T) {
	c, err := Set(mustParse(t, minimal+"databases: {app: {}, own: {pool_size: 4}}"), "default_pool_size", "9")
	if err != nil {
		t.Fatal(err)
	}
	if app, own := c.Rules("app", "u").PoolSize, c.Rules("own", "u").PoolSize; app != 9 || own != 4 {
		t.Errorf("pool sizes are %d and %d, want 9 and 4", app, own)
	}
}

func TestSetRefuses(t *testing.T) {
	for _, tt := range []struct{ key, text, want string }{
		{"pool_mode", "fast", `pool_mode: must be session, transaction or statement, is "fast"`},
		{"query_wait_timeout", "soon", `query_wait_timeout: must be a duration like "250ms", "15s" or "1h30m", is "soon"`},
		{"client_tls_sslmode", "require", "client_tls_cert_file: is required with client_tls_sslmode require"},
		{"loops", "2", "loops: cannot be changed while pgvip runs"},
		{"etcd.password", "x", "etcd.password: cannot be changed while pgvip runs"},
		{"auth_user_password", "x", "auth_user_password: is changed in the file, with RELOAD"},
		{"auth_user_password_env", "x", "auth_user_password_env: is changed in the file, with RELOAD"},
		{"databases.app.pool_size", "3", "databases.app.pool_size: is changed in the file, with RELOAD"},
		{"so_reuseport", "1", "so_reuseport: is PgBouncer's: one pgvip process uses all CPUs, see loops"},
		{"pool_mod", "session", "pool_mod: is not a known key, did you mean pool_mode?"},
		{"wibble", "1", "wibble: is not a known key"},
	} {
		if _, err := Set(mustParse(t, minimal), tt.key, tt.text); err == nil || err.Error() != tt.want {
			t.Errorf("Set(%s, %q) = %v, want %s", tt.key, tt.text, err, tt.want)
		}
	}
}

func TestKeepRunningKeepsWhatNeedsARestart(t *testing.T) {
	running := mustParse(t, minimal)
	next := mustParse(t, strings.Replace(minimal, "scope: demo", "scope: other", 1)+`  password: new
  inter: 2s
loops: 3
query_timeout: 5s
`)
	got := KeepRunning(running, next)
	want := []Kept{
		{"scope", "demo", "other"}, {"probe.password", "", redacted}, {"probe.inter", "1", "2"}, {"loops", "0", "3"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("kept %+v, want %+v", got, want)
	}
	if next.Scope != "demo" || next.Probe != running.Probe || next.Loops != 0 || next.QueryTimeout != 5*time.Second {
		t.Errorf("next has scope %s, probe %+v, loops %d, query_timeout %s; want the running ones but for the last",
			next.Scope, next.Probe, next.Loops, next.QueryTimeout)
	}
	if again := KeepRunning(running, next); again != nil {
		t.Errorf("kept %+v again, want nothing left", again)
	}
}

func TestChangedNamesKeysDatabasesAndUsers(t *testing.T) {
	old := mustParse(t, minimal+"databases: {a: {pool_size: 1}, b: {}, c: {}}\nusers: {u: {}}\n")
	now := mustParse(t, minimal+"query_timeout: 1s\ndatabases: {a: {pool_size: 2}, c: {}, d.e: {}}\nusers: {u: {pool_size: 0}}\n")
	want := []string{"query_timeout", `databases."d.e"`, "databases.a", "databases.b", "users.u"}
	if got := Changed(old, now); !slices.Equal(got, want) {
		t.Errorf("Changed = %q, want %q", got, want)
	}
	if got := Changed(now, now); len(got) != 0 {
		t.Errorf("Changed of the same = %q, want nothing", got)
	}
}

const withVIP = minimal + `vip: {interface: eth0, addresses: [10.0.0.100], priority: 90}
cluster: {address: "10.0.0.1:7946", keys_env: PGVIP_CLUSTER_KEYS, peers: {lb2: {address: "10.0.0.2:7946"}}}
`

// What stays of a vip section and what does not would not fit together.
func TestKeepRunningKeepsTheVirtualIPAsAWhole(t *testing.T) {
	for _, tt := range []struct {
		name, old, now string // texts of the file
		kept           []string
		priority       int
	}{
		{"priority", "priority: 90", "priority: 80", nil, 80},
		{"address with priority", "[10.0.0.100], priority: 90", "[10.0.0.101], priority: 80", []string{"vip.addresses"}, 90},
		{"peer", "lb2:", "lb3:", []string{"cluster.peers"}, 90},
		{"section", withVIP, minimal, []string{"vip.interface", "vip.addresses", "cluster.address", "cluster.peers"}, 90},
	} {
		t.Run(tt.name, func(t *testing.T) {
			running, next := mustParse(t, withVIP), mustParse(t, strings.Replace(withVIP, tt.old, tt.now, 1))
			var kept []string
			for _, k := range KeepRunning(running, next) {
				kept = append(kept, k.Key)
			}
			if !slices.Equal(kept, tt.kept) {
				t.Errorf("kept %q, want %q", kept, tt.kept)
			}
			if next.VIP.Priority != tt.priority || !reflect.DeepEqual(next.Cluster, running.Cluster) {
				t.Errorf("priority is %d, peers are %v; want %d and the running ones", next.VIP.Priority, next.Cluster.Peers, tt.priority)
			}
		})
	}
}
