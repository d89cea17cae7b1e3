package dcs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// follower follows the keys through one member of etcd at a time.
type follower struct {
	// Immutable.
	etcd  *Etcd
	place int           // in the ring
	tell  func(finding) // hands over what it has found

	// Owned by run.
	keys     keyspace // our copy
	lastRead read     // last one that answered, without its keys
}

// finding is what a follower has found: its keys as of a revision, or trouble.
type finding struct {
	place    int
	heard    time.Time // when it was found
	cluster  uint64
	revision int64
	keys     []KV
	events   int       // that led to it; 0 when it was read
	at       time.Time // when the read behind it was sent; zero for events
	err      error     // trouble, and nothing of the above
}

func (f *follower) endpoint() string { return f.etcd.ring.at(f.place) }

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := f.session(ctx)
		if ctx.Err() != nil {
			return
		}
		f.trouble(err)
		f.etcd.ring.next(f.place)
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

// trouble reports why there is no news from here.
func (f *follower) trouble(err error) {
	f.etcd.count(func(s *Stats) {
		s.LastErr, s.LastErrAt = err.Error(), time.Now()
		s.Following[f.place].Err = s.LastErr
	})
	f.tell(finding{place: f.place, heard: time.Now(), err: err})
}

// publish hands over the keys as they are now.
func (f *follower) publish(at time.Time, events int) {
	f.tell(finding{
		place: f.place, heard: time.Now(), cluster: f.keys.cluster, revision: f.keys.revision,
		keys: f.keys.list(), at: at, events: events,
	})
}

// session serves from one client on one endpoint until it is of no more use.
// A client with several endpoints would spread its reads over all of them but
// keep its watch on one: reads would prove nothing about the watch.
func (f *follower) session(ctx context.Context) error {
	endpoint := f.endpoint()
	f.etcd.count(func(s *Stats) { s.Connects++; s.Following[f.place] = Following{Endpoint: endpoint} })
	client, err := f.client(ctx, endpoint)
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
		err := f.follow(ctx, client)
		if !errors.Is(err, errWatch) || ctx.Err() != nil {
			return err
		}
		f.trouble(err)
		pause(ctx, backoffMin+rand.N(backoffMax-backoffMin))
	}
}

func (f *follower) client(ctx context.Context, endpoint string) (*clientv3.Client, error) {
	cfg := &f.etcd.cfg
	var conf *tls.Config
	if cfg.TLS != nil {
		conf = cfg.TLS()
	}
	options := []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
		// The default reaches two minutes, which etcd's return must not wait for.
		Backoff:           backoff.Config{BaseDelay: backoffMin, Multiplier: 1.6, Jitter: 0.2, MaxDelay: backoffMax},
		MinConnectTimeout: readTimeout,
	})}
	if cfg.Dial != nil {
		options = append(options, grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return cfg.Dial(ctx, "tcp", address)
		}))
	}
	return clientv3.New(clientv3.Config{
		Endpoints: []string{endpoint},
		Context:   ctx,
		Username:  cfg.Username,
		Password:  cfg.Password,
		TLS:       conf,
		// With a user, New asks for a token and waits this long.
		DialTimeout: readTimeout,
		// gRPC's own limits: below 10 s it pings each 10 s. The reads are faster.
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		MaxUnaryRetries:      1,
		// The client's log would tell at length what trouble tells in a line.
		Logger:      zap.NewNop(),
		DialOptions: options,
	})
}
