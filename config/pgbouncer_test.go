package config

import (
	"slices"
	"strings"
	"testing"
)

// pgbouncerKeys are the keys of PgBouncer 1.25.2: the table in its src/main.c,
// and those of the sections [databases] and [users].
const pgbouncerKeys = `
application_name_add_host auth_dbname auth_file auth_hba_file auth_ident_file
auth_ldap_options auth_query auth_type auth_user autodb_idle_timeout cancel_wait_timeout
client_idle_timeout client_login_timeout client_tls13_ciphers client_tls_ca_file
client_tls_cert_file client_tls_ciphers client_tls_dheparams client_tls_ecdhcurve
client_tls_key_file client_tls_protocols client_tls_sslmode conffile default_pool_size
disable_pqexec dns_max_ttl dns_nxdomain_ttl dns_zone_check_period idle_transaction_timeout
ignore_startup_parameters job_name listen_addr listen_backlog listen_port log_connections
log_disconnections log_pooler_errors log_stats logfile max_client_conn
max_db_client_connections max_db_connections max_packet_size max_prepared_statements
max_user_client_connections max_user_connections min_pool_size peer_id pidfile pkt_buf
pool_mode query_timeout query_wait_notify query_wait_timeout reserve_pool_size
reserve_pool_timeout resolv_conf sbuf_loopcnt scram_iterations server_check_delay
server_check_query server_connect_timeout server_fast_close server_idle_timeout
server_lifetime server_login_retry server_reset_query server_reset_query_always
server_round_robin server_tls13_ciphers server_tls_ca_file server_tls_cert_file
server_tls_ciphers server_tls_key_file server_tls_protocols server_tls_sslmode service_name
so_reuseport stats_period stats_users suspend_timeout syslog syslog_facility syslog_ident
tcp_defer_accept tcp_keepalive tcp_keepcnt tcp_keepidle tcp_keepintvl tcp_socket_buffer
tcp_user_timeout track_extra_parameters transaction_timeout unix_socket_dir
unix_socket_group unix_socket_mode user verbose admin_users

databases.app.auth_dbname databases.app.auth_query databases.app.auth_user
databases.app.client_encoding databases.app.connect_query databases.app.datestyle
databases.app.dbname databases.app.host databases.app.load_balance_hosts
databases.app.max_db_client_connections databases.app.max_db_connections
databases.app.min_pool_size databases.app.password databases.app.pool_mode
databases.app.pool_size databases.app.port databases.app.reserve_pool
databases.app.reserve_pool_size databases.app.server_lifetime databases.app.timezone
databases.app.user

users.app.client_idle_timeout users.app.idle_transaction_timeout
users.app.max_user_client_connections users.app.max_user_connections users.app.pool_mode
users.app.pool_size users.app.query_timeout users.app.reserve_pool_size
users.app.transaction_timeout
`

func TestEveryKeyOfPgBouncerIsKnownOrExplained(t *testing.T) {
	known := knownPaths()
	for _, path := range strings.Fields(pgbouncerKeys) {
		if slices.Contains(known, strings.Replace(path, ".app.", ".*.", 1)) {
			continue
		}
		if _, ok := foreign(path); !ok {
			t.Errorf("%s is neither a key nor explained", path)
		}
	}
}

func TestForeignKeysAreNotOurs(t *testing.T) {
	known := knownPaths()
	for _, group := range foreignKeys() {
		for _, path := range group.paths {
			if slices.Contains(known, path) {
				t.Errorf("%s is a key and explained as one that is none", path)
			}
		}
	}
}
