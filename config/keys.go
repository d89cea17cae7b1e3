package config

import (
	"io/fs"
	"net/netip"
	"slices"
	"time"
)

// Limits that are not ours: ports of the kernel's socket options and counters.
const (
	most        = 1 << 20 // clients, connections: above every RLIMIT_NOFILE in use
	mostKeepCnt = 127     // MAX_TCP_KEEPCNT, linux/include/net/tcp.h
	mostLoops   = 256     // above any sensible number of CPUs
	mostRise    = 100     // rise and fall
	mostPeers   = 255     // what fits into a process id with 2^23 sessions, see proxy/cancel.go
	mostVerbose = 3       // PgBouncer's -v -v -v

	// mostIterations is a second of computing for one password.
	mostIterations = 10_000_000
)

// defaultAuthQuery is that of PgBouncer 1.25: a role whose password is no longer
// valid has none.
const defaultAuthQuery = "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END" +
	" FROM pg_authid WHERE rolname=$1 AND rolcanlogin"

// topKeys is the file: every key at the top and, through it, every section.
func topKeys() []setting[Config] {
	return slices.Concat(clusterKeys(), readKeys(), clientKeys(), authKeys(), tlsSideKeys(), poolKeys(), socketKeys(),
		addressKeys(), overrideKeys())
}

// clusterKeys say which cluster is served and how its nodes are judged.
func clusterKeys() []setting[Config] {
	return []setting[Config]{
		atStart(must(key("scope", "", scopeName, func(c *Config) *string { return &c.Scope }))),
		atStart(key("namespace", "/service/", namespace, func(c *Config) *string { return &c.Namespace })),
		atStart(key("source", "etcd", source, func(c *Config) *Source { return &c.Source })),
		atStart(section("etcd", etcdKeys(), func(c *Config) *Etcd { return &c.Etcd })),
		key("etcd_blind", "probe", oneOf("probe", "static"), func(c *Config) *string { return &c.EtcdBlind }),
		atStart(section("patroni", patroniKeys(), func(c *Config) *Patroni { return &c.Patroni })),
		section("patroni_api", patroniAPIKeys(), func(c *Config) *PatroniAPI { return &c.PatroniAPI }),
		section("static", staticKeys(), func(c *Config) *Static { return &c.Static }),
		atStart(section("probe", probeKeys(), func(c *Config) *Probe { return &c.Probe })),
	}
}

func etcdKeys() []setting[Etcd] {
	return slices.Concat([]setting[Etcd]{
		list("hosts", "", peerAddress, func(e *Etcd) *[]Address { return &e.Hosts }),
		key("protocol", "http", oneOf("http", "https"), func(e *Etcd) *string { return &e.Protocol }),
		file("cacert", func(e *Etcd) *string { return &e.CACert }),
		file("cert", func(e *Etcd) *string { return &e.Cert }),
		file("key", func(e *Etcd) *string { return &e.Key }),
		key("username", "", anyText, func(e *Etcd) *string { return &e.Username }),
	}, secret("password", func(e *Etcd) *Secret { return &e.Password }))
}

func patroniKeys() []setting[Patroni] {
	return []setting[Patroni]{
		list("hosts", "", peerAddress, func(p *Patroni) *[]Address { return &p.Hosts }),
		key("protocol", "http", oneOf("http", "https"), func(p *Patroni) *string { return &p.Protocol }),
		key("interval", "500ms", span(time.Millisecond), func(p *Patroni) *time.Duration { return &p.Interval }),
	}
}

func patroniAPIKeys() []setting[PatroniAPI] {
	return slices.Concat([]setting[PatroniAPI]{
		file("cacert", func(p *PatroniAPI) *string { return &p.CACert }),
		file("cert", func(p *PatroniAPI) *string { return &p.Cert }),
		file("key", func(p *PatroniAPI) *string { return &p.Key }),
		key("insecure", "false", flag, func(p *PatroniAPI) *bool { return &p.Insecure }),
		key("username", "", anyText, func(p *PatroniAPI) *string { return &p.Username }),
	}, secret("password", func(p *PatroniAPI) *Secret { return &p.Password }))
}

func staticKeys() []setting[Static] {
	return []setting[Static]{named("servers", []setting[StaticServer]{
		must(key("address", "", peerAddress, func(s *StaticServer) *Address { return &s.Address })),
	}, func(s *Static, name string, server StaticServer) {
		if s.Servers == nil {
			s.Servers = map[string]StaticServer{}
		}
		s.Servers[name] = server
	})}
}

