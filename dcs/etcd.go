package dcs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

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

	// Override gives another address for a member, by its name or by the
	// address in its conn_url, where there is NAT between here and there.
	Override map[string]string
}

// Etcd is a Source that reads etcd v3. Use NewEtcd.
type Etcd struct {
	// Immutable after NewEtcd.
	cfg    EtcdConfig
	prefix string

	// Owned by Run.
	endpoint int            // index in cfg.Endpoints
	keys     keyspace       // our copy
	last     Snapshot       // decoded from keys
	lastRead read           // last one that answered, without its keys
	news     func(Snapshot) // the caller's

	mu    sync.Mutex
	stats Stats // guarded by mu
}

// NewEtcd makes a source; nothing is dialed before Run.
func NewEtcd(cfg EtcdConfig) (*Etcd, error) {
	switch {
	case len(cfg.Endpoints) == 0:
		return nil, errors.New("etcd: no endpoints")
	case cfg.Scope == "":
		return nil, errors.New("etcd: no scope")
	}
	return &Etcd{cfg: cfg, prefix: Prefix(cfg.Namespace, cfg.Scope, cfg.Group)}, nil
}

// Stats gives a copy of the counters.
func (e *Etcd) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stats
}

// Run follows the keys until ctx ends.
func (e *Etcd) Run(ctx context.Context, news func(Snapshot)) {
	e.news = news
	// Balancers of one site must not all begin with the same etcd member.
	e.endpoint = rand.IntN(len(e.cfg.Endpoints))
	for ctx.Err() == nil {
		err := e.session(ctx)
		if ctx.Err() != nil {
			return
		}
		e.trouble(err)
		e.endpoint = (e.endpoint + 1) % len(e.cfg.Endpoints)
		pause(ctx, backoffMin+rand.N(backoffMax-backoffMin))
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// trouble reports why there is no news; the last good state stays.
func (e *Etcd) trouble(err error) {
	e.mu.Lock()
	e.stats.LastErr, e.stats.LastErrAt = err.Error(), time.Now()
	e.mu.Unlock()
	s := e.last
	s.Err = err
	e.news(s)
}

func (e *Etcd) count(f func(*Stats)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.stats)
}

// session serves from one client on one endpoint until it is of no more use.
// A client with several endpoints would spread its reads over all of them but
// keep its watch on one: reads would prove nothing about the watch.
func (e *Etcd) session(ctx context.Context) error {
	endpoint := e.cfg.Endpoints[e.endpoint]
	e.count(func(s *Stats) { s.Connects++; s.Endpoint = endpoint })
	client, err := e.client(ctx, endpoint)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no connection within %v: %w", readTimeout, err)
	}
	if err != nil {
		return fmt.Errorf("etcd %s: %w", endpoint, err)
	}
	defer func() { _ = client.Close() }() // it only says that its context ended
	// A watch that ended is started again on the same client: its endpoint
	// answers, for the resync before it reads from there.
	for {
		err := e.follow(ctx, client)
		if !errors.Is(err, errWatch) || ctx.Err() != nil {
			return err
		}
		e.trouble(err)
		pause(ctx, backoffMin+rand.N(backoffMax-backoffMin))
	}
}

func (e *Etcd) client(ctx context.Context, endpoint string) (*clientv3.Client, error) {
	var conf *tls.Config
	if e.cfg.TLS != nil {
		conf = e.cfg.TLS()
	}
	return clientv3.New(clientv3.Config{
		Endpoints: []string{endpoint},
		Context:   ctx,
		Username:  e.cfg.Username,
		Password:  e.cfg.Password,
		TLS:       conf,
		// With a user, New asks for a token and waits this long.
		DialTimeout: readTimeout,
		// gRPC's own limits: below 10 s it pings each 10 s. The reads are faster.
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		MaxUnaryRetries:      1,
		// The client's log would tell at length what trouble tells in a line.
		Logger: zap.NewNop(),
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			// The default reaches two minutes, which etcd's return must not wait for.
			Backoff:           backoff.Config{BaseDelay: backoffMin, Multiplier: 1.6, Jitter: 0.2, MaxDelay: backoffMax},
			MinConnectTimeout: readTimeout,
		})},
	})
}

// publish decodes the keys as they are now and hands them over.
func (e *Etcd) publish(at time.Time) {
	topo, faults := Decode(e.prefix, e.keys.list())
	topo.Revision, topo.ClusterID = e.keys.revision, e.keys.cluster
	for i := range topo.Members {
		override(&topo.Members[i], e.cfg.Override)
	}
	e.last = Snapshot{Topology: topo, Faults: faults, At: at}
	e.count(func(s *Stats) { s.Revision, s.FaultyKeys = topo.Revision, len(faults) })
	e.news(e.last)
}

func override(m *route.Member, with map[string]string) {
	if addr, ok := with[m.Name]; ok {
		m.Addr = addr
	} else if addr, ok := with[m.Addr]; ok {
		m.Addr = addr
	}
}
