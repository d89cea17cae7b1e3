package proxy

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/internal/certs"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/tlsconf"
)

// site is a Proxy with all that it needs, serving on two ports of the loopback.
// When its test ends it is shut down, and must have left nothing behind.
type site struct {
	t       testing.TB
	proxy   *Proxy
	pools   *pool.Set
	loops   []*loop.Loop
	logs    *observer.ObservedLogs
	primary string // address of the port for writes
	replica string // address of the port for reads

	servers pool.Settings // what it was started with
	drain   time.Duration // that stop allows
	running sync.WaitGroup
	stopped bool
	flows   map[Flow]bool // that are open, as TakeFlows tells it
}

// plan says how a site differs from the usual one: one loop, every user trusted,
// one server a pool.
type plan struct {
	loops int
	table *route.Table
	pool  func(*pool.Settings)
	proxy func(*Settings)
	users string // the user list file; empty for the trusted user

	console Console
	observe func(route.Observation) // of the pools
}

// node describes a server.
func node(name, addr string) *route.Node { return &route.Node{Name: name, Addr: addr} }

// table is a routing table of a cluster with these nodes; primary may be nil.
func table(primary *route.Node, replicas ...*route.Node) *route.Table {
	t := &route.Table{Primary: primary, Replicas: replicas}
	if primary != nil {
		t.Nodes = append(t.Nodes, primary)
	}
	t.Nodes = append(t.Nodes, replicas...)
	return t
}

// newSite starts a site. A nil plan.table is the shared server as the primary.
func newSite(t testing.TB, p plan) *site {
	t.Helper()
	if p.table == nil {
		p.table = table(node("n1", postgres(t, 0).Addr))
	}
	before := takeStock(t)
	core, logs := observer.New(zapcore.InfoLevel)
	s := &site{t: t, logs: logs, drain: 5 * time.Second}
	for range max(p.loops, 1) {
		l, err := loop.New()
		if err != nil {
			t.Fatal(err)
		}
		s.loops = append(s.loops, l)
		s.running.Go(l.Run)
	}
	if p.users == "" {
		p.users = `"` + lab.TrustUser + `" ""`
	}
	users, err := auth.ParseUserList([]byte(p.users))
	if err != nil {
		t.Fatal(err)
	}
	clients := Settings{AuthMethod: auth.Trust, Users: users, MaxClientConn: 100, ClientLoginTimeout: patience, FailoverWaitTimeout: patience,
		Log: Logging{Connections: true, Disconnections: true, PoolerErrors: true}}
	if inTLS() {
		clients.TLS = accepting(t, certs.Write(t, lab.TrustUser), tlsconf.Prefer)
	}
	if p.proxy != nil {
		p.proxy(&clients)
	}
	servers := pool.Settings{
		Rules:             pool.Rules{PoolSize: 1, ServerResetQuery: "DISCARD ALL", ServerLifetime: time.Hour, QueryWaitTimeout: patience},
		ServerIdleTimeout: time.Hour, ServerConnectTimeout: patience, ServerLoginRetry: time.Second, ServerResetTimeout: patience, CancelWaitTimeout: patience, MaxPreparedStatements: 200,
	}
	if inTLS() {
		servers.TLS = connecting(t, tlsconf.Options{Mode: tlsconf.Prefer})
	}
	if p.pool != nil {
		p.pool(&servers)
	}
	s.servers = servers
	s.proxy = New(Options{Settings: clients, Loops: s.loops, Log: zap.New(core), Console: p.console,
		Flows: func(netip.Addr) bool { return true }})
	s.pools = pool.NewSet(pool.Options{Settings: servers, Loops: s.loops, Log: zap.New(core), LoggedIn: s.proxy.LoggedIn, Observe: p.observe})
	s.proxy.UsePools(s.pools)
	s.proxy.SetTable(p.table)
	s.primary = s.serve(route.Primary)
	s.replica = s.serve(route.Replica)
	t.Cleanup(func() {
		s.stop()
		s.check()
		before.compare(t)
		world.deserted(t)
	})
	return s
}

func (s *site) serve(role route.Role) string { return s.serveAt("127.0.0.1", role) }

// serveAt opens one more port, on another address of the loopback.
func (s *site) serveAt(host string, role route.Role) string {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.proxy.Serve(l, role)
	return l.Addr().String()
}

