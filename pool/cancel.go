package pool

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/loop"
)

// cancelGrace is how long Close lets cancel requests under way go on: without
// them, what a stopping pgvip has cut off would run on for nobody.
const cancelGrace = time.Second

// Cancel asks PostgreSQL to cancel what the client has running, and calls done
// on the loop once the request has been delivered. While we set parameters or
// clean up, or when everything has been answered, there is nothing of the
// client's to cancel, and done is called at once. The server is not lent on
// before the request has been delivered.
func (s *Server) Cancel(done func()) {
	switch {
	case s.state == lent && (s.chore == setting || s.chore == resolving):
		// The client's request is on its way behind our own.
		s.cancelNext = append(s.cancelNext, done)
	case s.state != lent || s.chore != noChore || s.Settled() || s.key == nil:
		done()
	case s.cancelling:
		// The one under way may have been for an earlier query.
		s.cancelNext = append(s.cancelNext, done)
	default:
		s.cancelling = true
		s.cancelDone = done
		s.pool.set.sendCancel(s, s.cancelled)
	}
}

// cancelled goes on once a cancel request has been delivered, or has failed. One
// that failed on its way may still arrive, at a PostgreSQL that was frozen, say:
// its client may go on with the server, nobody else.
func (s *Server) cancelled(over bool) {
	s.cancelling = false
	s.suspect = s.suspect || !over
	s.cancelDone()
	s.cancelDone = nil
	next := s.cancelNext
	s.cancelNext = nil
	for _, done := range next {
		s.Cancel(done)
	}
	if !s.cancelling && s.state == resetting && s.chore == noChore {
		s.reset()
	}
}

// dropCancels ends the cancel requests that wait behind the parameters of a client
// which is not going to get the server.
func (s *Server) dropCancels() {
	if s.cancelling {
		return // cancelled goes through them
	}
	next := s.cancelNext
	s.cancelNext = nil
	for _, done := range next {
		done()
	}
}

// sendCancel delivers a cancel request and then calls done, if there is one, on
// the pool's loop, saying whether it is over for certain.
func (t *Set) sendCancel(s *Server, done func(over bool)) {
	if s.key == nil {
		return
	}
	p := s.pool
	p.deliver(s.pid, s.key, s.secure, func(over bool) {
		if done != nil {
			p.loop.Post(func() { done(over) })
		}
	})
}

// deliver sends a cancel request, on a goroutine of its own, and then calls done
// there. The request is over when it has been delivered, and when it was never
// sent because nobody took the connection.
func (p *Pool) deliver(pid uint32, key []byte, secure bool, done func(over bool)) {
	t := p.set
	cfg := &dial.Config{Network: "tcp", Address: p.key.Node.Addr, DialFunc: t.open}
	if secure {
		cfg.TLS = t.settings.Load().TLS
	}
	t.counters.Cancels.Add(1)
	t.background(func(context.Context) {
		ctx, stop := limited(t.cancels, t.settings.Load().CancelWaitTimeout)
		defer stop()
		err := dial.Cancel(ctx, cfg, pid, key)
		if err != nil {
			p.log.Warn("cancel request failed", zap.Error(err), zap.Uint32("pid", pid))
		}
		done(err == nil || unsent(err))
	})
}

// unsent reports that a cancel request has failed before it was sent.
func unsent(err error) bool {
	var e *dial.Error
	return errors.As(err, &e) && e.Op == dial.OpConnect
}

// choreGrace is how long Close lets reset and check queries come to their end.
const choreGrace = 300 * time.Millisecond

// endChores waits for the queries of the configuration that are under way on servers,
// and cancels those that hang: PostgreSQL does not notice that nobody waits for them
// any more. A loop that does not come to it in time keeps nobody.
func (t *Set) endChores() {
	ctx, stop := context.WithTimeout(context.Background(), cancelGrace)
	defer stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(choreGrace); time.Now().Before(end); <-tick.C {
		if t.chores(ctx, func(*Server) {}) == 0 {
			return
		}
	}
	t.chores(ctx, func(s *Server) { t.sendCancel(s, nil) })
}

// chores does something on its loop with each server that has a reset or check query
// to answer, and counts them.
func (t *Set) chores(ctx context.Context, do func(*Server)) int {
	found, _ := loop.Collect(ctx, t.all(everyPool), (*Pool).Loop, func(p *Pool, list []*Server) []*Server {
		for s := range p.servers {
			if (s.chore == cleaning || s.chore == checking) && s.Outstanding() {
				do(s)
				list = append(list, s)
			}
		}
		return list
	})
	return len(found)
}

// limited is ctx with a time limit, of which zero is none.
func limited(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}
