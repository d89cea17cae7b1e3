package proxy

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

const (
	// askersPerNode is how many connections auth_query has to one node, beside all
	// pools and their limits (rule 17).
	askersPerNode = 2
	// askerIdle is how long one of them waits for its next question.
	askerIdle = 30 * time.Second
)

// askers are the connections of auth_query to one node.
type askers struct {
	busy chan struct{} // one token for each connection in use
	idle []*asker      // oldest first; guarded by lookups.mu
}

// asker is one connection, neutral: nothing of a client's ever went into it
// (CVE-2025-12819).
type asker struct {
	conn     *dial.Conn
	user     string
	database string
	expiry   *time.Timer
}

// query asks one node. A connection that has waited since the last question may
// have died meanwhile, which is no reason to go without an answer.
func (l *lookups) query(node *route.Node, q *AuthQuery, user string) ([]dial.Row, error) {
	ctx, cancel := context.WithTimeout(l.proxy.ctx, askTimeout)
	defer cancel()
	n := l.at(node)
	select {
	case n.busy <- struct{}{}:
		defer func() { <-n.busy }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for {
		a, used := l.take(n, q)
		if !used {
			conn, err := l.proxy.pools.LoginAs(ctx, pool.Key{Node: node, Database: q.Database, User: q.User}, q.Credential)
			if err != nil {
				return nil, err
			}
			a = &asker{conn: conn, user: q.User, database: q.Database}
		}
		rows, err := a.conn.QueryParams(ctx, q.SQL, user)
		var own *wire.Error
		if err == nil || errors.As(err, &own) && !own.Fatal() {
			l.giveBack(node, n, a)
			return rows, err
		}
		a.conn.Close()
		if !used || ctx.Err() != nil {
			return nil, err
		}
	}
}

func (l *lookups) at(node *route.Node) *askers {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.nodes[node]
	if n == nil {
		n = &askers{busy: make(chan struct{}, askersPerNode)}
		l.nodes[node] = n
	}
	return n
}

// take gives a connection that is idle. When there is none for this user and
// database, it makes room for one.
func (l *lookups) take(n *askers, q *AuthQuery) (a *asker, ok bool) {
	var surplus []*asker
	defer func() { closeAll(surplus) }()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, a := range slices.Backward(n.idle) {
		if a.user == q.User && a.database == q.Database {
			n.idle = slices.Delete(n.idle, i, i+1)
			a.expiry.Stop()
			return a, true
		}
	}
	// The caller has a token already.
	for len(n.idle)+len(n.busy) > askersPerNode && len(n.idle) > 0 {
		n.idle[0].expiry.Stop()
		surplus = append(surplus, n.idle[0])
		n.idle = slices.Delete(n.idle, 0, 1)
	}
	return nil, false
}

// giveBack keeps a connection for the next question, unless its node has left.
func (l *lookups) giveBack(node *route.Node, n *askers, a *asker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.nodes[node] != n {
		l.closing.Go(func() { a.conn.Close() })
		return
	}
	n.idle = append(n.idle, a)
	a.expiry = time.AfterFunc(askerIdle, func() { l.expire(n, a) })
}

// expire closes a connection that nobody has needed.
func (l *lookups) expire(n *askers, a *asker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(n.idle, a); i >= 0 {
		n.idle = slices.Delete(n.idle, i, i+1)
		l.closing.Go(func() { a.conn.Close() })
	}
}

// follow lets go of nodes whose life has ended.
func (l *lookups) follow(t *route.Table) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for node := range l.nodes {
		if t.Lookup(node.Name) != node {
			l.drop(node)
		}
	}
}

// drop forgets a node; mu is held.
func (l *lookups) drop(node *route.Node) {
	idle := l.nodes[node].idle
	l.nodes[node].idle = nil
	delete(l.nodes, node)
	for _, a := range idle {
		a.expiry.Stop()
	}
	l.closing.Go(func() { closeAll(idle) })
}

// close ends all connections; what still runs ends by the proxy's context.
func (l *lookups) close() {
	l.mu.Lock()
	l.closed = true
	for node := range l.nodes {
		l.drop(node)
	}
	l.mu.Unlock()
}

func closeAll(list []*asker) {
	for _, a := range list {
		a.conn.Close()
	}
}
