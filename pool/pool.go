package pool

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/statement"
	"github.com/pgvip/pgvip/wire"
)

// Key names a pool.
type Key struct {
	Node     *route.Node
	Database string // as clients call it
	User     string
}

// Pool lends the servers of one node, database and user. Its methods are for
// code on its loop.
type Pool struct {
	// Immutable after creation.
	set    *Set
	loop   *loop.Loop
	key    Key
	role   route.Role
	params []wire.Param // of a private pool: its server logs in with them, and serves once
	log    *zap.Logger
	// ledger is the Set's, or one of its own where limits do not count.
	ledger *ledger
	// replication says that the pool is for one client of the replication
	// protocol, see Set.Replication.
	replication bool
	// account is nil in a pool that was retired from its beginning.
	account *account
	// fenced ends the logins that are under way; fence ends it.
	fenced context.Context
	fence  context.CancelFunc

	// Atomic.
	clients atomic.Int64 // that will come here for their servers
	gone    atomic.Bool  // as retired, for those on other goroutines

	// Guarded by the Set's mu.
	told standing // what the loop has been told, or is about to be

	// Owned by the loop.
	statements *statement.Store // the loop's
	scratch    []byte           // for one request to a server
	gathered   []byte           // for one answer to a client
	rules      Rules
	claims     claims
	idle       []*Server // in the order of their last use
	servers    map[*Server]struct{}
	queue      queue
	spare      *Waiter // recycled waiters, linked by next
	dialing    int
	arriving   int              // servers of a pending pool that are about to be this one's
	trouble    bool             // the last login failed
	retry      *loop.Timer      // running while logins are being held back
	sweeper    *loop.Timer      // for the idle server that expires next
	sparing    bool             // sweeper does not count server_idle_timeout
	waitTime   *loop.Timer      // for the oldest waiter
	reserve    *loop.Timer      // for the oldest waiter's right to the reserve
	yieldAt    *loop.Timer      // when an idle server may be given up
	disuse     *loop.Timer      // ends the pool
	holdEnd    *loop.Timer      // ends held
	leaving    int              // servers that were told goodbye and are not closed yet
	retired    bool             // the node is no longer a place to go
	paused     bool             // an operator's wish
	held       bool             // a switchover is announced
	admin      route.AdminState // an operator's wish about the node
	maxQueue   int              // waiters that the node may have; 0 is no limit
	pending    bool             // see warm.go
	wanted     int              // servers, of a pending pool
	heir       *Pool            // of a pending pool that has come to its end
	tally      tally
	// generation counts the reconnects: a login begun before one is out of date.
	generation int
}

// Loop is the loop that the pool and all who borrow from it live on.
func (p *Pool) Loop() *loop.Loop { return p.loop }

// Serves reports that node is the pool's, and still a place to go.
func (p *Pool) Serves(node *route.Node) bool { return p.key.Node == node && !p.retired }

// Key names the pool.
func (p *Pool) Key() Key { return p.key }

// Acquire lends a server to b. When one is at hand and fit, Lent is called
// before Acquire returns, and the result is nil. Else the result is b's place
// in the queue or its claim to the server that is being prepared.
func (p *Pool) Acquire(b Borrower) *Waiter {
	w := p.waiter(b)
	if p.retired {
		p.queue.push(w)
		p.loop.Post(p.Reroute)
		return w
	}
	if s := p.takeIdle(); s != nil {
		if lent := s.prepare(w); lent {
			return nil
		}
		return w
	}
	p.queue.push(w)
	p.armQueueTimer()
	p.fill()
	p.turnAway(w)
	return w
}

// Release takes back a server whose client has ended its session or is Done with
// it. Replies that are still to come are awaited and dropped, then the server is
// cleaned.
func (s *Server) Release() {
	s.given = *s.borrower.Profile()
	s.detach()
	s.borrower = nil
	s.state = draining
	s.Push()
	s.conn.Resume(loop.PausePeer)
	switch {
	case s.holding:
		s.holding = false
		s.terminate("client left in the middle of a RESET")
		s.pool.fill()
	case s.replies.Settled():
		s.reset()
	default:
		s.Ending(true)
		s.checkEnd()
	}
}

func (p *Pool) takeIdle() *Server {
	n := len(p.idle)
	if n == 0 || p.halted() {
		return nil
	}
	which := n - 1
	if p.set.settings.Load().ServerRoundRobin {
		which = 0
	}
	s := p.idle[which]
	p.idle = slices.Delete(p.idle, which, which+1)
	p.noteIdle()
	return s
}

// returned gives a clean server to the oldest waiter or puts it by.
func (p *Pool) returned(s *Server) {
	now := p.loop.Now()
	s.lastUse = now
	s.state = idle
	s.borrower = nil
	switch {
	case p.retired:
		s.terminate("its pool is no longer in use")
		return
	case p.paused:
		s.terminate("PAUSE")
		return
	case s.stale:
		s.terminate("RECONNECT")
		p.fill()
		return
	}
	if life := p.rules.ServerLifetime; s.loans > 0 && now.Sub(s.created) >= life {
		s.terminate("server_lifetime")
		p.fill()
		return
	}
	if p.over() {
		s.terminate("the pool's size was lowered")
		return
	}
	if p.yieldsReturned(s) {
		return
	}
	p.idle = append(p.idle, s)
	if p.queue.size > 0 && !p.halted() {
		p.serve()
		return
	}
	p.noteIdle()
	p.armSweeper()
	if p.account.crowded() {
		p.yield()
	}
}

