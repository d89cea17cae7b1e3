package admin

import "strconv"

// pgbouncer gives the metrics of prometheus-community/pgbouncer_exporter 0.12 under
// its names and labels, so that dashboards and alerts made for it go on.
func (m *meter) pgbouncer(v *View) {
	m.gauge("pgbouncer_up", "The pgbouncer scrape succeeded", 1)
	m.gauge("pgbouncer_version_info", "The pgbouncer version info", 1, "version", "PgBouncer 1.25.2 (pgvip "+v.Build.Version+")")
	for i := range v.Pools {
		m.pgbouncerPool(&v.Pools[i])
	}
	for i := range v.Databases {
		m.pgbouncerDatabase(&v.Databases[i])
	}
	m.pgbouncerLists(v)
}

func (m *meter) pgbouncerPool(p *Pool) {
	for _, g := range []struct {
		name, help string
		value      float64
	}{
		{"client_active_connections", "Client connections linked to server connection and able to process queries, shown as connection", float64(p.ClActive)},
		{"client_waiting_connections", "Client connections waiting on a server connection, shown as connection", float64(p.Waiting)},
		{"client_active_cancel_connections", "Client connections that have forwarded query cancellations to the server and are waiting for the server response", float64(p.Cancel)},
		{"client_waiting_cancel_connections", "Client connections that have not forwarded query cancellations to the server yet", 0},
		{"server_active_connections", "Server connections linked to a client connection, shown as connection", float64(p.Active)},
		{"server_active_cancel_connections", "Server connections that are currently forwarding a cancel request.", float64(p.Cancel)},
		{"server_being_canceled_connections", "Servers that wait to become idle until the cancel requests for them have completed.", float64(p.Canceled)},
		{"server_idle_connections", "Server connections idle and ready for a client query, shown as connection", float64(p.Idle)},
		{"server_used_connections", "Server connections idle more than server_check_delay, needing server_check_query, shown as connection", 0},
		{"server_testing_connections", "Server connections currently running either server_reset_query or server_check_query, shown as connection", float64(p.Tested)},
		{"server_login_connections", "Server connections currently in the process of logging in, shown as connection", float64(p.Login)},
		{"client_maxwait_seconds", "Age of oldest unserved client connection, shown as second", p.MaxWait},
	} {
		m.gauge("pgbouncer_pools_"+g.name, g.help, g.value, "database", p.Database, "user", p.User)
	}
}

func (m *meter) pgbouncerDatabase(d *Database) {
	labels := []string{
		"name", d.Name, "host", d.Host, "port", strconv.Itoa(d.Port), "database", d.DBName,
		"force_user", d.User, "pool_mode", d.Mode,
	}
	for _, g := range []struct {
		name, help string
		value      float64
	}{
		{"pool_size", "Maximum number of server connections", float64(d.Size)},
		{"reserve_pool", "Maximum number of additional connections for this database", float64(d.Reserve)},
		{"max_connections", "Maximum number of allowed connections for this database", float64(d.MaxConn)},
		{"current_connections", "Current number of connections for this database", float64(d.Conns)},
		{"paused", "1 if this database is currently paused, else 0", truth(d.Paused)},
		{"disabled", "1 if this database is currently disabled, else 0", truth(d.Off)},
	} {
		m.gauge("pgbouncer_databases_"+g.name, g.help, g.value, labels...)
	}
	t := &d.Traffic
	for _, c := range []struct {
		name, help string
		value      float64
	}{
		{"queries_pooled_total", "Total number of SQL queries pooled", float64(t.Queries)},
		{"queries_duration_seconds_total", "Total number of seconds spent executing queries", t.QueryTime},
		{"received_bytes_total", "Total volume in bytes of network traffic received, shown as bytes", float64(t.Received)},
		{"sent_bytes_total", "Total volume in bytes of network traffic sent, shown as bytes", float64(t.Sent)},
		{"client_wait_seconds_total", "Time spent by clients waiting for a server in seconds", t.WaitTime},
		{"sql_transactions_pooled_total", "Total number of SQL transactions pooled", float64(t.Xacts)},
		{"server_in_transaction_seconds_total", "Total number of seconds spent in a transaction, either idle in transaction or executing queries", t.XactTime},
		{"client_parses_total", "Total number of prepared statement Parse messages received from clients", float64(t.ClientParses)},
		{"server_parses_total", "Total number of prepared statement Parse messages sent to PostgreSQL", float64(t.ServerParses)},
		{"binds_total", "Total number of prepared statements readied for execution with a Bind message", float64(t.Binds)},
	} {
		m.total("pgbouncer_stats_totals_"+c.name, c.help, c.value, "database", d.Name)
	}
}

func (m *meter) pgbouncerLists(v *View) {
	users, clients, servers, idle := map[string]bool{}, 0, 0, 0
	for i := range v.Pools {
		p := &v.Pools[i]
		users[p.User] = true
		servers += p.Active + p.Idle + p.Tested + p.Login
		idle += p.Idle
	}
	for i := range v.Ports {
		clients += v.Ports[i].Clients
	}
	for _, g := range []struct {
		name, help string
		value      int
	}{
		{"databases", "Count of databases", len(v.Databases)},
		{"users", "Count of users", len(users)},
		{"pools", "Count of pools", len(v.Pools)},
		{"used_clients", "Count of used clients", clients},
		{"used_servers", "Count of used servers", servers},
		{"free_servers", "Count of free servers", idle},
	} {
		m.gauge("pgbouncer_"+g.name, g.help, float64(g.value))
	}
	for _, l := range v.Limits {
		if l.Name == "max_client_conn" {
			m.gauge("pgbouncer_free_clients", "Count of free clients", float64(max(l.Max-l.Used, 0)))
			m.gauge("pgbouncer_config_max_client_connections", "Config maximum number of client connections", float64(l.Max))
		}
	}
}
