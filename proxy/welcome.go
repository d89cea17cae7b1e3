package proxy

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

const (
	// welcomeRetry is the pause between two attempts to learn a welcome set
	// while no server can be logged in.
	welcomeRetry = 100 * time.Millisecond

	// maxIdentities bounds the cache: parameters are the clients' to choose.
	maxIdentities = 4096
)

// identity is what all clients share that ask for the same database, server user
// and parameters. Sessions point to it, so that an idle client costs little.
type identity struct {
	database string
	user     string // whom servers log in as
	settings []wire.Param
	backend  []wire.Param // see request.backend

	mu      sync.Mutex
	welcome [2]*welcomeSet // by role; guarded by mu
	asking  [2]chan struct{}
}

// welcomeSet is what PostgreSQL reports at login: the ParameterStatus messages.
type welcomeSet struct {
	node   *route.Node // that reported it
	origin *pool.Origin
}

// append adds the set as a client with this application_name is told it.
func (w *welcomeSet) append(b []byte, appName string) []byte {
	return appendStatuses(b, w.origin.Welcome, appName)
}

func appendStatuses(b []byte, params []wire.Param, appName string) []byte {
	for _, p := range params {
		if p.Name == "application_name" && appName != "" {
			p.Value = appName
		}
		b = wire.AppendParameterStatus(b, p)
	}
	return b
}

// welcomes caches what PostgreSQL says to each kind of client at login, so that
// a login needs no server (rule 4).
type welcomes struct {
	mu    sync.Mutex
	known map[string]*identity // by request.key; guarded by mu
}

func (w *welcomes) identity(r *request) *identity {
	key := r.key()
	w.mu.Lock()
	defer w.mu.Unlock()
	who := w.known[key]
	if who == nil {
		for victim := range w.known {
			if len(w.known) < maxIdentities {
				break
			}
			delete(w.known, victim) // sessions that have it keep it
		}
		who = &identity{database: r.database, user: r.serverUser(), settings: r.settings, backend: r.backend}
		w.known[key] = who
	}
	return who
}

func index(role route.Role) int {
	if role == route.Primary {
		return 0
	}
	return 1
}

// known returns the welcome set for role while it is valid: reported by a node
// that still has the role, or by any while there is none to ask.
func (i *identity) known(role route.Role, t *route.Table) *welcomeSet {
	i.mu.Lock()
	defer i.mu.Unlock()
	set := i.welcome[index(role)]
	if set == nil || t.Has(role, set.node) {
		return set
	}
	if role == route.Primary && t.Primary == nil || role == route.Replica && len(t.Replicas) == 0 {
		return set
	}
	return nil
}

func (i *identity) learn(role route.Role, node *route.Node, params []wire.Param) {
	i.mu.Lock()
	defer i.mu.Unlock()
	// One origin for all who are told the same: their servers need no change.
	for _, set := range i.welcome {
		if set != nil && slices.Equal(set.origin.Welcome, params) {
			i.welcome[index(role)] = &welcomeSet{node: node, origin: set.origin}
			return
		}
	}
	origin := &pool.Origin{Welcome: slices.Clone(params)}
	if i.backend == nil {
		origin.Startup = i.settings // else its server logs in with them
	}
	i.welcome[index(role)] = &welcomeSet{node: node, origin: origin}
}

// LoggedIn is for pool.Options: each login of a neutral server refreshes the
// welcome of its database and user.
func (p *Proxy) LoggedIn(key pool.Key, role route.Role, params []wire.Param) {
	p.welcomes.identity(&request{database: key.Database, user: key.User}).learn(role, key.Node, params)
}