func probeKeys() []setting[Probe] {
	const tick = time.Millisecond
	return slices.Concat([]setting[Probe]{
		must(key("user", "", filledText, func(p *Probe) *string { return &p.User })),
	}, secret("password", func(p *Probe) *Secret { return &p.Password }), []setting[Probe]{
		key("dbname", "postgres", filledText, func(p *Probe) *string { return &p.DBName }),
		key("check", "sql", oneOf("sql", "rest", "tcp"), func(p *Probe) *string { return &p.Check }),
		key("inter", "1s", span(tick), func(p *Probe) *time.Duration { return &p.Inter }),
		key("fastinter", "20ms", span(tick), func(p *Probe) *time.Duration { return &p.FastInter }),
		key("downinter", "1s", span(tick), func(p *Probe) *time.Duration { return &p.DownInter }),
		key("timeout", "1s", span(tick), func(p *Probe) *time.Duration { return &p.Timeout }),
		key("rise", "1", count(1, mostRise), func(p *Probe) *int { return &p.Rise }),
		key("fall", "3", count(1, mostRise), func(p *Probe) *int { return &p.Fall }),
	})
}

// clientKeys say where clients connect and how long they may wait.
func clientKeys() []setting[Config] {
	return []setting[Config]{
		section("listen", listenKeys(), func(c *Config) *Listen { return &c.Listen }),
		section("admin", adminKeys(), func(c *Config) *Admin { return &c.Admin }),
		key("max_client_conn", "10000", count(1, most), func(c *Config) *int { return &c.MaxClientConn }),
		key("max_db_client_connections", "0", count(0, most), func(c *Config) *int { return &c.MaxDBClientConnections }),
		key("max_user_client_connections", "0", count(0, most), func(c *Config) *int { return &c.MaxUserClientConnections }),
		key("max_replication_connections", "100", count(0, most), func(c *Config) *int { return &c.MaxReplicationConnections }),
		key("client_login_timeout", "60s", timeout(), func(c *Config) *time.Duration { return &c.ClientLoginTimeout }),
		key("client_idle_timeout", "0s", timeout(), func(c *Config) *time.Duration { return &c.ClientIdleTimeout }),
		key("query_wait_timeout", "120s", timeout(), func(c *Config) *time.Duration { return &c.QueryWaitTimeout }),
		key("query_wait_notify", "5s", timeout(), func(c *Config) *time.Duration { return &c.QueryWaitNotify }),
		key("failover_wait_timeout", "60s", timeout(), func(c *Config) *time.Duration { return &c.FailoverWaitTimeout }),
		key("failover_wait_max_clients", "10000", count(0, most), func(c *Config) *int { return &c.FailoverWaitMaxClients }),
		key("failover_wait_max_bytes", "256MB", volume(0), func(c *Config) *int64 { return &c.FailoverWaitMaxBytes }),
		key("switchover_hold", "500ms", timeout(), func(c *Config) *time.Duration { return &c.SwitchoverHold }),
		key("query_timeout", "0s", timeout(), func(c *Config) *time.Duration { return &c.QueryTimeout }),
		key("transaction_timeout", "0s", timeout(), func(c *Config) *time.Duration { return &c.TransactionTimeout }),
		key("idle_transaction_timeout", "0s", timeout(), func(c *Config) *time.Duration { return &c.IdleTransactionTimeout }),
		key("client_write_timeout", "0s", timeout(), func(c *Config) *time.Duration { return &c.ClientWriteTimeout }),
		key("cancel_wait_timeout", "10s", timeout(), func(c *Config) *time.Duration { return &c.CancelWaitTimeout }),
		key("drain_timeout", "30s", timeout(), func(c *Config) *time.Duration { return &c.DrainTimeout }),
		key("application_name_add_host", "false", flag, func(c *Config) *bool { return &c.ApplicationNameAddHost }),
		atStart(key("peer_id", "0", count(0, mostPeers), func(c *Config) *int { return &c.PeerID })),
	}
}

func listenKeys() []setting[Listen] {
	return []setting[Listen]{
		atStart(list("primary", "*:5000", listenAddress, func(l *Listen) *[]Address { return &l.Primary })),
		atStart(list("replicas", "*:5001", listenAddress, func(l *Listen) *[]Address { return &l.Replicas })),
		atStart(list("admin", "*:7000", listenAddress, func(l *Listen) *[]Address { return &l.Admin })),
		atStart(key("unix_socket_dir", "", socketDir, func(l *Listen) *string { return &l.UnixSocketDir })),
		atStart(key("unix_socket_mode", "0777", fileMode, func(l *Listen) *fs.FileMode { return &l.UnixSocketMode })),
		atStart(key("unix_socket_group", "", filledText, func(l *Listen) *string { return &l.UnixSocketGroup })),
		list("proxy_protocol_networks", "", network, func(l *Listen) *[]netip.Prefix { return &l.ProxyProtocolNetworks }),
	}
}

