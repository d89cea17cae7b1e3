package config

import (
	"errors"
	"strings"
	"testing"
)

// TestFaults appends each text to a valid file and wants exactly one fault,
// whose place is given from the first appended line, which is line 7.
func TestFaults(t *testing.T) {
	tests := []struct {
		name, text, want string
	}{
		{"unknown key", "wibble: 1", "7:1: wibble: is not a known key"},
		{"tags in a row", "replica_tags: [zone]", "7:15: replica_tags: must be a section of keys, is a list"},
		{"tag of tags", "replica_tags:\n  zone: [z1]", "8:3: replica_tags.zone: must be a single value, is a list"},
		{"weight too large", "servers:\n  pg2: {weight: 257}", "8:17: servers.pg2.weight: must be at most 256, is 257"},
		{"no such check", "no_replicas: wait", `7:14: no_replicas: must be primary or reject, is "wait"`},
		{"mistyped key", "querry_wait_timeout: 1s", "7:1: querry_wait_timeout: is not a known key, did you mean query_wait_timeout?"},
		{"swapped letters", "lsiten: {primary: a:1}", "7:1: lsiten: is not a known key, did you mean listen?"},
		{"mistyped in a section", "log:\n  levle: info", "8:3: log.levle: is not a known key, did you mean log.level?"},
		{"mistyped in an override", "databases:\n  app: {poolsize: 1}", "8:9: databases.app.poolsize: is not a known key, did you mean databases.app.pool_size?"},
		{"key of another section", "fastinter: 1s", "7:1: fastinter: is not a known key, did you mean probe.fastinter?"},
		{"key of PgBouncer", "so_reuseport: 1", "7:1: so_reuseport: is PgBouncer's: one pgvip process uses all CPUs, see loops"},
		{"key of PgBouncer in an override", "databases:\n  a.b: {host: x}", `8:9: databases."a.b".host: is PgBouncer's: pgvip finds the nodes through Patroni's keys in etcd`},
		{"doubled key", "loops: 1\nloops: 2", "8:1: loops: is given twice, first on line 7"},
		{"doubled database", "databases:\n  a.b: {}\n  a.b: {}", `9:3: databases."a.b": is given twice, first on line 8`},
		{"no value", "loops:", "7:1: loops: has no value"},
		{"list for one value", "loops: [1]", "7:8: loops: must be a single value, is a list"},
		{"section for one value", "loops: {a: 1}", "7:8: loops: must be a single value, is a section of keys"},
		{"value for a section", "log: info", "7:6: log: must be a section of keys, is a single value"},
		{"value for a database", "databases:\n  app: 5", "8:8: databases.app: must be a section of keys, is a single value"},
		{"section for a list", "listen:\n  primary: {a: b}", "8:12: listen.primary: must be a list, is a section of keys"},
		{"list in a list", "listen:\n  primary: [[a]]", "8:13: listen.primary: must hold plain values, holds one that is a list"},

		{"number without digits", "loops: many", `7:8: loops: must be a whole number, is "many"`},
		{"number with a fraction", "loops: 1.5", `7:8: loops: must be a whole number, is "1.5"`},
		{"number too small", "max_client_conn: 0", "7:18: max_client_conn: must be at least 1, is 0"},
		{"number too large", "loops: 257", "7:8: loops: must be at most 256, is 257"},
		{"number beyond 64 bits", "loops: 99999999999999999999", "7:8: loops: must be at most 256, is 99999999999999999999"},
		{"number far below", "loops: -99999999999999999999", "7:8: loops: must be at least 0, is -99999999999999999999"},
		{"duration without unit", "drain_timeout: 30", `7:16: drain_timeout: must have a unit, is 30: write "30s" or "30ms"`},
		{"duration of nonsense", "drain_timeout: soon", `7:16: drain_timeout: must be a duration like "250ms", "15s" or "1h30m", is "soon"`},
		{"duration below zero", "drain_timeout: -1s", "7:16: drain_timeout: must be at least 1ms, is -1s"},
		{"duration too fine", "drain_timeout: 1500us", "7:16: drain_timeout: must be a multiple of 1ms, is 1500us"},
		{"duration too long", "drain_timeout: 99999h", "7:16: drain_timeout: must be at most 87600h, is 99999h"},
		{"zero without a meaning", "server_login_retry: 0s", "7:21: server_login_retry: must be at least 1ms, is 0s"},
		{"keepalive in fractions", "tcp_keepidle: 1500ms", "7:15: tcp_keepidle: must be a multiple of 1s, is 1500ms"},
		{"keepalive beyond the kernel's", "tcp_keepidle: 10h", "7:15: tcp_keepidle: must be at most 32767s, is 10h"},
		{"neither true nor false", "tcp_keepalive: maybe", `7:16: tcp_keepalive: must be true or false, is "maybe"`},
		{"none of the words", "log: {level: loud}", `7:14: log.level: must be debug, info, warn or error, is "loud"`},

		{"unknown auth_type", "auth_type: kerberos", `7:12: auth_type: must be trust, plain, md5, scram-sha-256, any, cert, peer or hba, is "kerberos"`},
		{"auth_type never", "auth_type: ldap", "7:12: auth_type: is ldap, which pgvip does not do: a login would wait for a service outside PostgreSQL; use scram-sha-256"},
		{"unknown mode", "pool_mode: fast", `7:12: pool_mode: must be session, transaction or statement, is "fast"`},
		{"unknown state policy", "session_state: keep", `7:16: session_state: must be reset, pin or refuse, is "keep"`},

		{"hba without its file", "auth_type: hba", "1:1: auth_hba_file: is required with auth_type hba"},
		{"cert without TLS", "auth_type: cert", "1:1: client_tls_sslmode: must be verify-ca or verify-full with auth_type cert, is disable"},
		{"any without a user", "auth_type: any", "1:1: databases.*.user: is required with auth_type any, which ignores the client's"},
		{"any with one database of two", "auth_type: any\ndatabases: {a: {user: x}, b: {}, '*': {disabled: true}}",
			"8:27: databases.b.user: is required with auth_type any, which ignores the client's"},
		{"password of nobody", "auth_user_password: x", "1:1: auth_user: is required with a password"},
		{"password of no user of a database", "databases: {a: {password: x}}", "7:13: databases.a.user: is required with a password"},
		{"auth_query on the console", "auth_dbname: pgvip", "7:1: auth_dbname: names the operators' console, which has no users"},
		{"octal", "listen: {unix_socket_mode: 0888}", `7:28: listen.unix_socket_mode: must be permissions in octal like 0660, is "0888"`},
		{"network of nonsense", "listen: {proxy_protocol_networks: [local]}", `7:36: listen.proxy_protocol_networks: must be a network like 10.0.0.0/8, is "local"`},
		{"network with a host", "listen: {proxy_protocol_networks: [10.1.2.3/8]}", `7:36: listen.proxy_protocol_networks: must have no bits beyond its mask, is "10.1.2.3/8": write "10.0.0.0/8"`},

		{"TLS without a certificate", "client_tls_sslmode: prefer", "1:1: client_tls_cert_file: is required with client_tls_sslmode prefer"},
		{"certificate without its key", "server_tls_cert_file: x", "1:1: server_tls_key_file: is required with server_tls_cert_file"},
		{"key without its certificate", "server_tls_key_file: x", "1:1: server_tls_cert_file: is required with server_tls_key_file"},
		{"nobody to trust", "server_tls_sslmode: verify-ca", "1:1: server_tls_ca_file: is required with server_tls_sslmode verify-ca"},
		{"direct TLS or none", "server_tls_sslnegotiation: direct", "7:1: server_tls_sslnegotiation: must be postgres with server_tls_sslmode prefer, is direct"},
		{"unknown version of TLS", "client_tls_protocols: tlsv1.2,sslv3", `7:23: client_tls_protocols: must be secure, all or some of tlsv1.0, tlsv1.1, tlsv1.2, tlsv1.3, is "tlsv1.2,sslv3"`},
		{"versions of TLS with a gap", "client_tls_protocols: tlsv1.1,tlsv1.3", `7:23: client_tls_protocols: must not leave out a version in between, is "tlsv1.1,tlsv1.3"`},
		{"cipher suite of TLS 1.3", "server_tls_ciphers: TLS_AES_128_GCM_SHA256", `7:21: server_tls_ciphers: must be default or names of cipher suites of TLS 1.2, has "TLS_AES_128_GCM_SHA256"`},
		{"unknown curve", "client_tls_ecdhcurve: none", `7:23: client_tls_ecdhcurve: must be auto or some of X25519MLKEM768, X25519, prime256v1, secp384r1 and secp521r1, has "none"`},

		{"address without port", "listen: {primary: localhost}", `7:19: listen.primary: must be host:port, is "localhost"`},
		{"address with a scheme", "listen: {primary: 'tcp://a:1'}", `7:19: listen.primary: must be host:port without a scheme, is "tcp://a:1"`},
		{"port too large", "listen:\n  primary:\n    - 'a:1'\n    - 'a:65536'", `10:7: listen.primary: must have a port from 0 to 65535, is "a:65536"`},
		{"no address at all", "listen: {primary: ''}", "7:10: listen.primary: must have at least one address"},
		{"no host to listen on", "listen: {primary: ':5000'}", `7:19: listen.primary: must name an address, or "*" for all, is ":5000"`},
		{"same address twice", "listen: {replicas: '*:5000'}", "7:10: listen.replicas: has :5000, which listen.primary has already"},
		{"relative socket folder", "listen: {unix_socket_dir: run}", `7:27: listen.unix_socket_dir: must be an absolute path, is "run"`},
		{"long socket folder", "listen: {unix_socket_dir: /" + strings.Repeat("x", 93) + "}", "7:10: listen.unix_socket_dir: must be shorter than 93 bytes, is 94"},
		{"namespace with spaces", "namespace: a b", `7:12: namespace: must not hold spaces, is "a b"`},
		{"console as a database", "databases: {pgbouncer: {}}", "7:13: databases.pgbouncer: is the name of the operators' console"},
		{"every database sent to one", "databases: {'*': {dbname: app}}", `7:19: databases.*.dbname: would send every unnamed database to "app"`},

		{"anchor", "loops: &n 3", "7:8: loops: uses a YAML anchor, write the value itself"},
		{"alias", "loops: *n", "7:8: loops: uses a YAML alias, write the value itself"},
		{"tag", "loops: !!int 3", "7:8: loops: uses a YAML tag, write the value itself"},
		{"second document", "---\nscope: x", "8:1: has a second YAML document, must be one"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse(t, minimal+tt.text+"\n")
			if want := "/etc/pgvip/pgvip.yaml:" + tt.want; err == nil || err.Error() != want {
				t.Errorf("faults of %q:\n%v\nwant\n%s", tt.text, err, want)
			}
		})
	}
}