// welcome gives what to tell a client at login. When that is not known, one
// server is logged in with the client's own parameters: its answer is exactly
// what PostgreSQL says to such a client, and so is its error.
func (p *Proxy) welcome(ctx context.Context, role route.Role, r *request) (*identity, *welcomeSet, error) {
	who := p.welcomes.identity(r)
	wait := p.newWait(role, r.database)
	defer wait.end()
	for {
		changed := p.tableChange()
		table := p.table.Load()
		if set := who.known(role, table); set != nil {
			return who, set, nil
		}
		asked, err := p.ask(ctx, who, role, table)
		if err != nil {
			return nil, nil, err
		}
		if asked {
			continue
		}
		if err := wait.next(ctx, changed); err != nil {
			return nil, nil, err
		}
	}
}

// wait is a login's wait for a server that can be logged in to.
type wait struct {
	proxy    *Proxy
	role     route.Role
	database string
	limit    <-chan time.Time // nil without a limit
	counted  bool
}

func (p *Proxy) newWait(role route.Role, database string) *wait {
	w := &wait{proxy: p, role: role, database: database}
	if d := p.settings.Load().FailoverWaitTimeout; d > 0 {
		w.limit = time.After(d)
	}
	return w
}

// obstacle says what the login waits for.
func (w *wait) obstacle() string {
	if w.proxy.pools.Paused(w.database) {
		return "database \"" + w.database + "\" is paused"
	}
	return nowhere(w.proxy.table.Load(), w.role)
}

// begin counts the login among those who wait, unless there are too many.
func (w *wait) begin() *wire.Error {
	if w.counted {
		return nil
	}
	if err := w.proxy.mayWait(w.role); err != nil {
		return err
	}
	w.counted = true
	w.proxy.counters.LoginsParked.Add(1)
	return nil
}

// end ends begin.
func (w *wait) end() {
	if w.counted {
		w.proxy.counters.LoginsParked.Add(-1)
	}
}

// next waits until it is time to try again: after a pause, or when the table has
// changed. The error says that it will not come to that.
func (w *wait) next(ctx context.Context, changed <-chan struct{}) error {
	if err := w.begin(); err != nil {
		return err
	}
	pause := time.NewTimer(welcomeRetry)
	defer pause.Stop()
	select {
	case <-pause.C:
		return nil
	case <-changed:
		return nil
	case <-w.limit:
		return wire.Fatal(wire.CodeCannotConnectNow, w.obstacle(), "The limit is failover_wait_timeout of pgvip.")
	case <-ctx.Done():
		return wire.Fatal(wire.CodeCannotConnectNow, w.obstacle(), "The limit is client_login_timeout of pgvip.")
	}
}

// ask logs one server in, or waits while another client does. It returns false
// when that has to be tried again later, and an error when trying is no use.
func (p *Proxy) ask(ctx context.Context, who *identity, role route.Role, t *route.Table) (bool, error) {
	node := p.node(t, role)
	if node == nil || shut(t, node) || p.pools.Paused(who.database) {
		return false, nil
	}
	turn, mine := who.enter(role)
	if !mine {
		select {
		case <-turn:
			return true, nil
		case <-ctx.Done():
			return false, nil
		}
	}
	defer who.leave(role)
	key := pool.Key{Node: node, Database: who.database, User: who.user}
	params := who.backend
	if params == nil {
		params = who.settings
	}
	conn, err := p.pools.Login(ctx, key, role, params)
	if err != nil {
		if refused := pool.Refusal(err); refused != nil {
			return false, refused
		}
		return false, nil
	}
	who.learn(role, node, conn.Parameters())
	if len(params) > 0 {
		conn.Close()
		return true, nil
	}
	home := p.pools.Pool(key, role)
	if err := home.Loop().Post(func() { home.Offer(conn) }); err != nil {
		conn.Close()
	}
	return true, nil
}

// enter takes the turn to ask, or returns a channel closed when whoever has it
// is done.
func (i *identity) enter(role route.Role) (turn <-chan struct{}, mine bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if c := i.asking[index(role)]; c != nil {
		return c, false
	}
	i.asking[index(role)] = make(chan struct{})
	return nil, true
}

func (i *identity) leave(role route.Role) {
	i.mu.Lock()
	defer i.mu.Unlock()
	close(i.asking[index(role)])
	i.asking[index(role)] = nil
}