// adminKeys say who may look at the operators' page, and who may act there.
func adminKeys() []setting[Admin] {
	return slices.Concat(secret("token", func(a *Admin) *Secret { return &a.Token }), []setting[Admin]{
		key("user", "", filledText, func(a *Admin) *string { return &a.User }),
	}, secret("password", func(a *Admin) *Secret { return &a.Password }), []setting[Admin]{
		file("tls_cert_file", func(a *Admin) *string { return &a.CertFile }),
		file("tls_key_file", func(a *Admin) *string { return &a.KeyFile }),
		key("refresh", "5s", spanOrZero(time.Second), func(a *Admin) *time.Duration { return &a.Refresh }),
	})
}

// authKeys say how clients log in, and who may use the console.
func authKeys() []setting[Config] {
	return slices.Concat([]setting[Config]{
		key("auth_type", "scram-sha-256", authType, func(c *Config) *AuthType { return &c.AuthType }),
		file("auth_file", func(c *Config) *string { return &c.AuthFile }),
		file("auth_hba_file", func(c *Config) *string { return &c.AuthHBAFile }),
		file("auth_ident_file", func(c *Config) *string { return &c.AuthIdentFile }),
		key("auth_user", "", filledText, func(c *Config) *string { return &c.AuthUser }),
	}, secret("auth_user_password", func(c *Config) *Secret { return &c.AuthUserPassword }), []setting[Config]{
		key("auth_query", defaultAuthQuery, filledText, func(c *Config) *string { return &c.AuthQuery }),
		key("auth_dbname", "", filledText, func(c *Config) *string { return &c.AuthDBName }),
		key("scram_iterations", "4096", count(1, mostIterations), func(c *Config) *int { return &c.SCRAMIterations }),
		key("server_scram_min_iterations", "4096", count(1, mostIterations), func(c *Config) *int { return &c.ServerSCRAMMinIterations }),
	}, secret("mock_authentication_nonce", func(c *Config) *Secret { return &c.MockAuthenticationNonce }), []setting[Config]{
		list("admin_users", "", filledText, func(c *Config) *[]string { return &c.AdminUsers }),
		list("stats_users", "", filledText, func(c *Config) *[]string { return &c.StatsUsers }),
	})
}

// tlsKeys are PgBouncer's keys of one side, "client" or "server".
func tlsKeys(side, sslmode string, at func(*Config) *TLS) []setting[Config] {
	name := func(key string) string { return side + "_tls_" + key }
	return []setting[Config]{
		key(name("sslmode"), sslmode, sslMode, func(c *Config) *SSLMode { return &at(c).Mode }),
		file(name("key_file"), func(c *Config) *string { return &at(c).KeyFile }),
		file(name("cert_file"), func(c *Config) *string { return &at(c).CertFile }),
		file(name("ca_file"), func(c *Config) *string { return &at(c).CAFile }),
		key(name("protocols"), "secure", tlsProtocols, func(c *Config) *TLSVersions { return &at(c).Protocols }),
		key(name("ciphers"), "default", tlsCiphers, func(c *Config) *TLSCiphers { return &at(c).Ciphers }),
	}
}

func tlsSideKeys() []setting[Config] {
	client := func(c *Config) *TLS { return &c.ClientTLS }
	server := func(c *Config) *TLS { return &c.ServerTLS }
	return slices.Concat(tlsKeys("client", "disable", client), []setting[Config]{
		key("client_tls_ecdhcurve", "auto", tlsCurves, func(c *Config) *TLSCurves { return &c.ClientTLS.Curves }),
	}, tlsKeys("server", "prefer", server), []setting[Config]{
		key("server_tls_sslnegotiation", "postgres", oneOf("postgres", "direct"),
			func(c *Config) *string { return &c.ServerTLS.Negotiation }),
	})
}

// timeout is the parser of a duration of which 0 says something of its own.
func timeout() func(string) (time.Duration, error) { return spanOrZero(time.Millisecond) }

