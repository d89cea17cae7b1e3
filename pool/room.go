package pool

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// How many connections PostgreSQL lets pgvip have, and how fast they are made: after
// a failover every pool wants all of its servers at once.

const (
	// maxNodeDials bounds the logins to one node that are under way at one time.
	// PostgreSQL starts a process for each, one after another. It also keeps a node
	// that hangs from using up maxDials.
	maxNodeDials = 16
	// dialJitter is how long a login waits at most that had to wait for others, so
	// that those of several pgvips do not come in step.
	dialJitter = 5 * time.Millisecond
)

// berths bound the logins to each node.
type berths struct {
	mu    sync.Mutex
	nodes map[string]*berth // by address; guarded by mu
}

// berth is the logins to one node.
type berth struct {
	tokens chan struct{} // one for each login under way
	wanted atomic.Int64  // those under way, and those that wait for a token
}

func (b *berths) of(addr string) *berth {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.nodes[addr]
	if c == nil {
		if b.nodes == nil {
			b.nodes = make(map[string]*berth)
		}
		c = &berth{tokens: make(chan struct{}, maxNodeDials)}
		b.nodes[addr] = c
	}
	return c
}

// enter waits for a place among the logins to a node; the error is ctx's.
func (b *berths) enter(ctx context.Context, addr string) (leave func(), err error) {
	c := b.of(addr)
	c.wanted.Add(1)
	leave = func() {
		<-c.tokens
		c.wanted.Add(-1)
	}
	select {
	case c.tokens <- struct{}{}:
		return leave, nil
	default:
	}
	select {
	case c.tokens <- struct{}{}:
	case <-ctx.Done():
		c.wanted.Add(-1)
		return nil, ctx.Err()
	}
	pause := time.NewTimer(rand.N(dialJitter))
	defer pause.Stop()
	select {
	case <-pause.C:
		return leave, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// Crowd tells what a health check saw at a node: how many connections it takes from
// those without privileges, and how many there are. What is not ours is left to the
// others (rule 30). Any goroutine may call it.
func (t *Set) Crowd(addr string, usable, backends int) {
	t.ledger.crowd(addr, usable, backends, int(t.berths.of(addr).wanted.Load()))
}

// BoundNode limits the connections to a node, as the configuration says; 0 is no
// limit. Any goroutine may call it.
func (t *Set) BoundNode(addr string, most int) { t.ledger.boundNode(addr, most) }

// room is what a node has for us.
type room struct {
	server     int // as PostgreSQL has it; 0 while that is not known
	configured int // 0 is no limit
}

// max is the number that counts, 0 for none.
func (r room) max() int {
	if r.server > 0 && r.configured > 0 {
		return min(r.server, r.configured)
	}
	return max(r.server, r.configured)
}

// crowd makes the limit of a node that of PostgreSQL, less what others have. Of the
// permits that are taken, those of logins under way are no backends yet.
func (l *ledger) crowd(addr string, usable, backends, dialing int) {
	l.mu.Lock()
	ours := 0
	if lim := l.limits[limitKey{kind: nodeLimit, addr: addr}]; lim != nil {
		ours = max(0, lim.used-dialing)
	}
	r := l.rooms[addr]
	// At least one: a login tells more than the last count.
	r.server = max(1, usable-l.strangers(addr, backends, ours))
	after := l.setRoom(addr, r)
	l.mu.Unlock()
	after.run()
}

func (l *ledger) boundNode(addr string, most int) {
	l.mu.Lock()
	r := l.rooms[addr]
	r.configured = most
	after := l.setRoom(addr, r)
	l.mu.Unlock()
	after.run()
}

// setRoom makes a room count. Servers above it stay. The caller holds mu.
func (l *ledger) setRoom(addr string, r room) calls {
	l.rooms[addr] = r
	lim := l.limits[limitKey{kind: nodeLimit, addr: addr}]
	if lim == nil || lim.max == r.max() {
		return nil
	}
	lim.max = r.max()
	l.measure(lim)
	return l.grantWishes(l.flow(lim, nil))
}
