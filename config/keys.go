package config

import (
	"slices"
	"time"
)

// Limits that are not ours: ports of the kernel's socket options and counters.
const (
	most        = 1 << 20 // clients, connections: above every RLIMIT_NOFILE in use
	mostKeepCnt = 127     // MAX_TCP_KEEPCNT, linux/include/net/tcp.h
	mostLoops   = 256     // above any sensible number of CPUs
	mostRise    = 100     // rise and fall
)

// topKeys is the file: every key at the top and, through it, every section.
func topKeys() []setting[Config] {
	return slices.Concat(clusterKeys(), clientKeys(), poolKeys(), socketKeys(), overrideKeys())
}

// clusterKeys say which cluster is served and how its nodes are judged.
func clusterKeys() []setting[Config] {
	return []setting[Config]{
		must(key("scope", "", scopeName, func(c *Config) *string { return &c.Scope })),
		key("namespace", "/service/", namespace, func(c *Config) *string { return &c.Namespace }),
		section("etcd", etcdKeys(), func(c *Config) *Etcd { return &c.Etcd }),
		section("probe", probeKeys(), func(c *Config) *Probe { return &c.Probe }),
	}
}

func etcdKeys() []setting[Etcd] {
	return slices.Concat([]setting[Etcd]{
		must(list("hosts", "", peerAddress, func(e *Etcd) *[]Address { return &e.Hosts })),
		key("username", "", anyText, func(e *Etcd) *string { return &e.Username }),
	}, secret("password", func(e *Etcd) *Secret { return &e.Password }))
}

func probeKeys() []setting[Probe] {
	const tick = time.Millisecond
	return slices.Concat([]setting[Probe]{
		must(key("user", "", filledText, func(p *Probe) *string { return &p.User })),
	}, secret("password", func(p *Probe) *Secret { return &p.Password }), []setting[Probe]{
		key("dbname", "postgres", filledText, func(p *Probe) *string { return &p.DBName }),
		key("inter", "1s", span(tick), func(p *Probe) *time.Duration { return &p.Inter }),
		key("fastinter", "20ms", span(tick), func(p *Probe) *time.Duration { return &p.FastInter }),
		key("downinter", "1s", span(tick), func(p *Probe) *time.Duration { return &p.DownInter }),
		key("timeout", "1s", span(tick), func(p *Probe) *time.Duration { return &p.Timeout }),
		key("rise", "1", count(1, mostRise), func(p *Probe) *int { return &p.Rise }),
		key("fall", "3", count(1, mostRise), func(p *Probe) *int { return &p.Fall }),
	})
}

// clientKeys say where clients connect and how they log in.
func clientKeys() []setting[Config] {
	return []setting[Config]{
		section("listen", listenKeys(), func(c *Config) *Listen { return &c.Listen }),
		key("auth_type", "scram-sha-256", authType, func(c *Config) *AuthType { return &c.AuthType }),
		key("auth_file", "", anyText, func(c *Config) *string { return &c.AuthFile }),
		key("max_client_conn", "10000", count(1, most), func(c *Config) *int { return &c.MaxClientConn }),
		key("client_login_timeout", "60s", timeout(), func(c *Config) *time.Duration { return &c.ClientLoginTimeout }),
		key("query_wait_timeout", "120s", timeout(), func(c *Config) *time.Duration { return &c.QueryWaitTimeout }),
		key("failover_wait_timeout", "60s", timeout(), func(c *Config) *time.Duration { return &c.FailoverWaitTimeout }),
		key("drain_timeout", "30s", timeout(), func(c *Config) *time.Duration { return &c.DrainTimeout }),
		key("application_name_add_host", "false", flag, func(c *Config) *bool { return &c.ApplicationNameAddHost }),
	}
}

func listenKeys() []setting[Listen] {
	return []setting[Listen]{
		list("primary", "*:5000", listenAddress, func(l *Listen) *[]Address { return &l.Primary }),
		list("replicas", "*:5001", listenAddress, func(l *Listen) *[]Address { return &l.Replicas }),
		key("unix_socket_dir", "", socketDir, func(l *Listen) *string { return &l.UnixSocketDir }),
	}
}

// timeout is the parser of a duration of which 0 says something of its own.
func timeout() func(string) (time.Duration, error) { return spanOrZero(time.Millisecond) }

// poolKeys say how server connections are pooled.
func poolKeys() []setting[Config] {
	return []setting[Config]{
		key("pool_mode", "session", poolMode, func(c *Config) *PoolMode { return &c.PoolMode }),
		key("default_pool_size", "20", count(0, most), func(c *Config) *int { return &c.DefaultPoolSize }),
		key("server_reset_query", "DISCARD ALL", anyText, func(c *Config) *string { return &c.ServerResetQuery }),
		key("server_check_query", "<empty>", checkQuery, func(c *Config) *CheckQuery { return &c.ServerCheckQuery }),
		key("server_check_delay", "30s", timeout(), func(c *Config) *time.Duration { return &c.ServerCheckDelay }),
		key("server_lifetime", "1h", timeout(), func(c *Config) *time.Duration { return &c.ServerLifetime }),
		key("server_idle_timeout", "10m", timeout(), func(c *Config) *time.Duration { return &c.ServerIdleTimeout }),
		key("server_connect_timeout", "15s", timeout(), func(c *Config) *time.Duration { return &c.ServerConnectTimeout }),
		key("server_login_retry", "1s", span(time.Millisecond), func(c *Config) *time.Duration { return &c.ServerLoginRetry }),
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
		key("loops", "0", count(0, mostLoops), func(c *Config) *int { return &c.Loops }),
		section("log", logKeys(), func(c *Config) *Log { return &c.Log }),
	}
}

func logKeys() []setting[Log] {
	return []setting[Log]{
		key("level", "info", oneOf("debug", "info", "warn", "error"), func(l *Log) *string { return &l.Level }),
		key("format", "console", oneOf("console", "json"), func(l *Log) *string { return &l.Format }),
	}
}

// overrideKeys come last: what they leave out is taken from the keys above.
func overrideKeys() []setting[Config] {
	return []setting[Config]{
		named("databases", databaseKeys(), (*Config).databaseDefaults,
			func(c *Config, name string, d Database) { c.Databases[name] = d }),
		named("users", userKeys(), func(*Config) User { return User{} },
			func(c *Config, name string, u User) { c.Users[name] = u }),
	}
}

func databaseKeys() []setting[Database] {
	return []setting[Database]{
		key("dbname", "", filledText, func(d *Database) *string { return &d.DBName }),
		key("pool_size", "", count(0, most), func(d *Database) *int { return &d.PoolSize }),
		key("pool_mode", "", poolMode, func(d *Database) *PoolMode { return &d.PoolMode }),
		key("disabled", "false", flag, func(d *Database) *bool { return &d.Disabled }),
	}
}

func userKeys() []setting[User] {
	return []setting[User]{
		key("pool_mode", "", poolMode, func(u *User) *PoolMode { return &u.PoolMode }),
	}
}
