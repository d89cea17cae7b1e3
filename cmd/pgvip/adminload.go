package main

import (
	"context"
	"maps"
	"slices"

	"github.com/pgvip/pgvip/admin"
	"github.com/pgvip/pgvip/config"
	"github.com/pgvip/pgvip/route"
)

// Load implements admin.Source.
func (w *window) Load(ctx context.Context) (*admin.Load, error) {
	l := new(admin.Load)
	var err error
	if l.Pools, err = w.pools.Stats(ctx); err != nil {
		return nil, err
	}
	if l.Accounts, l.Crowds, err = w.proxy.Census(ctx); err != nil {
		return nil, err
	}
	places, err := w.pools.Volumes(ctx)
	if err != nil {
		return nil, err
	}
	databases := make(map[string]*admin.Volume)
	servers := make(map[[2]string]*admin.ServerVolume)
	for place, v := range places {
		d := databases[place.Database]
		if d == nil {
			d = &admin.Volume{Database: place.Database}
			databases[place.Database] = d
		}
		d.Traffic.Add(&v.Traffic)
		d.Query.Add(&v.Query)
		d.Xact.Add(&v.Xact)
		d.Wait.Add(&v.Wait)
		key := [2]string{place.Node, place.Role}
		if servers[key] == nil {
			servers[key] = &admin.ServerVolume{Server: place.Node, Role: place.Role}
		}
		servers[key].Traffic.Add(&v.Traffic)
	}
	for _, d := range databases {
		l.Traffic = append(l.Traffic, *d)
	}
	for _, s := range servers {
		l.ByServer = append(l.ByServer, *s)
	}
	l.Databases = w.databases(l)
	return l, nil
}

// databases are those of the configuration, and those that somebody uses.
func (w *window) databases(l *admin.Load) []admin.Database {
	c := w.config()
	names := make(map[string]bool)
	for name := range c.Databases {
		names[name] = name != config.AnyDatabase
	}
	for i := range l.Accounts {
		names[l.Accounts[i].Database] = true
	}
	for i := range l.Traffic {
		names[l.Traffic[i].Database] = true
	}
	delete(names, config.AnyDatabase)
	host, port := "", 0
	if p := w.proxy.Table().Primary; p != nil {
		host, port = hostPort(p.Addr)
	}
	list := []admin.Database{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		r := c.Rules(name, "")
		list = append(list, admin.Database{
			Name: name, Host: host, Port: port, DBName: r.DBName, User: r.User, Mode: r.PoolMode.String(),
			Size: r.PoolSize, Reserve: r.ReservePoolSize, MaxConn: r.MaxDBConnections,
			Paused: w.pools.Paused(name), Off: w.pools.Disabled(name, r.Disabled),
		})
	}
	return list
}