// Faults of the part of the file that the others take as given.
func TestFaultsOfWholeFiles(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"empty file", "", []string{
			"1:1: scope: is required", "1:1: probe.user: is required",
			"1:1: etcd.hosts: is required", "1:1: auth_file: is required with auth_type scram-sha-256 and without auth_user"}},
		{"only a comment", "# nothing yet\n", []string{
			"1:1: scope: is required", "1:1: probe.user: is required",
			"1:1: etcd.hosts: is required", "1:1: auth_file: is required with auth_type scram-sha-256 and without auth_user"}},
		{"no keys", "just text\n", []string{"1:1: must be a section of keys, is a single value"}},
		{"list", "- scope\n", []string{"1:1: must be a section of keys, is a list"}},
		{"missing in a section", "scope: a\nauth_type: trust\netcd:\n  username: a\nprobe:\n  rise: 2\n", []string{
			"3:1: etcd.hosts: is required", "6:3: probe.user: is required"}},
		{"in the order of the file", "loops: x\nscope: ''\nauth_type: trust\netcd: {hosts: ['a:1']}\nprobe: {user: a, inter: 10ms}\n", []string{
			`1:8: loops: must be a whole number, is "x"`,
			`2:8: scope: must be one name without slashes and spaces, is ""`,
			"5:18: probe.inter: must not be shorter than fastinter, 20ms, is 10ms"}},
		{"password without user", "scope: a\nauth_type: trust\netcd: {hosts: ['a:1'], password: x}\nprobe: {user: a}\n", []string{
			"3:1: etcd.username: is required with a password"}},
		{"etcd without host", "scope: a\nauth_type: trust\netcd: {hosts: ''}\nprobe: {user: a}\n", []string{
			"3:8: etcd.hosts: must have at least one address"}},
		{"etcd on every host", "scope: a\nauth_type: trust\netcd: {hosts: ['*:2379', 'a:0']}\nprobe: {user: a}\n", []string{
			`3:16: etcd.hosts: must name a host, is "*:2379"`,
			`3:26: etcd.hosts: must have a port from 1 to 65535, is "a:0"`}},
		{"etcd with half of TLS", "scope: a\nauth_type: trust\netcd: {hosts: ['a:1'], cert: x}\nprobe: {user: a}\n", []string{
			"3:1: etcd.key: is required with a cert", "3:1: etcd.protocol: must be https with a certificate, is http"}},
		{"unknown source", "scope: a\nauth_type: trust\nsource: consul\nprobe: {user: a}\netcd: {hosts: ['a:1']}\n", []string{
			`3:9: source: must be etcd, patroni or static, is "consul"`}},
		{"patroni without hosts", "scope: a\nauth_type: trust\nsource: patroni\nprobe: {user: a}\npatroni_api: {password: x, key: x}\n", []string{
			"1:1: patroni.hosts: is required", "5:1: patroni_api.cert: is required with a key", "5:1: patroni_api.username: is required with a password"}},
		{"a list without SQL", "scope: a\nauth_type: trust\nsource: static\nprobe: {user: a, check: tcp}\nstatic: {servers: {x: {address: 'h:1'}}}\n", []string{
			"4:18: probe.check: must be sql with source static, where only SQL tells who is the primary, is tcp"}},
		{"a list of none", "scope: a\nauth_type: trust\nsource: static\nprobe: {user: a}\n", []string{
			"1:1: static.servers: must have at least one server with source static"}},
		{"a list with one twice", "scope: a\nauth_type: trust\nsource: static\nprobe: {user: a}\nstatic:\n  servers:\n    x: {address: 'h:1'}\n    y: {address: 'h:1'}\n    z: {}\n", []string{
			"8:9: static.servers.y.address: is h:1, which x has", "9:8: static.servers.z.address: is required"}},
		{"too large", strings.Repeat("# filler\n", maxFileBytes/8), []string{"1:1: is larger than 1048576 bytes"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse(t, tt.text)
			want := "/etc/pgvip/pgvip.yaml:" + strings.Join(tt.want, "\n/etc/pgvip/pgvip.yaml:")
			if err == nil || err.Error() != want {
				t.Errorf("faults:\n%v\nwant\n%s", err, want)
			}
		})
	}
}

func TestSyntaxFaultIsOneLineWithItsPlace(t *testing.T) {
	for _, text := range []string{"scope: [a\n", "scope: a\n  b: c\n", "a: 'x\n", "\tscope: a\n", "a: b: c\n"} {
		_, err := parse(t, text)
		var faults Faults
		if !errors.As(err, &faults) {
			t.Errorf("%q: error is %v, want faults", text, err)
			continue
		}
		if got := faults[0]; !strings.HasPrefix(got.Text, "is not YAML: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: fault is %q, want one line that begins with \"is not YAML\"", text, got)
		}
	}
}

func TestTrustNeedsNoUserList(t *testing.T) {
	if _, err := parse(t, strings.Replace(minimal, "auth_file: userlist.txt", "auth_type: trust", 1)); err != nil {
		t.Error(err)
	}
}
