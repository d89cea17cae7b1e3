package pool

import (
	"context"
	"time"

	"github.com/pgvip/pgvip/dial"
)

const (
	// turn is how long a server serves its pool at least before it is closed for
	// the clients of another one: a login costs PostgreSQL a process.
	turn = 250 * time.Millisecond
	// yieldPause bounds how often a pool in use asks whether it is to give up a
	// server.
	yieldPause = 10 * time.Millisecond
)

// Conn is a connection to a pool's server, logged in, and its permit.
type Conn struct {
	*dial.Conn
	permit permit
	// settings are those that it was made under.
	settings *Settings
}

// Close ends the connection and gives the permit back.
func (c *Conn) Close() error {
	err := c.Conn.Close()
	c.permit.giveBack()
	return err
}

// permit is the right to one server connection.
type permit struct {
	ledger  *ledger
	account *account
	yielded bool // it is given up for somebody
}

// transfer makes the permit that of another pool at the same node, database and
// user, whose limits are the same.
func (p permit) transfer(to *account) permit {
	p.ledger.transfer(p.account, to)
	p.account = to
	return p
}

// giveBack is called once, when the socket is closed.
func (p permit) giveBack() { p.ledger.give(p.account, p.yielded) }

// permit waits for a permit; the error is ctx's. Not for the loop.
func (p *Pool) permit(ctx context.Context) error {
	granted := make(chan struct{})
	c := &claim{account: p.account, granted: func() { close(granted) }}
	ledger := p.ledger
	if ledger.take(c, ledger.at(time.Now())) {
		return nil
	}
	select {
	case <-granted:
		return nil
	case <-ctx.Done():
	}
	if !ledger.withdraw(c) {
		p.hold().giveBack() // it came at the last moment
	}
	return ctx.Err()
}

// claims are what a pool has asked the ledger for. It belongs to the pool's loop.
type claims struct {
	server claim // for the oldest waiter
	warm   claim // for min_pool_size
	// Whether these are open: neither granted nor withdrawn. A grant counts once
	// it has arrived on the loop.
	asking, wishing bool
	nextYield       time.Time
}

// openAccount makes the ledger know the pool.
func (p *Pool) openAccount() {
	l := p.ledger
	p.account = l.open(p.key, func() { p.loop.Post(p.yield) }, func() { p.loop.Post(p.spareIdle) })
	l.bound(p.account, p.rules.MaxUserConnections, p.rules.MaxDBConnections)
	p.claims.server = claim{account: p.account, granted: func() { p.loop.Post(p.permitted) }}
	p.claims.warm = claim{account: p.account, granted: func() { p.loop.Post(p.permittedWarm) }}
}

// lacks reports that somebody waits for whom no login is under way yet, and
// there is room in the pool.
func (p *Pool) lacks() bool {
	return !p.retired && !p.paused && !p.halted() && !p.retry.Pending() && p.queue.size > p.dialing+p.arriving && !p.scouting() && p.room()
}

// scouting reports that one login is finding out whether a node that has let nobody
// in lets somebody in again: a crowd would only be turned away as well.
func (p *Pool) scouting() bool { return p.trouble && p.dialing > 0 }

// cold reports that the pool has fewer servers than min_pool_size wants, or a
// switchover that was announced.
func (p *Pool) cold() bool {
	if p.retired || p.paused || p.halted() || p.retry.Pending() || p.params != nil || p.scouting() || !p.room() {
		return false
	}
	if p.pending {
		return len(p.servers)+p.dialing < p.wanted
	}
	return p.clients.Load() > 0 && len(p.servers)+p.dialing+p.arriving < p.rules.MinPoolSize
}

// fill starts as many logins as there are waiters without one, within all
// limits, and then those for min_pool_size.
func (p *Pool) fill() {
	c := &p.claims
	for !c.asking && p.lacks() {
		since := p.ledger.at(p.queue.first.since)
		c.server.wanted.Store(int32(p.queue.size - p.dialing - p.arriving))
		if !p.ledger.take(&c.server, since) {
			c.asking = true
			break
		}
		p.dial()
	}
	for !c.wishing && p.cold() {
		if !p.ledger.wish(&c.warm) {
			c.wishing = true
			break
		}
		p.dial()
	}
	p.armReserve()
}

// permitted uses a permit that has come after a wait.
func (p *Pool) permitted() {
	p.claims.asking = false
	if !p.lacks() {
		p.hold().giveBack()
		return
	}
	p.dial()
	p.fill()
}

func (p *Pool) permittedWarm() {
	p.claims.wishing = false
	if !p.cold() {
		p.hold().giveBack()
		return
	}
	p.dial()
	p.fill()
}

// followClaims keeps the claims true to what the pool needs.
func (p *Pool) followClaims() {
	c, l := &p.claims, p.ledger
	if c.asking {
		if p.lacks() {
			c.server.since.Store(l.at(p.queue.first.since))
			c.server.wanted.Store(int32(p.queue.size - p.dialing - p.arriving))
		} else if l.withdraw(&c.server) {
			c.asking = false
		} // else the permit is on its way
	}
	if c.wishing && !p.cold() && l.unwish(&c.warm) {
		c.wishing = false
	}
}

// hold is a permit that the ledger has granted.
func (p *Pool) hold() permit { return permit{ledger: p.ledger, account: p.account} }

// dial begins a login, for which there is a permit.
func (p *Pool) dial() {
	p.dialing++
	generation := p.generation
	if !p.set.background(func(ctx context.Context) { p.login(ctx, generation) }) {
		p.dialing--
		p.hold().giveBack()
	}
}

// yield gives up idle servers as long as others need them more.
func (p *Pool) yield() {
	for len(p.idle) > 0 {
		s, now := p.idle[0], p.loop.Now()
		if age := now.Sub(s.created); age < turn {
			if !p.yieldAt.Pending() {
				p.yieldAt = p.loop.After(turn-age, p.yield)
			}
			return
		}
		if !p.ledger.yields(p.account, 0, p.ledger.at(now)) {
			return
		}
		p.giveUp(s)
	}
	p.ledger.pressAgain(p.account)
}

// yieldsReturned gives up a server that has just become free, if the client of
// another pool has waited for much longer than ours.
func (p *Pool) yieldsReturned(s *Server) bool {
	now := p.loop.Now()
	if !p.account.crowded() || p.queue.size == 0 || now.Sub(s.created) < turn || now.Before(p.claims.nextYield) {
		return false
	}
	l := p.ledger
	if !l.yields(p.account, l.at(p.queue.first.since), l.at(now)) {
		p.claims.nextYield = now.Add(yieldPause)
		return false
	}
	p.giveUp(s)
	return true
}

// spareIdle gives up the server that was idle for longest.
func (p *Pool) spareIdle() {
	if len(p.idle) > 0 && p.loop.Now().Sub(p.idle[0].created) >= turn {
		p.idle[0].terminate("the node is full, and another pool waits")
	}
}

func (p *Pool) giveUp(s *Server) {
	s.permit.yielded = true
	s.terminate("a client of another pool needs it more")
}

// noteIdle tells the ledger how long the pool has had a server to spare.
func (p *Pool) noteIdle() {
	since := int64(0)
	if len(p.idle) > 0 {
		since = p.ledger.at(p.idle[0].lastUse)
	}
	if p.account.idleSince.Load() != since {
		p.account.idleSince.Store(since)
	}
}
