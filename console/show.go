package console

import (
	"context"
	"fmt"
	"strings"

	"github.com/pgvip/pgvip/wire"
)

// show is one thing that SHOW can show: its columns, and how its rows are had.
type show struct {
	columns []column
	rows    func(ctx context.Context, s *session) ([]row, error)
	// notice is sent instead of rows by SHOW HELP.
	notice bool
}

// shows are PgBouncer's, with its columns in its order, and ours behind them.
func shows() map[string]show {
	list := map[string]show{
		"active_sockets": {columns: debugColumns(), rows: activeSocketRows},
		"clients":        {columns: socketColumns(), rows: clientRows},
		"cluster":        {columns: clusterColumns(), rows: clusterRows},
		"config":         {columns: columns(text, "key", "value", "default", "changeable"), rows: configRows},
		"databases":      {columns: databaseColumns(), rows: databaseRows},
		"dns_hosts":      {columns: []column{{"hostname", text}, {"ttl", bigint}, {"addrs", text}}, rows: hostRows},
		"dns_zones":      {columns: []column{{"zonename", text}, {"serial", bigint}, {"count", integer}}, rows: noRows},
		"fds":            {rows: refuseFDs},
		"help":           {notice: true},
		"lists":          {columns: []column{{"list", text}, {"items", integer}}, rows: listRows},
		"mem":            {columns: join(columns(text, "name"), columns(integer, "size", "used", "free", "memtotal")), rows: memRows},
		"nodes":          {columns: nodeColumns(), rows: nodeRows},
		"node_pools":     {columns: nodePoolColumns(), rows: nodePoolRows},
		"peers":          {columns: []column{{"peer_id", integer}, {"host", text}, {"port", integer}, {"pool_size", integer}}, rows: noRows},
		"peer_pools": {columns: columns(integer, "peer_id", "cl_active_cancel_req", "cl_waiting_cancel_req",
			"sv_active_cancel", "sv_login"), rows: noRows},
		"pools":          {columns: poolColumns(), rows: poolRows},
		"servers":        {columns: socketColumns(), rows: serverRows},
		"sockets":        {columns: debugColumns(), rows: allSocketRows},
		"state":          {columns: columns(text, "key", "value"), rows: stateRows},
		"stats":          {columns: statsColumns(), rows: statsRows},
		"stats_averages": {columns: statsAveragesColumns(), rows: statsAveragesRows},
		"stats_totals":   {columns: statsTotalsColumns(), rows: statsTotalsRows},
		"totals":         {columns: []column{{"name", text}, {"value", numeric}}, rows: totalsRows},
		"users":          {columns: userColumns(), rows: userRows},
		"version":        {columns: columns(text, "version"), rows: versionRows},
		"vip":            {columns: vipColumns(), rows: vipRows},
	}
	for name, value := range fakes() {
		list[name] = fixed(name, value)
	}
	return list
}

// fakes are parameters of PostgreSQL that drivers ask for and set.
func fakes() map[string]string {
	return map[string]string{
		"client_encoding":               "UTF-8",
		"default_transaction_isolation": "read committed",
		"standard_conforming_strings":   "on",
		"datestyle":                     "ISO",
		"timezone":                      "GMT",
		"extra_float_digits":            "1",
		"application_name":              "",
	}
}

func fixed(name, value string) show {
	return show{columns: columns(text, name), rows: func(_ context.Context, s *session) ([]row, error) {
		if name == "application_name" {
			return []row{{s.login.AppName}}, nil
		}
		return []row{{value}}, nil
	}}
}

