package dcs

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/pgvip/pgvip/route"
)

// Times that no operator should have to choose.
const (
	// readEvery is the anti-entropy interval: a leader key is written once and
	// then only its lease is refreshed, which makes no events, so one lost event
	// would be believed for ever (ha.md 2.1 rule 5).
	readEvery = time.Second
	// readTimeout bounds each read. Two missed ones mean another endpoint.
	readTimeout = time.Second
	maxMissed   = 2
	// Back-off between sessions, jittered between the two.
	backoffMin = 50 * time.Millisecond
	backoffMax = 500 * time.Millisecond
)

// EtcdConfig says where Patroni's keys are. Endpoints, Namespace and Scope are
// required.
type EtcdConfig struct {
	Endpoints []string // host:port or URL; tried in turn
	Namespace string   // Patroni's, default there: service
	Scope     string
	Group     string // Citus group, empty without Citus
	Username  string // empty: no authentication
	Password  string
	// TLS gives what is used from the next connection on, so that certificates may
	// be replaced; it gives nil for http, and so does a nil func.
	TLS func() *tls.Config
	// Dial opens the connections; nil leaves it to gRPC.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Override gives another address for a member, by its name or by the
	// address in its conn_url, where there is NAT between here and there.
	Override map[string]string
}

// Etcd is a Source that reads etcd v3. Use NewEtcd.
//
// It follows the keys through two members at the same time, where there are two:
// the first to tell of a revision is believed, so that one that hangs, which
// takes seconds to notice, costs nothing.
type Etcd struct {
	// Immutable after NewEtcd.
	cfg    EtcdConfig
	prefix string

	ring endpoints // has its own lock

	// Owned by Run.
	store store
	news  func(Snapshot) // the caller's

	mu    sync.Mutex
	stats Stats // guarded by mu
}

// maxFollowers is how many members are followed: one to hang, one to go on.
const maxFollowers = 2

// NewEtcd makes a source; nothing is dialed before Run.
func NewEtcd(cfg EtcdConfig) (*Etcd, error) {
	switch {
	case len(cfg.Endpoints) == 0:
		return nil, errors.New("etcd: no endpoints")
	case cfg.Scope == "":
		return nil, errors.New("etcd: no scope")
	}
	e := &Etcd{cfg: cfg, prefix: Prefix(cfg.Namespace, cfg.Scope, cfg.Group)}
	e.ring.all = cfg.Endpoints
	return e, nil
}

// Stats gives a copy of the counters.
func (e *Etcd) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	stats := e.stats
	stats.Following = slices.Clone(stats.Following)
	return stats
}

// Run follows the keys until ctx ends.
func (e *Etcd) Run(ctx context.Context, news func(Snapshot)) {
	e.news = news
	followers := min(maxFollowers, len(e.cfg.Endpoints))
	e.store.followers = make([]standing, followers)
	e.count(func(s *Stats) { s.Following = make([]Following, followers) })
	// Balancers of one site must not all begin with the same etcd member.
	e.ring.begin(followers, rand.IntN(len(e.cfg.Endpoints)))
	found := make(chan finding) // never closed: its senders end with ctx
	tell := func(f finding) {
		select {
		case found <- f:
		case <-ctx.Done():
		}
	}
	var running sync.WaitGroup
	defer running.Wait()
	for i := range followers {
		f := &follower{etcd: e, place: i, tell: tell}
		running.Go(func() { f.run(ctx) })
	}
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-found:
			e.merge(f)
		}
	}
}

func (e *Etcd) count(f func(*Stats)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.stats)
}

func override(m *route.Member, with map[string]string) {
	if addr, ok := with[m.Name]; ok {
		m.Addr = addr
	} else if addr, ok := with[m.Addr]; ok {
		m.Addr = addr
	}
}
