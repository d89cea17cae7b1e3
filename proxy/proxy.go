package proxy

import (
	"context"
	"crypto/rand"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/route"
)

// maxLogins bounds the clients that are being authenticated at one time. Those
// beyond it wait in the listeners' queues, so that a login storm cannot starve
// the sessions that are running.
const maxLogins = 1024

// maxProofs bounds the proofs that are being checked at one time. The Go
// scheduler has one processor more than there are loops, and a loop that wakes
// up while all of them compute waits for 10 ms: so only one may. A proof against
// a verifier takes some ten microseconds.
const maxProofs = 1

// keptKeys bounds the SCRAM keys kept of plain passwords, which cost a millisecond
// each to make.
const keptKeys = 16384

// Counters count for the whole process.
type Counters struct {
	Logins       atomic.Uint64
	LoginsBy     [route.Replica + 1]atomic.Uint64 // of them those to databases, by role
	LoginsFailed atomic.Uint64
	Cancels      atomic.Uint64
	AuthQueries  atomic.Uint64

	AuthQueryErrors atomic.Uint64
	StateLeft       atomic.Uint64 // statements that may have left session state on a shared server
	StateRefused    atomic.Uint64 // statements that were refused for it

	Retried atomic.Uint64 // requests that went to another server, because no byte had left for the first

	TurnedAway atomic.Uint64 // clients for whom there was no file descriptor

	WriteTimeouts atomic.Uint64 // clients that were ended because they took nothing of what they were sent

	// Cancel requests that were dropped.
	CancelsWrong   atomic.Uint64 // with a key of no session
	CancelsForeign atomic.Uint64 // with a key of another pgvip
	CancelsIgnored atomic.Uint64 // unread, after too many of those from one address

	CancelsForwarded atomic.Uint64 // that another pgvip has carried out

	// Clients that wait for a node, now.
	Parked        atomic.Int64  // sessions
	LoginsParked  atomic.Int64  // clients that are still logging in
	ParkedBytes   atomic.Int64  // what sessions have sent meanwhile, as far as it is held here
	ParkedRefused atomic.Uint64 // those beyond failover_wait_max_clients or failover_wait_max_bytes, ever
}

// Options are what a Proxy is made of. The caller owns the loops and the pools,
// and ends them after the Proxy.
type Options struct {
	Settings Settings
	Loops    []*loop.Loop
	Log      *zap.Logger
	Console  Console
	// Flows says of which local addresses TakeFlows tells the connections. It must
	// not block. With nil there are none.
	Flows func(local netip.Addr) bool
	// Forward has the node with this peer_id carry out a cancel request, and reports
	// whether its key was right; nil without other nodes.
	Forward func(ctx context.Context, peer int, id uint32, key []byte, from net.Addr) (right bool, err error)
}

// Proxy serves clients on any number of listeners.
type Proxy struct {
	// Immutable after New and UsePools.
	loops      []*loop.Loop
	shards     map[*loop.Loop]*shard
	pools      *pool.Set
	keys       *auth.KeyCache
	log        *zap.Logger
	console    Console
	forwardTo  func(ctx context.Context, peer int, id uint32, key []byte, from net.Addr) (bool, error)
	mockSecret [32]byte // for settings that have none

	// Atomic.
	settings atomic.Pointer[Settings]
	auth     atomic.Pointer[auth.Server]
	table    atomic.Pointer[route.Table]
	turn     atomic.Uint64 // of the round robin over the replicas
	readers  readers
	clients  atomic.Int64 // logged in or logging in
	draining atomic.Bool  // sessions end between their transactions
	settling atomic.Bool  // clients of watched addresses begin nothing new
	drained  atomic.Bool  // by an operator, which can be undone
	closing  atomic.Bool  // nobody may come any more

	unknown  crowd
	count    headcount
	compute  chan struct{} // one token for each proof being checked
	sessions registry
	guesses  guesses
	welcomes welcomes
	lookups  *lookups
	flows    flows
	counters Counters

	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup // accept loops and logins

	// Guarded by mu.
	mu        sync.Mutex
	changed   chan struct{} // closed and replaced with each table
	stopping  bool          // Shutdown has begun
	listeners []net.Listener
}