// join makes one list of several.
func join(lists ...[]column) []column {
	var all []column
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

func noRows(context.Context, *session) ([]row, error) { return nil, nil }

func versionRows(_ context.Context, s *session) ([]row, error) {
	return []row{{"PgBouncer " + bouncerVersion + " (pgvip " + s.server.version + ")"}}, nil
}

func refuseFDs(context.Context, *session) ([]row, error) {
	return nil, refuse(wire.CodeFeatureNotSupported, "SHOW FDS is not supported",
		"It would hand out sockets together with the passwords and keys of their users.")
}

func configRows(_ context.Context, s *session) ([]row, error) {
	var rows []row
	for _, e := range s.server.target.Settings() {
		changeable := "no"
		if e.Changeable {
			changeable = "yes"
		}
		rows = append(rows, row{e.Key, e.Value, e.Default, changeable})
	}
	return rows, nil
}

func stateRows(_ context.Context, s *session) ([]row, error) {
	active, paused := "yes", "no"
	if s.server.target.Paused() {
		active, paused = "no", "yes"
	}
	return []row{{"active", active}, {"paused", paused}, {"suspended", "no"}}, nil
}

func hostRows(_ context.Context, s *session) ([]row, error) {
	var rows []row
	for _, h := range s.server.target.Hosts() {
		rows = append(rows, row{h.Name, int(h.TTL.Seconds()), strings.Join(h.Addresses, ",")})
	}
	return rows, nil
}

func memRows(_ context.Context, s *session) ([]row, error) {
	var rows []row
	for _, m := range s.server.target.Memory() {
		rows = append(rows, row{m.Name, m.Size, m.Used, m.Free, m.Total})
	}
	return rows, nil
}

func listRows(ctx context.Context, s *session) ([]row, error) {
	c, err := s.server.target.Counts(ctx)
	if err != nil {
		return nil, err
	}
	consoles := len(s.server.sockets())
	return []row{
		{"databases", c.Databases + 1}, {"users", c.Users}, {"peers", 0}, {"pools", c.Pools + 1}, {"peer_pools", 0},
		{"free_clients", c.FreeClients}, {"used_clients", c.UsedClients + consoles}, {"login_clients", c.LoginClients},
		{"free_servers", c.FreeServers}, {"used_servers", c.UsedServers},
		{"dns_names", c.Names}, {"dns_zones", 0}, {"dns_queries", 0}, {"dns_pending", 0},
	}, nil
}

func databaseColumns() []column {
	return join(columns(text, "name", "host"), columns(integer, "port"), columns(text, "database", "force_user"),
		columns(integer, "pool_size", "min_pool_size", "reserve_pool_size", "server_lifetime"),
		columns(text, "pool_mode", "load_balance_hosts"),
		columns(integer, "max_connections", "current_connections", "max_client_connections",
			"current_client_connections", "paused", "disabled"))
}

func databaseRows(ctx context.Context, s *session) ([]row, error) {
	list, err := s.server.target.Databases(ctx)
	if err != nil {
		return nil, err
	}
	list = append(list, Database{
		Name: adminDatabase, Port: s.server.port, ServerName: adminDatabase, ForceUser: adminDatabase, PoolSize: s.server.limit,
		PoolMode: "statement", ClientConnections: len(s.server.sockets()),
	})
	var rows []row
	for _, d := range list {
		rows = append(rows, row{
			d.Name, orNull(d.Host), d.Port, d.ServerName, orNull(d.ForceUser), d.PoolSize, d.MinPoolSize, d.ReservePoolSize,
			int(d.ServerLifetime.Seconds()), orNull(d.PoolMode), nil, d.MaxConnections, d.Connections,
			d.MaxClientConnections, d.ClientConnections, d.Paused, d.Disabled,
		})
	}
	return rows, nil
}

func userColumns() []column {
	return join(columns(text, "name", "pool_size", "reserve_pool_size", "pool_mode"),
		columns(integer, "max_user_connections", "current_connections", "max_user_client_connections", "current_client_connections"))
}

func userRows(ctx context.Context, s *session) ([]row, error) {
	list, err := s.server.target.Users(ctx)
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, u := range list {
		rows = append(rows, row{u.Name, padded(u.PoolSize), padded(u.ReservePoolSize), orNull(u.PoolMode),
			u.MaxConnections, u.Connections, u.MaxClientConnections, u.ClientConnections})
	}
	return rows, nil
}

// padded is how PgBouncer writes the sizes of SHOW USERS.
func padded(n int) string {
	if n == Unset {
		return ""
	}
	return fmt.Sprintf("%9d", n)
}

// orNull makes NULL of what is empty.
func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
