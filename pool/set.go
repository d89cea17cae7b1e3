package pool

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/statement"
	"github.com/pgvip/pgvip/wire"
)

// ErrNotWritable is the failure of a login to the primary that found a node in
// recovery.
var ErrNotWritable = errors.New("node is in recovery")

// errLeft is the failure of a login to a node that is no longer there.
var errLeft = errors.New("node has left")

// maxDials bounds the logins to servers that are under way at one time.
const maxDials = 64

// Counters count for the whole process.
type Counters struct {
	ServerLogins  atomic.Uint64
	LoginFailures atomic.Uint64
	WaitTimeouts  atomic.Uint64
	Cancels       atomic.Uint64
	Desyncs       atomic.Uint64
	ServersWarmed atomic.Uint64 // logged in before their node was the primary, and used after it
	Terminated    atomic.Uint64 // sessions that PostgreSQL ended, with 57P01 or 57P02
	FencedBusy    atomic.Uint64 // servers of a fenced primary that were closed while they had something to do
	DeadSockets   atomic.Uint64 // servers closed because nobody was at the other end any more
	WrongNode     atomic.Uint64 // errors 25006 of a server of the primary that was in recovery: always a bug
	ChoreTimeouts atomic.Uint64 // servers that did not answer a statement of our own in time
}

// Options are what a Set needs of the rest of the program.
type Options struct {
	Settings Settings
	Loops    []*loop.Loop
	Log      *zap.Logger
	// Observe is told what each login teaches about its node; it must not
	// block. May be nil.
	Observe func(route.Observation)
	// LoggedIn is told what a server reports after a login with neutral
	// parameters; it must not block or keep params. May be nil.
	LoggedIn func(key Key, role route.Role, params []wire.Param)
	// Dial opens the connections to servers; nil means a plain net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Set holds all pools, and what they share: credentials, dial slots, counters.
type Set struct {
	// Immutable after NewSet.
	loops    []*loop.Loop
	log      *zap.Logger
	observer func(route.Observation)
	news     func(Key, route.Role, []wire.Param)
	open     func(ctx context.Context, network, address string) (net.Conn, error)
	slots    chan struct{} // one token for each login under way
	berths   berths        // and for each of one node
	doubts   doubts
	keys     *auth.KeyCache
	ctx      context.Context // ends with Close
	stop     context.CancelFunc
	cancels  context.Context // of cancel requests; ends a little later
	stopLast context.CancelFunc
	running  sync.WaitGroup

	settings atomic.Pointer[Settings]
	counters Counters
	ledger   *ledger
	lastID   atomic.Uint64 // of a server

	// Guarded by mu.
	mu          sync.Mutex
	pools       map[Key]*Pool
	private     map[*Pool]struct{} // pools of one client each
	pending     map[warmKey]*Pool  // pools that nobody can ask for yet
	perLoop     map[*loop.Loop]int
	statements  map[*loop.Loop]*statement.Store // each belongs to its loop
	credentials map[string]auth.Credential      // by user
	table       *route.Table                    // of the last Follow; nil before the first
	closed      bool
	gates       gates
	crushes     map[string]*crush  // by node name
	every       map[*Pool]struct{} // those above, and those that have ended and still count
	past        map[Place]*Totals  // of those that do not count any more
}

// NewSet makes an empty set of pools.
func NewSet(o Options) *Set {
	ctx, stop := context.WithCancel(context.Background())
	cancels, stopLast := context.WithCancel(context.Background())
	t := &Set{
		loops:       o.Loops,
		log:         o.Log,
		observer:    o.Observe,
		news:        o.LoggedIn,
		open:        o.Dial,
		slots:       make(chan struct{}, maxDials),
		keys:        auth.NewKeyCache(1024),
		ctx:         ctx,
		stop:        stop,
		cancels:     cancels,
		stopLast:    stopLast,
		ledger:      newLedger(),
		pools:       make(map[Key]*Pool),
		private:     make(map[*Pool]struct{}),
		pending:     make(map[warmKey]*Pool),
		crushes:     make(map[string]*crush),
		perLoop:     make(map[*loop.Loop]int),
		statements:  make(map[*loop.Loop]*statement.Store),
		credentials: make(map[string]auth.Credential),
		gates:       gates{paused: make(map[string]bool), disabled: make(map[string]bool)},
		every:       make(map[*Pool]struct{}),
		past:        make(map[Place]*Totals),
	}
	for _, l := range o.Loops {
		t.statements[l] = statement.NewStore()
	}
	t.settings.Store(&o.Settings)
	return t
}

// Apply makes new settings count. Servers that are connected are kept, unless
// new ones would be different: then they go as they become free.
func (t *Set) Apply(settings Settings) {
	t.settings.Store(&settings)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dropPending()
	for _, p := range t.pools {
		r := settings.rules(p.key)
		t.ledger.bound(p.account, r.MaxUserConnections, r.MaxDBConnections)
		p.loop.Post(func() { p.apply(r) })
	}
}

// apply makes new rules count for what the pool does from now on.
func (p *Pool) apply(r Rules) {
	if !p.rules.sameServers(&r) {
		defer p.reconnect()
	}
	p.rules = r
	p.waitTime.Stop()
	p.armQueueTimer()
	p.sweeper.Stop()
	p.armSweeper()
	p.reserve.Stop()
	for len(p.idle) > 0 && p.over() {
		p.idle[0].terminate("the pool's size was lowered")
	}
	p.fill()
}

// Close gives up logins under way, and after a second cancel requests, and waits
// for both. Reset and check queries that hang are cancelled, for which the loops must
// run still. The servers themselves go with their loops.
func (t *Set) Close() {
	t.endChores()
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.stop()
	grace := time.AfterFunc(cancelGrace, t.stopLast)
	t.running.Wait()
	grace.Stop()
	t.stopLast()
}

// Counters gives the counters, which may be read at any time.
func (t *Set) Counters() *Counters { return &t.counters }

// SetCredential tells what to log in with as user; the last word counts, but
// what opens nothing replaces nothing that may: a client that came in by trust
// must not take the keys away that another one has brought.
func (t *Set) SetCredential(user string, c auth.Credential) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c.Opens() || !t.credentials[user].Opens() {
		t.credentials[user] = c
	}
}

