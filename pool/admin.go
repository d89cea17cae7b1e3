package pool

import (
	"fmt"
	"sync/atomic"

	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// standing is what a table says of a pool's node that concerns the pool.
type standing struct {
	admin    route.AdminState
	maxQueue int
}

func standingOf(t *route.Table, n *route.Node) standing {
	if t == nil {
		return standing{}
	}
	s := t.Standing(n)
	return standing{s.Admin, s.MaxQueue}
}

// stand makes a new standing count, if it is one. The caller holds the Set's mu.
func (p *Pool) stand(table *route.Table) {
	now := standingOf(table, p.key.Node)
	if now == p.told {
		return
	}
	p.told = now
	p.loop.Post(func() { p.obey(now) })
}

// boundNodes makes the limits of a table count, whether there are pools or not.
func (t *Set) boundNodes(table *route.Table) {
	for _, n := range table.Nodes {
		t.ledger.boundNode(n.Addr, table.Standing(n).MaxConn)
	}
}

// obey follows an operator's word about the node. Drain lends nothing more and
// leaves what there is; maint also closes servers as their transactions end, and
// sessions that have one to themselves between two transactions.
func (p *Pool) obey(s standing) {
	was := p.admin
	p.admin, p.maxQueue = s.admin, s.maxQueue
	switch {
	case p.retired || s.admin == was:
	case s.admin == route.Maint:
		p.reconnect()
		p.followClaims()
	case s.admin == route.Drain:
		p.followClaims()
	default:
		p.serve()
		p.fill()
	}
}

// halted reports that nothing is lent for now, although the pool is in use.
func (p *Pool) halted() bool { return p.held || p.admin != route.Ready }

// crush counts those who wait for one node, in all its pools.
type crush struct{ n atomic.Int64 }

// crushOf gives the counter of a node. The caller holds mu.
func (t *Set) crushOf(n *route.Node) *crush {
	c := t.crushes[n.Name]
	if c == nil {
		c = new(crush)
		t.crushes[n.Name] = c // as many as members have ever had names
	}
	return c
}

// turnAway refuses a waiter that has just come when too many wait for the node.
// It is told in a turn of its own, since who asks does not expect the answer yet.
func (p *Pool) turnAway(w *Waiter) {
	if p.maxQueue <= 0 || p.queue.crush.n.Load() <= int64(p.maxQueue) {
		return
	}
	w.turnedAway = true
	p.loop.Post(p.turnAllAway)
}

func (p *Pool) turnAllAway() {
	for w := p.queue.first; w != nil; {
		next := w.next
		if w.turnedAway {
			b := w.borrower
			p.queue.remove(w)
			p.recycle(w)
			b.Refused(wire.Fatal(wire.CodeTooManyConnections, "too many clients wait for server \""+p.key.Node.Name+"\"",
				fmt.Sprintf("The limit is servers.%s.maxqueue of pgvip, %d.", p.key.Node.Name, p.maxQueue)))
			next = p.queue.first // the borrower may have done anything
		}
		w = next
	}
	p.armQueueTimer()
}