// New makes a Proxy. UsePools must follow before Serve.
func New(o Options) *Proxy {
	ctx, stop := context.WithCancel(context.Background())
	p := &Proxy{
		loops:   o.Loops,
		shards:  make(map[*loop.Loop]*shard),
		keys:    auth.NewKeyCache(keptKeys),
		log:     o.Log,
		console: o.Console,
		flows:   flows{watch: o.Flows},

		forwardTo: o.Forward,

		unknown: crowd{tokens: make(chan struct{}, maxLogins)},
		compute: make(chan struct{}, maxProofs),
		ctx:     ctx,
		stop:    stop,
		changed: make(chan struct{}),
	}
	p.lookups = newLookups(p)
	rand.Read(p.mockSecret[:])
	p.Apply(o.Settings)
	p.count.databases, p.count.users = make(map[string]int), make(map[string]int)
	p.sessions.byID, p.sessions.accounts = make(map[uint32]*session), make(map[account]int)
	p.welcomes.known = make(map[string]*identity)
	for _, l := range o.Loops {
		p.shards[l] = &shard{proxy: p, loop: l, stay: stay{l}, clocks: clocks{notify: o.Settings.QueryWaitNotify}}
	}
	p.table.Store(&route.Table{Reason: "starting"})
	return p
}

// UsePools gives the proxy its pools, whose Options.LoggedIn is p.LoggedIn.
func (p *Proxy) UsePools(pools *pool.Set) { p.pools = pools }

// Apply makes new settings count, for clients that are there as well.
func (p *Proxy) Apply(settings Settings) {
	p.settings.Store(&settings)
	for _, s := range p.shards {
		s.loop.Post(s.follow)
	}
	a := p.authServer(&settings)
	p.auth.Store(a)
	p.mu.Lock()
	defer p.mu.Unlock()
	if asksSCRAM := settings.AuthMethod == auth.SCRAM || settings.HBA != nil; asksSCRAM && !p.draining.Load() {
		p.running.Go(func() { p.warm(a, settings.Users) })
	}
}

// Counters gives the counters, which may be read at any time.
func (p *Proxy) Counters() *Counters { return &p.counters }

// Clients is the number of clients that are logged in or logging in.
func (p *Proxy) Clients() int { return int(p.clients.Load()) }

// SetTable makes a new table known: pools of nodes that have left it are
// retired, and sessions that waited for a node go on. Call it from one
// goroutine; it does not block.
func (p *Proxy) SetTable(t *route.Table) {
	p.table.Store(t)
	p.mu.Lock()
	close(p.changed)
	p.changed = make(chan struct{})
	p.mu.Unlock()
	p.pools.Follow(t)
	p.lookups.follow(t)
	for _, s := range p.shards {
		s.loop.Post(s.unpark)
	}
}

// Table is the table of the last SetTable.
func (p *Proxy) Table() *route.Table { return p.table.Load() }

// tableChange is closed with the next table; take it before reading the table.
func (p *Proxy) tableChange() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// Serve accepts clients from l, for role, until Shutdown. The proxy owns l.
func (p *Proxy) Serve(l net.Listener, role route.Role) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listeners = append(p.listeners, l)
	a := &acceptor{proxy: p, listener: l, role: role}
	a.reserve()
	p.running.Go(a.run)
}

// node chooses where a client of role goes now; nil when there is nowhere to go.
// For reads it takes the next turn.
func (p *Proxy) node(t *route.Table, role route.Role) *route.Node {
	if role == route.Primary {
		return t.Primary
	}
	return t.Reader(p.turn.Add(1)-1, p.readers.on)
}

// shut reports that an operator keeps clients from a node.
func shut(t *route.Table, n *route.Node) bool { return t.Standing(n).Admin != route.Ready }

// nowhere says why a client of role gets no server.
func nowhere(t *route.Table, role route.Role) string {
	switch {
	case t.Primary != nil && t.Standing(t.Primary).Admin != route.Ready && t.Has(role, t.Primary):
		return "the primary is in " + t.Standing(t.Primary).Admin.String() + " by an operator"
	case role == route.Replica && t.Reads == route.ReadsOnPrimary:
		return "no replica is available, and the primary does not let pgvip log in"
	case role == route.Replica && len(t.Replicas) == 0:
		return "no replica is available"
	case role == route.Replica:
		return "no replica lets pgvip log in"
	case t.Primary != nil:
		return "the primary does not let pgvip log in"
	case t.Reason == "":
		return "there is no primary"
	default:
		return "there is no primary: " + t.Reason
	}
}

// leastLoaded is the loop with the fewest clients.
func (p *Proxy) leastLoaded() *loop.Loop {
	best := p.loops[0]
	for _, l := range p.loops[1:] {
		if l.Clients() < best.Clients() {
			best = l
		}
	}
	return best
}
