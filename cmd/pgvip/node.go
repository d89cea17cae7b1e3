package main

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/admin"
	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/cluster"
	"github.com/pgvip/pgvip/config"
	"github.com/pgvip/pgvip/console"
	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/health"
	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/proxy"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// node is one running pgvip: the parts, and the order in which they start and
// stop.
type node struct {
	log     *zap.Logger
	level   zap.AtomicLevel // of log
	loops   []*loop.Loop
	pools   *pool.Set
	proxy   *proxy.Proxy
	control *control
	names   *dial.Names
	console *console.Server
	desk    *desk
	admin   *admin.HTTP
	cluster *cluster.Cluster // nil without other nodes
	vip     *vip             // nil without a virtual IP
	// The next two have something to do only with one.
	vipClients *vipClients
	vipEvents  vipEvents
	// sharing is cluster once it can say what share of a limit this node has.
	sharing atomic.Pointer[cluster.Cluster]
	boot    string // names this process among all

	operators []net.Listener

	primary  []net.Listener
	replicas []net.Listener

	stopControl context.CancelFunc
	running     sync.WaitGroup
	stops       chan stop   // of operators
	stopping    atomic.Bool // there is no way back
	accepting   atomic.Bool // the ports of clients are served
	drained     atomic.Bool // by an operator

	inputs   atomic.Pointer[inputs]
	changing sync.Mutex // held while inputs are replaced
}

// config is the configuration that counts now.
func (n *node) config() *config.Config { return n.inputs.Load().config }

// newNode builds all parts and opens the listeners, so that a port in use is
// found before anything has started.
func newNode(in *inputs, log *zap.Logger, level zap.AtomicLevel) (*node, error) {
	n := &node{log: log, level: level, stops: make(chan stop, 1), boot: newBoot()}
	n.inputs.Store(in)
	if err := n.build(in); err != nil {
		for _, l := range append(n.listeners(), n.operators...) {
			l.Close()
		}
		for _, l := range n.loops {
			l.Close()
		}
		if n.vip != nil {
			n.vip.lock.Close()
		}
		return nil, err
	}
	return n, nil
}

func (n *node) build(in *inputs) error {
	c, log := in.config, n.log
	if err := n.listen(c); err != nil {
		return err
	}
	// One more than loops: while every loop sleeps in the kernel, the goroutines
	// of the cold path have a processor of their own.
	loops := loopCount(c.Loops)
	runtime.GOMAXPROCS(loops + 1)
	for range loops {
		l, err := loop.New()
		if err != nil {
			return fmt.Errorf("event loop: %w", err)
		}
		n.loops = append(n.loops, l)
	}
	source, err := n.source(c)
	if err != nil {
		return err
	}
	n.names = &dial.Names{
		TTL: func() time.Duration { return n.config().DNSMaxTTL }, Changed: n.moved, Dial: newOwnDialer(c).dialFunc(),
	}
	monitor := health.NewMonitor(n.healthConfig(c))
	n.desk = newDesk(n)
	n.console = console.New(console.Options{Target: n.desk, Version: version, Port: c.Listen.Primary[0].Port})
	n.proxy = proxy.New(proxy.Options{Settings: proxySettings(in), Loops: n.loops, Log: log, Console: n.consoleOptions(), Forward: n.forwardCancel,
		Flows: watchedFlows(c)})
	n.pools = pool.NewSet(pool.Options{
		Settings: poolSettings(in),
		Loops:    n.loops,
		Log:      log,
		Observe:  monitor.Observe,
		LoggedIn: n.proxy.LoggedIn,
		Dial:     n.names.DialContext,
	})
	n.proxy.UsePools(n.pools)
	n.control = newControl(source, monitor, n.proxy.SetTable, log)
	n.control.who = c.Source.String()
	n.control.blind, n.control.questions.ask = n.blindRule, n.askPatroni
	n.control.doubt = n.pools.Doubt
	n.control.policy = func(names []string) route.Policy { return routePolicy(n.config(), names) }
	n.admin = n.newAdmin(in)
	if n.vip, err = n.newVIP(c); err != nil {
		return err
	}
	if n.vip != nil {
		n.vipClients = n.newVIPClients(c)
	}
	return n.startCluster()
}

// moved has servers replaced whose host's name leads elsewhere by now.
func (n *node) moved(host string) {
	n.log.Warn("a name of a node leads elsewhere: new servers are connected there", zap.String("host", host))
	n.pools.ReconnectHost(host)
}

// loopCount applies rule 9: as many as there are CPUs, at most eight, and one
// on two CPUs, where PostgreSQL or the applications want the other.
func loopCount(configured int) int {
	cpus := runtime.NumCPU()
	switch {
	case configured > 0:
		return configured
	case cpus <= 2:
		return 1
	default:
		return min(cpus, 8)
	}
}

