package main

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/config"
	"github.com/pgvip/pgvip/console"
	"github.com/pgvip/pgvip/proxy"
	"github.com/pgvip/pgvip/stats"
)

// desk is the node as the console sees it: a console.Target.
type desk struct {
	*node

	mu       sync.Mutex
	averages *stats.Averager // guarded by mu
}

func newDesk(n *node) *desk {
	return &desk{node: n, averages: stats.NewAverager(time.Now())}
}

// consoleOptions lead operators to the console.
func (n *node) consoleOptions() proxy.Console {
	return proxy.Console{
		Databases: console.Databases(),
		Serve:     func(conn net.Conn, o proxy.Operator) { n.console.Serve(conn, console.Login(o)) },
		Cancel:    func(id uint32, key []byte) bool { return n.console.Cancel(id, key) },
	}
}

// Traffic implements console.Target.
func (d *desk) Traffic(ctx context.Context) ([]console.Traffic, error) {
	totals, err := d.pools.Traffic(ctx)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	var list []console.Traffic
	for database, t := range totals {
		list = append(list, console.Traffic{
			Database: database, Total: t.Traffic, Average: d.averages.Average(now, database, &t.Traffic),
			Query: t.Query, Xact: t.Xact, Wait: t.Wait,
		})
	}
	return list, nil
}

// Pools implements console.Target.
func (d *desk) Pools(ctx context.Context) ([]stats.Pool, error) { return d.pools.Stats(ctx) }

// Accounts implements console.Target.
func (d *desk) Accounts(ctx context.Context) ([]stats.Account, error) { return d.proxy.Accounts(ctx) }

// Clients implements console.Target.
func (d *desk) Clients(ctx context.Context) ([]stats.Socket, error) { return d.proxy.ClientList(ctx) }

// Servers implements console.Target.
func (d *desk) Servers(ctx context.Context) ([]stats.Socket, error) { return d.pools.Servers(ctx) }