// stop ends the site as cmd/pgvip ends a node.
func (s *site) stop() {
	if s.stopped {
		return
	}
	s.stopped = true
	ctx, cancel := context.WithTimeout(context.Background(), s.drain)
	defer cancel()
	s.proxy.Shutdown(ctx)
	s.pools.Close()
	for _, l := range s.loops {
		l.Close()
	}
	s.running.Wait()
}

// check looks for what a stopped proxy should have let go of.
func (s *site) check() {
	s.t.Helper()
	if n := s.proxy.Clients(); n != 0 {
		s.t.Errorf("clients after the end: %d, want 0", n)
	}
	if c := &s.proxy.count; c.all != 0 || len(c.databases) != 0 || len(c.users) != 0 {
		s.t.Errorf("counted after the end: %d clients, %v, %v; want none", c.all, c.databases, c.users)
	}
	if accounts, roles := s.proxy.sessions.count(); len(accounts) != 0 || roles != [len(roles)]int{} {
		s.t.Errorf("clients are still counted: %v, by role %v", accounts, roles)
	}
	if n := len(s.proxy.sessions.all()); n != 0 {
		s.t.Errorf("sessions in the registry after the end: %d, want 0", n)
	}
	if n := s.proxy.counters.Parked.Load(); n != 0 {
		s.t.Errorf("parked sessions after the end: %d, want 0", n)
	}
	if n := s.proxy.counters.ParkedBytes.Load(); n != 0 {
		s.t.Errorf("bytes of parked sessions after the end: %d, want 0", n)
	}
	if n := s.proxy.counters.LoginsParked.Load(); n != 0 {
		s.t.Errorf("waiting logins after the end: %d, want 0", n)
	}
	if n := len(s.proxy.readers.n); n != 0 {
		s.t.Errorf("nodes with readers after the end: %d, want 0", n)
	}
	if f := s.flowing(); len(f) != 0 {
		s.t.Errorf("connections that are taken for open after the end: %v", f)
	}
	if n := len(s.proxy.unknown.tokens); n != 0 {
		s.t.Errorf("login slots in use after the end: %d, want 0", n)
	}
}

// onLoops runs f on each loop in turn and waits: whatever was under way there
// has been done by then.
func (s *site) onLoops(f func(*loop.Loop)) {
	for _, l := range s.loops {
		done := make(chan struct{})
		l.Post(func() {
			f(l)
			close(done)
		})
		<-done
	}
}

// phases counts the sessions by phase.
func (s *site) phases() map[phase]int {
	counts := make(map[phase]int)
	s.onLoops(func(l *loop.Loop) {
		for _, c := range s.proxy.sessions.all() {
			if c.home.Load().loop == l {
				counts[c.phase]++
			}
		}
	})
	return counts
}

// queuedFor counts the clients for which replies wait in a queue of ours.
func (s *site) queuedFor() int {
	n := 0
	s.onLoops(func(l *loop.Loop) {
		for _, c := range s.proxy.sessions.all() {
			if c.home.Load().loop == l && c.conn.Queued() > 0 {
				n++
			}
		}
	})
	return n
}

// paused counts the clients that are not being read.
func (s *site) paused() int {
	n := 0
	s.onLoops(func(l *loop.Loop) {
		for _, c := range s.proxy.sessions.all() {
			if c.home.Load().loop == l && c.conn.Paused() {
				n++
			}
		}
	})
	return n
}

// memory is what the sessions have in buffers, in bytes.
func (s *site) memory() int {
	n := 0
	s.onLoops(func(l *loop.Loop) {
		for _, c := range s.proxy.sessions.all() {
			if c.home.Load().loop == l {
				n += c.conn.Queued() + len(c.conn.Peek())
			}
		}
	})
	return n
}

// stock is what a test must give back.
type stock struct {
	descriptors int
	goroutines  goleak.Option
}

func takeStock(t testing.TB) stock {
	return stock{descriptors: descriptors(t), goroutines: goleak.IgnoreCurrent()}
}

func (s stock) compare(t testing.TB) {
	t.Helper()
	if err := goleak.Find(s.goroutines); err != nil {
		t.Error(err)
	}
	eventually(t, "descriptors are given back", func() bool { return descriptors(t) <= s.descriptors })
}

func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// passThrough is a user list with the verifier of the application's user.
func passThrough(t testing.TB) string {
	t.Helper()
	verifier := postgres(t, 0).ask(t, "SELECT rolpassword FROM pg_authid WHERE rolname = '"+lab.AppUser+"'")
	return `"` + lab.AppUser + `" "` + verifier + `"`
}