// start begins to serve. Clients may come before the cluster is known: they
// wait.
func (n *node) start() {
	for _, l := range n.operators {
		n.admin.Serve(l)
	}
	for _, l := range n.loops {
		n.running.Go(l.Run)
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stopControl = stop
	n.running.Go(func() { n.control.Run(ctx) })
	n.running.Go(func() { n.desk.keepAverages(ctx) })
	if n.cluster != nil {
		n.running.Go(func() { n.keepStatus(ctx) })
	}
	for _, l := range n.primary {
		n.proxy.Serve(l, route.Primary)
	}
	for _, l := range n.replicas {
		n.proxy.Serve(l, route.Replica)
	}
	n.accepting.Store(true)
	if n.vip != nil {
		n.running.Go(func() { n.vipClients.run(ctx) })
		n.vip.start()
	}
}

// stop ends everything in the reverse order; ctx bounds the time for open
// transactions.
func (n *node) stop(ctx context.Context) {
	var vip sync.WaitGroup
	if n.vip != nil {
		// At once: without a hand-over the peers learn of it by this.
		vip.Go(n.vip.close)
	}
	n.proxy.Shutdown(ctx)
	vip.Wait()
	n.stopControl()
	n.inputs.Load().patroniAPI.Close()
	n.pools.Close()
	for _, l := range n.loops {
		l.Close()
	}
	n.running.Wait()
	n.stopCluster()
	n.console.Close()
	n.stopAdmin()
}

func (n *node) listen(c *config.Config) (err error) {
	if n.primary, err = listenAll(c, c.Listen.Primary); err != nil {
		return err
	}
	if n.replicas, err = listenAll(c, c.Listen.Replicas); err != nil {
		return err
	}
	n.operators, err = listenTCPs(c, c.Listen.Admin)
	return err
}

// listeners are those of both roles.
func (n *node) listeners() []net.Listener { return slices.Concat(n.primary, n.replicas) }

// serverKeepalive is that of connections to PostgreSQL.
func serverKeepalive(c *config.Config) *dial.Keepalive {
	k := dial.Keepalive(c.Keepalive)
	return &k
}

// crowd passes on what a health check counted at a node.
func (n *node) crowd(addr string, c health.Crowd) { n.pools.Crowd(addr, c.Usable, c.Backends) }

func (n *node) healthConfig(c *config.Config) health.Config {
	p := &c.Probe
	return health.Config{
		Login: advised(n.probe()), Check: checkOf(c), Connect: n.connectProbe, Get: n.getPatroni, Crowd: n.crowd,
		Inter: p.Inter, Leader: p.Inter, FastInter: p.FastInter, Urgent: p.FastInter, DownInter: p.DownInter,
		Timeout: p.Timeout, Rise: p.Rise, Fall: p.Fall,
	}
}

// probe logs health checks in as the configuration says by then: certificates may
// have been replaced by a reload.
func (n *node) probe() health.Login {
	keys := auth.NewKeyCache(16)
	return func(ctx context.Context, addr string) (health.Conn, error) {
		in := n.inputs.Load()
		c := in.config
		return health.PostgreSQL(dial.Config{
			User: c.Probe.User, Database: c.Probe.DBName,
			Credential: auth.Credential{Password: c.Probe.Password.Reveal()},
			TLS:        in.serverTLS,
			DialFunc:   n.names.DialContext,
			KeyCache:   keys,
			Keepalive:  serverKeepalive(c),

			MinIterations: c.ServerSCRAMMinIterations,
		})(ctx, addr)
	}
}

func proxySettings(in *inputs) proxy.Settings {
	c := in.config
	return proxy.Settings{
		AuthMethod:             authMethod(c.AuthType),
		HBA:                    in.hba,
		Users:                  in.users,
		AuthQuery:              authQueries(in),
		SCRAMIterations:        c.SCRAMIterations,
		MockSecret:             []byte(c.MockAuthenticationNonce.Reveal()),
		ServerUser:             func(db string) string { return c.Database(db).User },
		MaxClientConn:          c.MaxClientConn,
		ClientLoginTimeout:     c.ClientLoginTimeout,
		FailoverWaitTimeout:    c.FailoverWaitTimeout,
		FailoverWaitMaxClients: c.FailoverWaitMaxClients,
		FailoverWaitMaxBytes:   c.FailoverWaitMaxBytes,
		QueryWaitNotify:        c.QueryWaitNotify,
		ReadBalanceTransaction: c.Reads.PerTransaction,
		ApplicationNameAddHost: c.ApplicationNameAddHost,
		Log: proxy.Logging{
			Connections: c.Log.Connections, Disconnections: c.Log.Disconnections, PoolerErrors: c.Log.PoolerErrors,
		},
		AdminUsers:         c.AdminUsers,
		StatsUsers:         c.StatsUsers,
		MaxReplicationConn: c.MaxReplicationConnections,
		PeerID:             c.PeerID,
		ProxyNetworks:      c.Listen.ProxyProtocolNetworks,
		TLS:                in.clientTLS,
		Disabled:           func(db string) bool { return c.Database(db).Disabled },
		RulesFor:           func(database, user string) proxy.Rules { return proxyRules(c.Rules(database, user)) },
	}
}

// proxyRules are what counts for the clients of a database and user.
func proxyRules(r config.Rules) proxy.Rules {
	return proxy.Rules{
		MaxDBClientConnections:   r.MaxDBClientConnections,
		MaxUserClientConnections: r.MaxUserClientConnections,
		ClientIdleTimeout:        r.ClientIdleTimeout,
		QueryTimeout:             r.QueryTimeout,
		TransactionTimeout:       r.TransactionTimeout,
		IdleTransactionTimeout:   r.IdleTransactionTimeout,
		ClientWriteTimeout:       r.ClientWriteTimeout,
	}
}

// authMethod is 0, which is no method, for hba: its file has the methods.
func authMethod(t config.AuthType) auth.Method {
	return map[config.AuthType]auth.Method{
		config.AuthTrust: auth.Trust, config.AuthPlain: auth.Password,
		config.AuthMD5: auth.MD5, config.AuthSCRAM: auth.SCRAM,
		config.AuthAny: auth.Any, config.AuthCert: auth.Cert, config.AuthPeer: auth.Peer,
	}[t]
}

func poolSettings(in *inputs) pool.Settings {
	c := in.config
	return pool.Settings{
		ServerCheck:          c.ServerCheckQuery.Enabled,
		ServerCheckQuery:     c.ServerCheckQuery.SQL,
		ServerCheckDelay:     c.ServerCheckDelay,
		ServerIdleTimeout:    c.ServerIdleTimeout,
		ServerConnectTimeout: c.ServerConnectTimeout,
		ServerLoginRetry:     c.ServerLoginRetry,
		ServerFastClose:      c.ServerFastClose,
		ServerRoundRobin:     c.ServerRoundRobin,

		ServerResetQueryAlways: c.ServerResetQueryAlways,
		ServerResetTimeout:     c.ServerResetTimeout,
		CancelWaitTimeout:      c.CancelWaitTimeout,
		Keepalive:              serverKeepalive(c),
		TLS:                    in.serverTLS,
		MinIterations:          c.ServerSCRAMMinIterations,
		RulesFor: func(database, user string) pool.Rules {
			r := poolRules(c.Rules(database, user), c)
			r.Credential = serverCredential(in, c.Database(database), user)
			return r
		},
		MaxPreparedStatements: c.MaxPreparedStatements,
	}
}

// poolRules are the settings of one pool, r being what counts for its database
// and user.
func poolRules(r config.Rules, c *config.Config) pool.Rules {
	mode := map[config.PoolMode]pool.Mode{
		config.PoolSession: pool.SessionMode, config.PoolTransaction: pool.TransactionMode, config.PoolStatement: pool.StatementMode,
	}[r.PoolMode]
	state := map[config.SessionState]pool.StatePolicy{
		config.StateReset: pool.ResetState, config.StatePin: pool.PinState, config.StateRefuse: pool.RefuseState,
	}[r.SessionState]
	return pool.Rules{
		Database:         r.DBName,
		Mode:             mode,
		SessionState:     state,
		PoolSize:         r.PoolSize,
		ServerResetQuery: c.ServerResetQuery,
		Params:           startParams(&r.Database),
		ConnectQuery:     r.ConnectQuery,
		ServerLifetime:   r.ServerLifetime,
		QueryWaitTimeout: r.QueryWaitTimeout,

		MinPoolSize:        r.MinPoolSize,
		ReservePoolSize:    r.ReservePoolSize,
		ReservePoolTimeout: c.ReservePoolTimeout,
		MaxDBConnections:   r.MaxDBConnections,
		MaxUserConnections: r.MaxUserConnections,
	}
}

// startParams are the parameters that servers of a database start with.
func startParams(d *config.Database) []wire.Param {
	var params []wire.Param
	for _, p := range []wire.Param{
		{Name: "client_encoding", Value: d.ClientEncoding}, {Name: "DateStyle", Value: d.DateStyle},
		{Name: "TimeZone", Value: d.TimeZone},
	} {
		if p.Value != "" {
			params = append(params, p)
		}
	}
	return params
}