// Databases implements console.Target: those of the configuration, and those that
// somebody uses.
func (d *desk) Databases(ctx context.Context) ([]console.Database, error) {
	c := d.config()
	use, err := d.use(ctx)
	if err != nil {
		return nil, err
	}
	var host string
	var port int
	if primary := d.proxy.Table().Primary; primary != nil {
		host, port = hostPort(primary.Addr)
	}
	names := use.databases()
	for name := range c.Databases {
		if name != config.AnyDatabase {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var list []console.Database
	for _, name := range slices.Compact(names) {
		r := c.Rules(name, "")
		list = append(list, console.Database{
			Name: name, Host: host, Port: port, ServerName: r.DBName, ForceUser: r.User,
			PoolSize: r.PoolSize, MinPoolSize: r.MinPoolSize, ReservePoolSize: r.ReservePoolSize, ServerLifetime: r.ServerLifetime,
			PoolMode: r.Database.PoolMode.String(), MaxConnections: r.MaxDBConnections, Connections: use.servers[name],
			MaxClientConnections: r.MaxDBClientConnections, ClientConnections: use.clients[name],
			Paused: d.pools.PausedByName(name), Disabled: d.pools.Disabled(name, r.Disabled),
		})
	}
	return list, nil
}

// Users implements console.Target.
func (d *desk) Users(ctx context.Context) ([]console.User, error) {
	in := d.inputs.Load()
	use, err := d.use(ctx)
	if err != nil {
		return nil, err
	}
	names := slices.Concat(in.users.Names(), use.users())
	for name := range in.config.Users {
		names = append(names, name)
	}
	slices.Sort(names)
	var list []console.User
	for _, name := range slices.Compact(names) {
		u, r := in.config.Users[name], in.config.Rules("", name)
		list = append(list, console.User{
			Name: name, PoolSize: u.PoolSize.Or(console.Unset), ReservePoolSize: u.ReservePoolSize.Or(console.Unset),
			PoolMode: u.PoolMode.String(), MaxConnections: r.MaxUserConnections, Connections: use.userServers[name],
			MaxClientConnections: r.MaxUserClientConnections, ClientConnections: use.userClients[name],
		})
	}
	return list, nil
}

// use counts connections by name.
type use struct {
	servers, clients         map[string]int // by database
	userServers, userClients map[string]int
}

func (d *desk) use(ctx context.Context) (*use, error) {
	pools, err := d.pools.Stats(ctx)
	if err != nil {
		return nil, err
	}
	accounts, err := d.proxy.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	u := &use{map[string]int{}, map[string]int{}, map[string]int{}, map[string]int{}}
	for _, p := range pools {
		n := p.Lent + p.Idle + p.Tested + p.Login
		u.servers[p.Database] += n
		u.userServers[p.User] += n
	}
	for _, a := range accounts {
		u.clients[a.Database] += a.Clients
		u.userClients[a.User] += a.Clients
	}
	return u, nil
}

func (u *use) databases() []string { return keys(u.servers, u.clients) }
func (u *use) users() []string     { return keys(u.userServers, u.userClients) }

func keys(maps ...map[string]int) []string {
	var list []string
	for _, m := range maps {
		for name := range m {
			list = append(list, name)
		}
	}
	return list
}

func hostPort(addr string) (string, int) {
	if a, err := netip.ParseAddrPort(addr); err == nil {
		return a.Addr().String(), int(a.Port())
	}
	host, text, _ := net.SplitHostPort(addr)
	port, _ := net.LookupPort("tcp", text)
	return host, port
}

// Counts implements console.Target.
func (d *desk) Counts(ctx context.Context) (console.Counts, error) {
	databases, err := d.Databases(ctx)
	if err != nil {
		return console.Counts{}, err
	}
	users, err := d.Users(ctx)
	if err != nil {
		return console.Counts{}, err
	}
	pools, err := d.pools.Stats(ctx)
	c := console.Counts{
		Databases: len(databases), Users: len(users), Pools: len(pools),
		UsedClients: d.proxy.Clients(), LoginClients: d.proxy.Logins(),
	}
	c.FreeClients = max(0, d.config().MaxClientConn-c.UsedClients)
	for _, p := range pools {
		c.UsedServers += p.Lent + p.Idle + p.Tested + p.Login
		c.FreeServers += p.Idle
	}
	return c, err
}

// Hosts implements console.Target. Patroni's members are mostly known by their
// addresses, which are not among them.
func (d *desk) Hosts() []console.Host {
	var list []console.Host
	for _, h := range d.names.Hosts() {
		list = append(list, console.Host{Name: h.Name, TTL: h.TTL, Addresses: h.Addresses})
	}
	return list
}

// Settings implements console.Target.
func (d *desk) Settings() []console.Setting {
	var list []console.Setting
	for _, e := range config.Entries(d.config()) {
		list = append(list, console.Setting(e))
	}
	return list
}

// keepAverages takes a reading of the counters each stats_period, and logs what
// came of the last one.
func (d *desk) keepAverages(ctx context.Context) {
	for {
		select {
		case <-time.After(d.config().StatsPeriod):
		case <-ctx.Done():
			return
		}
		totals, err := d.pools.Traffic(ctx)
		if err != nil {
			return // only ctx ends the wait
		}
		reading := make(map[string]stats.Traffic, len(totals))
		var sum stats.Traffic
		for database, t := range totals {
			reading[database] = t.Traffic
			sum.Add(&t.Traffic)
		}
		reading[""] = sum // of no database
		now := time.Now()
		d.mu.Lock()
		d.averages.Tick(now, reading)
		average := d.averages.Average(now, "", &sum)
		d.mu.Unlock()
		if d.config().Log.Stats {
			d.logStats(&average)
		}
	}
}

func (d *desk) logStats(a *stats.Traffic) {
	d.log.Info("stats", zap.Uint64("xacts/s", a.Xacts), zap.Uint64("queries/s", a.Queries),
		zap.Uint64("client_parses/s", a.ClientParses), zap.Uint64("server_parses/s", a.ServerParses), zap.Uint64("binds/s", a.Binds),
		zap.Uint64("in_B/s", a.Received), zap.Uint64("out_B/s", a.Sent),
		zap.Int64("xact_us", a.XactTime.Microseconds()), zap.Int64("query_us", a.QueryTime.Microseconds()),
		zap.Int64("wait_us", a.WaitTime.Microseconds()), zap.Int("clients", d.proxy.Clients()))
}