// poolKeys say how server connections are pooled.
func poolKeys() []setting[Config] {
	return []setting[Config]{
		key("pool_mode", "session", poolMode, func(c *Config) *PoolMode { return &c.PoolMode }),
		key("session_state", "reset", sessionState, func(c *Config) *SessionState { return &c.SessionState }),
		key("default_pool_size", "20", count(0, most), func(c *Config) *int { return &c.DefaultPoolSize }),
		key("min_pool_size", "0", count(0, most), func(c *Config) *int { return &c.MinPoolSize }),
		key("reserve_pool_size", "0", count(0, most), func(c *Config) *int { return &c.ReservePoolSize }),
		key("reserve_pool_timeout", "5s", timeout(), func(c *Config) *time.Duration { return &c.ReservePoolTimeout }),
		key("max_db_connections", "0", count(0, most), func(c *Config) *int { return &c.MaxDBConnections }),
		key("max_user_connections", "0", count(0, most), func(c *Config) *int { return &c.MaxUserConnections }),
		key("max_prepared_statements", "200", count(0, most), func(c *Config) *int { return &c.MaxPreparedStatements }),
		key("server_round_robin", "false", flag, func(c *Config) *bool { return &c.ServerRoundRobin }),
		key("server_reset_query", "DISCARD ALL", anyText, func(c *Config) *string { return &c.ServerResetQuery }),
		key("server_reset_query_always", "false", flag, func(c *Config) *bool { return &c.ServerResetQueryAlways }),
		key("server_check_query", "<empty>", checkQuery, func(c *Config) *CheckQuery { return &c.ServerCheckQuery }),
		key("server_reset_timeout", "10s", timeout(), func(c *Config) *time.Duration { return &c.ServerResetTimeout }),
		key("server_check_delay", "30s", timeout(), func(c *Config) *time.Duration { return &c.ServerCheckDelay }),
		key("server_lifetime", "1h", timeout(), func(c *Config) *time.Duration { return &c.ServerLifetime }),
		key("server_idle_timeout", "10m", timeout(), func(c *Config) *time.Duration { return &c.ServerIdleTimeout }),
		key("server_fast_close", "false", flag, func(c *Config) *bool { return &c.ServerFastClose }),
		key("server_connect_timeout", "15s", timeout(), func(c *Config) *time.Duration { return &c.ServerConnectTimeout }),
		key("server_login_retry", "1s", span(time.Millisecond), func(c *Config) *time.Duration { return &c.ServerLoginRetry }),
		key("dns_max_ttl", "15s", timeout(), func(c *Config) *time.Duration { return &c.DNSMaxTTL }),
	}
}

// socketKeys set up sockets, loops and the log.
func socketKeys() []setting[Config] {
	return []setting[Config]{
		key("listen_backlog", "4096", count(1, 65535), func(c *Config) *int { return &c.ListenBacklog }),
		key("tcp_keepalive", "true", flag, func(c *Config) *bool { return &c.Keepalive.Enabled }),
		key("tcp_keepidle", "10s", keepSpan, func(c *Config) *time.Duration { return &c.Keepalive.Idle }),
		key("tcp_keepintvl", "3s", keepSpan, func(c *Config) *time.Duration { return &c.Keepalive.Interval }),
		key("tcp_keepcnt", "3", count(1, mostKeepCnt), func(c *Config) *int { return &c.Keepalive.Count }),
		key("tcp_user_timeout", "60s", timeout(), func(c *Config) *time.Duration { return &c.Keepalive.UserTimeout }),
		atStart(key("loops", "0", count(0, mostLoops), func(c *Config) *int { return &c.Loops })),
		section("log", logKeys(), func(c *Config) *Log { return &c.Log }),
		key("log_connections", "true", flag, func(c *Config) *bool { return &c.Log.Connections }),
		key("log_disconnections", "true", flag, func(c *Config) *bool { return &c.Log.Disconnections }),
		key("log_pooler_errors", "true", flag, func(c *Config) *bool { return &c.Log.PoolerErrors }),
		key("log_stats", "true", flag, func(c *Config) *bool { return &c.Log.Stats }),
		key("stats_period", "60s", span(time.Second), func(c *Config) *time.Duration { return &c.StatsPeriod }),
		key("verbose", "0", count(0, mostVerbose), func(c *Config) *int { return &c.Log.Verbose }),
	}
}

func logKeys() []setting[Log] {
	return []setting[Log]{
		key("level", "info", oneOf("debug", "info", "warn", "error"), func(l *Log) *string { return &l.Level }),
		atStart(key("format", "console", oneOf("console", "json"), func(l *Log) *string { return &l.Format })),
	}
}