// serve gives idle servers to those who wait.
func (p *Pool) serve() {
	for p.queue.size > 0 {
		s := p.takeIdle()
		if s == nil {
			break
		}
		w := p.queue.pop()
		s.prepare(w)
	}
	p.armQueueTimer()
}

// requeue gives a waiter whose server broke before it was lent the next one.
func (p *Pool) requeue(w *Waiter, young bool) {
	w.server = nil
	p.queue.pushFront(w)
	if p.retired {
		p.loop.Post(p.Reroute)
		return
	}
	if young {
		// It has let us in and closed: knocking again at once would go on for ever.
		p.trouble = true
		p.log.Warn("server was lost before its first use")
		p.retryLater(retryPause)
	}
	p.serve()
}

// removed forgets a server that is being closed.
func (p *Pool) removed(s *Server) {
	delete(p.servers, s)
	if s.state != idle {
		return
	}
	for i, other := range p.idle {
		if other == s {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			p.noteIdle()
			return
		}
	}
}

// Retire ends the pool: its node is no longer the place to go. Waiters choose
// again, idle servers are closed. With fence, lent servers are lost to their
// clients at once, and what they run is cancelled; without it, they end with
// their sessions.
func (p *Pool) Retire(fence bool) {
	if !p.retired {
		p.ledger.close(p.account)
	}
	p.retired = true
	p.gone.Store(true)
	if fence {
		p.fence()
	}
	for _, t := range []*loop.Timer{p.retry, p.sweeper, p.waitTime, p.reserve, p.yieldAt, p.disuse, p.holdEnd} {
		t.Stop()
	}
	for s := range p.servers {
		switch {
		case s.state == idle:
			s.terminate("its node is no longer in use")
		case fence:
			if s.Outstanding() {
				p.set.sendCancel(s, nil)
				p.set.counters.FencedBusy.Add(1)
				p.log.Warn("server of a fenced primary closed in the midst of something: it may still commit", zap.Uint32("pid", s.pid))
			}
			s.loss = LossFenced
			s.lost("fenced")
		}
	}
	p.Reroute()
}

// Reroute sends all who wait away to choose again; the pool lives on. Those who
// choose this pool again are behind them in the queue, in the same order.
func (p *Pool) Reroute() {
	for range p.queue.size {
		w := p.queue.pop()
		b := w.borrower
		p.recycle(w)
		b.Rerouted()
	}
	p.armQueueTimer()
}

// waiter makes a waiter for b.
func (p *Pool) waiter(b Borrower) *Waiter {
	w := p.spare
	if w == nil {
		w = new(Waiter)
	} else {
		p.spare = w.next
	}
	*w = Waiter{borrower: b, pool: p, since: p.loop.Now()}
	return w
}

func (p *Pool) recycle(w *Waiter) {
	*w = Waiter{next: p.spare}
	p.spare = w
}

// armQueueTimer makes the one timer of the queue follow its oldest waiter.
func (p *Pool) armQueueTimer() {
	p.followClaims()
	limit := p.rules.QueryWaitTimeout
	if p.queue.first == nil || limit <= 0 {
		p.waitTime.Stop()
		p.waitTime = nil
		return
	}
	if p.waitTime.Pending() {
		return // when it fires it is armed again for whoever is first then
	}
	left := limit - p.loop.Now().Sub(p.queue.first.since)
	p.waitTime = p.loop.After(max(left, time.Millisecond), p.expireWaiters)
}

func (p *Pool) expireWaiters() {
	limit := p.rules.QueryWaitTimeout
	for w := p.queue.first; w != nil && p.loop.Now().Sub(w.since) >= limit; w = p.queue.first {
		b, why := w.borrower, p.reason()
		p.queue.remove(w)
		p.recycle(w)
		p.set.counters.WaitTimeouts.Add(1)
		b.Refused(wire.Fatal(wire.CodeCannotConnectNow, "no server became free within query_wait_timeout ("+limit.String()+")", why))
	}
	p.armQueueTimer()
}

// armSweeper makes the one timer of the idle list follow whoever expires next.
func (p *Pool) armSweeper() {
	if p.sweeper.Pending() && p.sparing == p.warm() || len(p.idle) == 0 {
		return
	}
	p.sweeper.Stop()
	p.sparing = p.warm()
	var next time.Time
	for _, s := range p.idle {
		if at, ok := p.expiry(s); ok && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	if !next.IsZero() {
		p.sweeper = p.loop.After(max(next.Sub(p.loop.Now()), time.Millisecond), p.sweep)
	}
}

// expiry is when an idle server is to be closed.
func (p *Pool) expiry(s *Server) (time.Time, bool) {
	var at time.Time
	if limit := p.set.settings.Load().ServerIdleTimeout; limit > 0 && !p.warm() {
		at = s.lastUse.Add(limit)
	}
	if p.rules.ServerLifetime > 0 {
		if end := s.created.Add(p.rules.ServerLifetime); at.IsZero() || end.Before(at) {
			at = end
		}
	}
	return at, !at.IsZero()
}

func (p *Pool) sweep() {
	now := p.loop.Now()
	for _, s := range append([]*Server(nil), p.idle...) {
		if at, ok := p.expiry(s); ok && !at.After(now) {
			s.terminate("server_idle_timeout or server_lifetime")
		}
	}
	p.armSweeper()
}

// Dismiss ends a private pool with its client.
func (p *Pool) Dismiss() {
	p.set.drop(p)
	p.Retire(false)
}
