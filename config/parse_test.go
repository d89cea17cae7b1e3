package config

import (
	"crypto/tls"
	"errors"
	"fmt"
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
		switch name {
		case "PGVIP_PROBE_PASSWORD":
			return "from env", true
		case "PGVIP_CLUSTER_KEYS":
			return "MDEyMzQ1Njc4OWFiY2RlZg==\n", true
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
etcd: {hosts: "10.0.0.1:2379, etcd2:2380", username: e, password: etcd secret,
  protocol: https, cacert: ca.crt, cert: pgvip.crt, key: pgvip.key}
source: patroni
etcd_blind: static
patroni: {hosts: "10.0.0.1:8008, pg2:8008", protocol: https, interval: 1s}
patroni_api: {cacert: ca.crt, cert: pgvip.crt, key: pgvip.key, insecure: true, username: p, password: patroni secret}
static: {servers: {pg1: {address: "10.0.0.1:5432"}}}
probe:
  user: prober
  password_env: PGVIP_PROBE_PASSWORD
  dbname: app
  check: rest
  inter: 3s
  fastinter: 1s500ms
  downinter: 4s
  timeout: 10s
  rise: 2
  fall: 5
listen:
  primary: ["[::1]:6000", "127.0.0.1:6000"]
  replicas: ""
  admin: 127.0.0.1:7001
  unix_socket_dir: /run/pgvip
  unix_socket_mode: 0660
  unix_socket_group: postgres
  proxy_protocol_networks: [10.0.0.0/8, "::1"]
replica_max_lag: 0
replica_max_lag_bytes: 17MB
no_replicas: reject
balance: leastconn
read_balance: transaction
slowstart: 17s
replica_tags: {zone: z1}
replica_tags_mode: prefer
servers: {pg2: {weight: 0, maxconn: 17, maxqueue: 18, tags: {zone: z2}}}
admin:
  token: bearer secret
  refresh: 30s
  user: op
  password: op secret
  tls_cert_file: tls/admin.crt
  tls_key_file: tls/admin.key
auth_type: md5
auth_file: users/list.txt
auth_hba_file: hba.conf
auth_ident_file: ident.conf
auth_user: lookup
auth_user_password: lookup secret
auth_query: SELECT * FROM lookup($1)
auth_dbname: postgres
scram_iterations: 8192
server_scram_min_iterations: 1
mock_authentication_nonce: 00ff
admin_users: [dba, root]
stats_users: "monitor, exporter"
client_tls_sslmode: verify-full
client_tls_key_file: tls/server.key
client_tls_cert_file: tls/server.crt
client_tls_ca_file: tls/ca.crt
client_tls_protocols: tlsv1.3
client_tls_ciphers: ECDHE-RSA-AES128-GCM-SHA256:TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
client_tls_ecdhcurve: prime256v1, X25519
server_tls_sslmode: verify-ca
server_tls_key_file: tls/client.key
server_tls_cert_file: tls/client.crt
server_tls_ca_file: tls/root.crt
server_tls_protocols: all
server_tls_ciphers: fast
server_tls_sslnegotiation: direct
max_db_client_connections: 6
max_user_client_connections: 7
client_idle_timeout: 8s
query_wait_notify: 0
query_timeout: 9s
transaction_timeout: 10s
idle_transaction_timeout: 11s
client_write_timeout: 14s
server_reset_timeout: 13s
cancel_wait_timeout: 12s
session_state: pin
min_pool_size: 1
reserve_pool_size: 2
reserve_pool_timeout: 3s
max_db_connections: 30
max_user_connections: 31
max_prepared_statements: 0
server_round_robin: true
server_reset_query_always: true
server_fast_close: true
dns_max_ttl: 1m
log_connections: 0
log_disconnections: 0
log_pooler_errors: 0
log_stats: 0
stats_period: 30s
verbose: 2
max_client_conn: 5
max_replication_connections: 9
peer_id: 3
client_login_timeout: 1s
query_wait_timeout: 0
failover_wait_timeout: 0s
failover_wait_max_clients: 17
failover_wait_max_bytes: 17MB
switchover_hold: 17ms
drain_timeout: 2m
application_name_add_host: yes
pool_mode: transaction
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
vip:
  interface: eth1
  addresses: [10.0.0.100, 10.0.0.101/24, "2001:db8::1"]
  virtual_router_id: 7
  priority: 150
  version: 2
  advert_int: 3s
  down_timer_adverts: 4
  preempt: true
  preempt_delay: 5s
  startup_delay: 0
  unicast_src_ip: 10.0.0.1
  unicast_peer: [10.0.0.2]
  checksum: rfc
  auth_pass: vrrppass
  arbiter: etcd
  etcd_down_takeover: never
  garp_master_delay: 0
  garp_master_repeat: 2
  garp_master_refresh: 0
  notify_master: /bin/up "to the top" ''
  notify_backup: /bin/backup
  notify_fault: /bin/fault
  notify_stop: /bin/stop
  notify: /bin/notify
  notify_timeout: 1s
  track_script:
    disk: {script: /bin/disk / 90, interval: 2s, timeout: 3s, rise: 4, fall: 5, weight: -6, reverse: true, init_fail: true}
cluster:
  name: lb1
  address: lb1.example:7946
  heartbeat: [10.0.0.1:7947, "[2001:db8::2]:7947"]
  keys: "MDEyMzQ1Njc4OWFiY2RlZg== MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
  shared_limits: false
  peers:
    lb2: {address: "10.0.0.2:7946"}
databases:
  app:
    dbname: app_v2
    disabled: true
    user: owner
    password: owner secret
    auth_user: look
    auth_query: SELECT 1
    auth_dbname: other
    pool_mode: statement
    session_state: refuse
    pool_size: 3
    min_pool_size: 2
    reserve_pool_size: 4
    max_db_connections: 5
    max_db_client_connections: 6
    query_wait_timeout: 7s
    server_lifetime: 0
    connect_query: SELECT 2
    client_encoding: UTF8
    datestyle: ISO
    timezone: UTC
  plain:
users:
  report:
    pool_mode: session
    session_state: reset
    pool_size: 0
    reserve_pool_size: 1
    max_user_connections: 2
    max_user_client_connections: 3
    query_wait_timeout: 1s
    query_timeout: 2s
    transaction_timeout: 3s
    idle_transaction_timeout: 4s
    client_idle_timeout: 5s
    client_write_timeout: 6s
`

func TestEveryFieldHasAKey(t *testing.T) {
	c := mustParse(t, everyKey)
	untouched := Default()
	untouched.ClientTLS.Negotiation = "never" // of the server side alone
	untouched.ServerTLS.Curves.Names = "never"
	equalFields(t, "Config", reflect.ValueOf(*c), reflect.ValueOf(*untouched))
	equalFields(t, "Database", reflect.ValueOf(c.Databases["app"]), reflect.ValueOf(Database{}))
	equalFields(t, "User", reflect.ValueOf(c.Users["report"]), reflect.ValueOf(User{}))
}

// equalFields reports every field in which two structs are equal, which means
// that no key of the file has reached it.
func equalFields(t *testing.T, path string, got, untouched reflect.Value) {
	t.Helper()
	for i := range got.NumField() {
		name := path + "." + got.Type().Field(i).Name
		a, b := got.Field(i), untouched.Field(i)
		_, whole := a.Interface().(fmt.Stringer)
		if whole = whole || a.Type() == reflect.TypeFor[CheckQuery](); a.Kind() == reflect.Struct && !whole {
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
		{"listen.unix_socket_mode", c.Listen.UnixSocketMode, fs.FileMode(0o660)},
		{"listen.proxy_protocol_networks", fmt.Sprint(c.Listen.ProxyProtocolNetworks), "[10.0.0.0/8 ::1/128]"},
		{"auth_hba_file beside the configuration", c.AuthHBAFile, "/etc/pgvip/hba.conf"},
		{"stats_users from a text", c.StatsUsers, []string{"monitor", "exporter"}},
		{"client_tls_cert_file beside the configuration", c.ClientTLS.CertFile, "/etc/pgvip/tls/server.crt"},
		{"client_tls_protocols", c.ClientTLS.Protocols, TLSVersions{tls.VersionTLS13, tls.VersionTLS13}},
		{"server_tls_protocols", c.ServerTLS.Protocols, TLSVersions{tls.VersionTLS10, tls.VersionTLS13}},
		{"client_tls_ciphers", c.ClientTLS.Ciphers.IDs(), []uint16{
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256}},
		{"server_tls_ciphers", len(c.ServerTLS.Ciphers.IDs()), 0},
		{"client_tls_ecdhcurve", c.ClientTLS.Curves.IDs(), []tls.CurveID{tls.CurveP256, tls.X25519}},
		{"an unnamed database", c.Database("other"), Database{DBName: "other"}},
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