// addressKeys are the virtual IP and the other pgvip nodes.
func addressKeys() []setting[Config] {
	return []setting[Config]{
		section("vip", vipKeys(), func(c *Config) *VIP { return &c.VIP }),
		section("cluster", clusterSectionKeys(), func(c *Config) *Cluster { return &c.Cluster }),
	}
}

// overrideKeys come last: what they leave out is taken from the keys above.
func overrideKeys() []setting[Config] {
	return []setting[Config]{
		named("servers", serverKeys(), func(c *Config, name string, s Server) { c.Servers[name] = s }),
		named("databases", databaseKeys(), func(c *Config, name string, d Database) { c.Databases[name] = d }),
		named("users", userKeys(), func(c *Config, name string, u User) { c.Users[name] = u }),
	}
}

func databaseKeys() []setting[Database] {
	return slices.Concat([]setting[Database]{
		key("dbname", "", filledText, func(d *Database) *string { return &d.DBName }),
		key("disabled", "false", flag, func(d *Database) *bool { return &d.Disabled }),
		key("user", "", filledText, func(d *Database) *string { return &d.User }),
	}, secret("password", func(d *Database) *Secret { return &d.Password }), []setting[Database]{
		override("auth_user", filledText, func(d *Database) *Optional[string] { return &d.AuthUser }),
		override("auth_query", filledText, func(d *Database) *Optional[string] { return &d.AuthQuery }),
		override("auth_dbname", filledText, func(d *Database) *Optional[string] { return &d.AuthDBName }),
		override("pool_mode", poolMode, func(d *Database) *Optional[PoolMode] { return &d.PoolMode }),
		override("session_state", sessionState, func(d *Database) *Optional[SessionState] { return &d.SessionState }),
		override("pool_size", count(0, most), func(d *Database) *Optional[int] { return &d.PoolSize }),
		override("min_pool_size", count(0, most), func(d *Database) *Optional[int] { return &d.MinPoolSize }),
		override("reserve_pool_size", count(0, most), func(d *Database) *Optional[int] { return &d.ReservePoolSize }),
		override("max_db_connections", count(0, most), func(d *Database) *Optional[int] { return &d.MaxDBConnections }),
		override("max_db_client_connections", count(0, most), func(d *Database) *Optional[int] { return &d.MaxDBClientConnections }),
		override("query_wait_timeout", timeout(), func(d *Database) *Optional[time.Duration] { return &d.QueryWaitTimeout }),
		override("server_lifetime", timeout(), func(d *Database) *Optional[time.Duration] { return &d.ServerLifetime }),
		key("connect_query", "", filledText, func(d *Database) *string { return &d.ConnectQuery }),
		key("client_encoding", "", filledText, func(d *Database) *string { return &d.ClientEncoding }),
		key("datestyle", "", filledText, func(d *Database) *string { return &d.DateStyle }),
		key("timezone", "", filledText, func(d *Database) *string { return &d.TimeZone }),
	})
}

func userKeys() []setting[User] {
	return []setting[User]{
		override("pool_mode", poolMode, func(u *User) *Optional[PoolMode] { return &u.PoolMode }),
		override("session_state", sessionState, func(u *User) *Optional[SessionState] { return &u.SessionState }),
		override("pool_size", count(0, most), func(u *User) *Optional[int] { return &u.PoolSize }),
		override("reserve_pool_size", count(0, most), func(u *User) *Optional[int] { return &u.ReservePoolSize }),
		override("max_user_connections", count(0, most), func(u *User) *Optional[int] { return &u.MaxUserConnections }),
		override("max_user_client_connections", count(0, most), func(u *User) *Optional[int] { return &u.MaxUserClientConnections }),
		override("query_wait_timeout", timeout(), func(u *User) *Optional[time.Duration] { return &u.QueryWaitTimeout }),
		override("query_timeout", timeout(), func(u *User) *Optional[time.Duration] { return &u.QueryTimeout }),
		override("transaction_timeout", timeout(), func(u *User) *Optional[time.Duration] { return &u.TransactionTimeout }),
		override("idle_transaction_timeout", timeout(), func(u *User) *Optional[time.Duration] { return &u.IdleTransactionTimeout }),
		override("client_idle_timeout", timeout(), func(u *User) *Optional[time.Duration] { return &u.ClientIdleTimeout }),
		override("client_write_timeout", timeout(), func(u *User) *Optional[time.Duration] { return &u.ClientWriteTimeout }),
	}
}
