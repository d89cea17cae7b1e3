package arbiter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/pgvip/pgvip/tlsconf"
	"github.com/pgvip/pgvip/vrrp/owner"
)

const (
	// confirmEvery is how often a link reads on its own account: it shows that
	// the member answers, and that its watch has not fallen silent.
	confirmEvery = time.Second
	// maxMissed requests in a row without an answer mean another member.
	maxMissed = 2
	// Pauses between two attempts, jittered between the two.
	backoffMin = 50 * time.Millisecond
	backoffMax = 250 * time.Millisecond
)

var (
	errSilent = errors.New("the watch was silent about a change")
	errClosed = errors.New("the watch ended")
)

// link is a client at one member of etcd at a time.
type link struct {
	arbiter *Arbiter

	// Guarded by the arbiter's mu.
	at      int              // index of the endpoint
	client  *clientv3.Client // nil while there is none that works
	end     func()           // ends the client's session
	missed  int              // requests in a row without an answer in time
	heard   time.Duration    // when the last request was sent that was answered
	trouble bool             // told, and not over

	// Owned by run.
	tls *tls.Config // as last read
}

// run serves one session after the other until ctx ends.
func (l *link) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := l.session(ctx)
		if ctx.Err() != nil {
			return
		}
		l.failed(err)
		pause := time.NewTimer(backoffMin + rand.N(backoffMax-backoffMin))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// failed tells once of a trouble, and goes on to another member.
func (l *link) failed(err error) {
	a := l.arbiter
	a.mu.Lock()
	endpoint := a.opt.Etcd.Endpoints[l.at]
	a.nextLocked(l)
	told := l.trouble
	l.trouble = true
	a.mu.Unlock()
	if !told {
		a.opt.Deliver(Event{Kind: Trouble, Reply: owner.Reply{Err: fmt.Errorf("etcd %s: %w", endpoint, err)}})
	}
}

// session uses one client until it is of no more use.
func (l *link) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := l.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }() // it only says that its context ended
	l.open(client, cancel)
	defer l.close()
	first, err := l.read(ctx, client)
	if err != nil {
		return err
	}
	l.works()
	l.arbiter.opt.Deliver(watched(first))
	return l.watch(ctx, cancel, client, first)
}

// open lets requests use a client. It has not answered yet and comes after one that
// has, but where there is no other they need not wait until it has.
func (l *link) open(client *clientv3.Client, end func()) {
	a := l.arbiter
	a.mu.Lock()
	defer a.mu.Unlock()
	l.client, l.end, l.missed = client, end, 1
	close(a.changed)
	a.changed = make(chan struct{})
}

// works notes that a trouble is over.
func (l *link) works() {
	l.arbiter.mu.Lock()
	defer l.arbiter.mu.Unlock()
	l.trouble = false
}

func (l *link) close() {
	a := l.arbiter
	a.mu.Lock()
	defer a.mu.Unlock()
	l.client, l.end = nil, nil
}

// answered notes how a request over a client ended.
func (l *link) answered(client *clientv3.Client, sent time.Duration, err error) {
	a := l.arbiter
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case l.client != client: // it has been given up meanwhile
	case err == nil:
		l.missed, l.heard = 0, max(l.heard, sent)
	case errors.Is(err, context.Canceled): // the other link was faster, or the end has come
	default:
		if l.missed++; l.missed >= maxMissed {
			l.end()
		}
	}
}

// read asks for the keys on the link's own account.
func (l *link) read(ctx context.Context, client *clientv3.Client) (owner.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	answer := use{l, client}.ask(ctx, reading)
	return answer.Snapshot, answer.Err
}

func (l *link) dial(ctx context.Context) (*clientv3.Client, error) {
	a := l.arbiter
	a.mu.Lock()
	endpoint := a.opt.Etcd.Endpoints[l.at]
	a.mu.Unlock()
	if err := l.readTLS(); err != nil {
		return nil, err
	}
	return clientv3.New(clientv3.Config{
		Endpoints: []string{endpoint},
		Context:   ctx,
		Username:  a.opt.Etcd.Username,
		Password:  a.opt.Etcd.Password,
		TLS:       l.tls,
		// With a user, New asks for a token and waits this long.
		DialTimeout: 2 * Timeout,
		// gRPC's own limits: below 10 s it pings each 10 s. The reads are faster.
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 3 * time.Second,
		MaxUnaryRetries:      1,
		Logger:               zap.NewNop(), // Trouble tells it in a line
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			// The default reaches two minutes, which etcd's return must not wait for.
			Backoff:           backoff.Config{BaseDelay: backoffMin, Multiplier: 1.6, Jitter: 0.2, MaxDelay: backoffMax},
			MinConnectTimeout: Timeout,
		})},
	})
}

// readTLS reads the files anew, so that certificates may be replaced. Those that
// cannot be read any more, for the keeper has given up its privileges or they are
// being replaced right now, are used as they were.
func (l *link) readTLS() error {
	e := &l.arbiter.opt.Etcd
	if !e.TLS {
		return nil
	}
	conf, err := tlsconf.Client(tlsconf.Options{Mode: tlsconf.VerifyFull, CAFile: e.CACert, CertFile: e.Cert, KeyFile: e.Key})
	switch {
	case err == nil:
		conf.ServerName = e.ServerName
		l.tls = conf
	case l.tls == nil:
		return err
	}
	return nil
}