// counters are what the parts have counted since the start.
func (w *window) counters() []admin.Counter {
	p, l, d := w.proxy.Counters(), w.pools.Counters(), w.control.source.Stats()
	list := []admin.Counter{
		{Name: "pgvip_proxy_login_failures_total", Help: "Logins of clients that were refused or broken off.", Value: float64(p.LoginsFailed.Load())},
		{Name: "pgvip_proxy_logins_active", Help: "Clients that are logging in.", Value: float64(w.proxy.Logins()), Gauge: true},
		{Name: "pgvip_proxy_turned_away_total", Help: "Clients for whom there was no file descriptor.", Value: float64(p.TurnedAway.Load())},
		{Name: "pgvip_proxy_cancels_total", Help: "Cancel requests of clients.", Value: float64(p.Cancels.Load())},
		{Name: "pgvip_proxy_cancels_forwarded_total", Help: "Cancel requests that another pgvip has carried out.", Value: float64(p.CancelsForwarded.Load())},
		{Name: "pgvip_proxy_cancels_dropped_total", Help: "Cancel requests that were dropped.", Label: "cause", Of: "wrong key", Value: float64(p.CancelsWrong.Load())},
		{Name: "pgvip_proxy_cancels_dropped_total", Help: "Cancel requests that were dropped.", Label: "cause", Of: "another pgvip's", Value: float64(p.CancelsForeign.Load())},
		{Name: "pgvip_proxy_cancels_dropped_total", Help: "Cancel requests that were dropped.", Label: "cause", Of: "too many", Value: float64(p.CancelsIgnored.Load())},
		{Name: "pgvip_proxy_parked_bytes", Help: "What clients that wait for a node have sent meanwhile, as far as it is held here.", Value: float64(p.ParkedBytes.Load()), Gauge: true},
		{Name: "pgvip_proxy_parked_refused_total", Help: "Clients beyond failover_wait_max_clients or failover_wait_max_bytes.", Value: float64(p.ParkedRefused.Load())},
		{Name: "pgvip_proxy_auth_queries_total", Help: "Users looked up by auth_query.", Value: float64(p.AuthQueries.Load())},
		{Name: "pgvip_proxy_auth_query_errors_total", Help: "Failures of auth_query.", Value: float64(p.AuthQueryErrors.Load())},
		{Name: "pgvip_proxy_state_statements_total", Help: "Statements that may have left session state on a shared server.", Value: float64(p.StateLeft.Load())},
		{Name: "pgvip_proxy_state_refused_total", Help: "Statements refused for their session state.", Value: float64(p.StateRefused.Load())},
		{Name: "pgvip_pool_server_logins_total", Help: "Logins to servers.", Value: float64(l.ServerLogins.Load())},
		{Name: "pgvip_pool_server_login_failures_total", Help: "Logins to servers that failed.", Value: float64(l.LoginFailures.Load())},
		{Name: "pgvip_pool_wait_timeouts_total", Help: "Clients that waited for too long for a server.", Value: float64(l.WaitTimeouts.Load())},
		{Name: "pgvip_pool_cancels_total", Help: "Cancel requests passed on to servers.", Value: float64(l.Cancels.Load())},
		{Name: "pgvip_pool_desyncs_total", Help: "Servers closed because their answers were out of step: each is a bug.", Value: float64(l.Desyncs.Load())},
		{Name: "pgvip_pool_servers_warmed_total", Help: "Servers logged in before their node was the primary, and used after it.", Value: float64(l.ServersWarmed.Load())},
		{Name: "pgvip_pool_terminated_total", Help: "Sessions that PostgreSQL ended, with 57P01 or 57P02.", Value: float64(l.Terminated.Load())},
		{Name: "pgvip_pool_fenced_busy_total", Help: "Servers of a fenced primary that were closed while they had something to do.", Value: float64(l.FencedBusy.Load())},
		{Name: "pgvip_pool_wrong_node_total", Help: "Errors 25006 of a server of the primary that was in recovery: each is a bug.", Value: float64(l.WrongNode.Load())},
		{Name: "pgvip_dcs_reads_total", Help: "Linearizable reads that answered.", Value: float64(d.Reads)},
		{Name: "pgvip_dcs_reads_missed_total", Help: "Reads that failed or were late.", Value: float64(d.Missed)},
		{Name: "pgvip_dcs_resyncs_total", Help: "Full reads after the first.", Value: float64(d.Resyncs)},
		{Name: "pgvip_dcs_events_total", Help: "Changes of keys that were told of.", Value: float64(d.Events)},
		{Name: "pgvip_dcs_unwatched_changes_total", Help: "Changes that a read saw before the watch did.", Value: float64(d.Unwatched)},
		{Name: "pgvip_dcs_restores_total", Help: "How often the store was another one, or had been set back.", Value: float64(d.Restores)},
		{Name: "pgvip_dcs_connects_total", Help: "Clients of the store that were made.", Value: float64(d.Connects)},
		{Name: "pgvip_dcs_faulty_keys", Help: "Keys that could not be understood.", Value: float64(d.FaultyKeys), Gauge: true},
		{Name: "pgbouncer_config_max_user_connections", Help: "Config maximum number of server connections per user", Value: float64(w.config().MaxUserConnections), Gauge: true},
	}
	kinds := w.control.record.counts()
	for k := route.LeaderNamed; k <= route.FreshnessMoved; k++ {
		kinds[k] += 0 // one that has not happened yet is there too, as 0
	}
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		list = append(list, admin.Counter{
			Name: "pgvip_route_decisions_total", Help: "Decisions about the routes.", Label: "kind", Of: k.String(), Value: float64(kinds[k]),
		})
	}
	return list
}
