package proxy

import (
	"sync"

	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// readers counts the sessions of each node of the read set, for balance leastconn
// and for operators. It is touched when a session gets a node or ends, not when it
// goes on with the one that it has.
type readers struct {
	mu sync.Mutex
	n  map[*route.Node]int // guarded by mu
}

// on tells how many sessions read from a node.
func (r *readers) on(n *route.Node) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n[n]
}

// move takes a session from one node to another; nil is none.
func (r *readers) move(from, to *route.Node) {
	if from == to {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if to != nil {
		if r.n == nil {
			r.n = make(map[*route.Node]int)
		}
		r.n[to]++
	}
	if from == nil {
		return
	}
	if r.n[from]--; r.n[from] == 0 {
		delete(r.n, from)
	}
}

// Readers tells how many sessions of the replicas' port each node has.
func (p *Proxy) Readers(n *route.Node) int { return p.readers.on(n) }

// reads makes n the node that the session reads from.
func (s *session) reads(n *route.Node) {
	if s.role == route.Replica {
		s.proxy.readers.move(s.counted, n)
		s.counted = n
	}
	s.node = n
}

// rejected is the error for a client of role that has nowhere to go and is not to
// wait, nil when it is.
func rejected(t *route.Table, role route.Role) *wire.Error {
	if role != route.Replica || t == nil || t.Reads != route.ReadsRejected {
		return nil
	}
	return wire.Fatal(wire.CodeCannotConnectNow, nowhere(t, role), "The setting is no_replicas of pgvip, reject.")
}