func (t *Set) credential(user string) auth.Credential {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.credentials[user]
}

// Pool returns the pool for key, on the loop that has the fewest if it is new.
// Any goroutine may ask; the pool itself belongs to its loop.
func (t *Set) Pool(key Key, role route.Role) *Pool {
	t.mu.Lock()
	defer t.mu.Unlock()
	home := t.loops[0]
	for _, l := range t.loops[1:] {
		if t.perLoop[l] < t.perLoop[home] {
			home = l
		}
	}
	return t.poolOn(key, role, home)
}

// poolOn returns the pool for key, on the given loop if it is new. The caller
// holds mu.
func (t *Set) poolOn(key Key, role route.Role, home *loop.Loop) *Pool {
	if p := t.pools[key]; p != nil {
		return p
	}
	if t.left(key.Node) {
		return t.newPool(key, role, home)
	}
	t.perLoop[home]++
	p := t.newPool(key, role, home)
	t.pools[key] = p
	t.register(p)
	p.loop.Post(p.armDisuse)
	return p
}

// Private makes a pool for one client on its loop: what the client asked for in
// its startup packet can only be given to a server when it starts, so the
// server logs in with params and is never used again.
func (t *Set) Private(key Key, role route.Role, home *loop.Loop, params []wire.Param) *Pool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.newPool(key, role, home)
	t.keep(p, params)
	return p
}

// keep makes p a private pool. The caller holds mu.
func (t *Set) keep(p *Pool, params []wire.Param) {
	p.params = params
	p.rules.PoolSize, p.rules.ReservePoolSize = 1, 0
	t.private[p] = struct{}{}
	t.register(p)
}

// left reports that the node's life has ended: whoever asks for a pool of it has
// read the table just before it changed, and is to choose again.
func (t *Set) left(node *route.Node) bool {
	return t.table != nil && t.table.Lookup(node.Name) != node
}

// newPool makes a pool, which is retired from the beginning if its node has left.
func (t *Set) newPool(key Key, role route.Role, home *loop.Loop) *Pool {
	return t.newPoolIn(t.ledger, key, role, home)
}

func (t *Set) newPoolIn(ledger *ledger, key Key, role route.Role, home *loop.Loop) *Pool {
	role = roleOn(key.Node, role)
	p := &Pool{
		set:     t,
		ledger:  ledger,
		loop:    home,
		key:     key,
		role:    role,
		rules:   t.settings.Load().rules(key),
		servers: make(map[*Server]struct{}),

		statements: t.statements[home],

		log: t.log.With(zap.String("server", key.Node.String()), zap.Stringer("role", role),
			zap.String("db", key.Database), zap.String("user", key.User)),
	}
	p.fenced, p.fence = context.WithCancel(context.Background())
	p.queue.crush = t.crushOf(key.Node)
	if t.left(key.Node) {
		p.retired = true
		p.gone.Store(true)
	} else {
		p.openAccount()
		t.holdFrom(p)
		p.stand(t.table)
		p.admin, p.maxQueue = p.told.admin, p.told.maxQueue // what is posted comes after the first client
	}
	return p
}

// roleOn is what a pool of a node is for. Reads that go to the primary for lack of
// replicas share its pools and its fences.
func roleOn(n *route.Node, role route.Role) route.Role {
	if n.Leads {
		return route.Primary
	}
	return role
}

// drop forgets a private pool whose client is gone.
func (t *Set) drop(p *Pool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.private, p)
}

// forget lets the next who asks for its key have a new pool.
func (t *Set) forget(p *Pool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pools[p.key] == p {
		delete(t.pools, p.key)
		t.perLoop[p.loop]--
	}
}

// Follow makes the pools agree with a new table. Where a node's life has ended,
// its pools are retired: at once and with everything they have lent if it was
// the primary, else as the loans end. Where a node only has no new work to get
// for the time being, those who wait choose again.
func (t *Set) Follow(table *route.Table) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.hold(route.Primary)
	t.table = table
	t.boundNodes(table)
	for key, p := range t.pools {
		if !p.follow(table) {
			delete(t.pools, key)
			t.perLoop[p.loop]--
		}
	}
	for p := range t.private {
		if !p.follow(table) {
			delete(t.private, p)
		}
	}
	if table.Hold != before {
		t.followHold(table.Hold)
	}
	t.followPending(table)
}

// followHold makes an announcement known, or its end. The caller holds mu.
func (t *Set) followHold(h *route.Hold) {
	for p := range t.every {
		if p.role == route.Primary && !p.replication {
			p.loop.Post(func() { p.followHold(h) })
		}
	}
	if h != nil {
		t.warmUp(h)
	}
}

// follow reports whether the pool goes on.
func (p *Pool) follow(table *route.Table) bool {
	node := p.key.Node
	if table.Lookup(node.Name) != node {
		p.loop.Post(func() { p.Retire(p.role == route.Primary || p.replication) })
		return false
	}
	p.stand(table)
	if !table.Has(p.role, node) {
		p.loop.Post(p.Reroute)
	}
	return true
}

// background runs f on a goroutine that Close waits for. It returns false when
// Close has begun.
func (t *Set) background(f func(context.Context)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.running.Go(func() { f(t.ctx) })
	}
	return !t.closed
}
