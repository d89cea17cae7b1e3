package route

// Standing is how one node of a table stands: what an operator wants of it and
// how much work it gets. Immutable.
type Standing struct {
	Admin AdminState
	// Dead says that PostgreSQL is gone there: what is connected to it is of no use.
	Dead bool
	// Lagging says that it gets no reads because it is too far behind.
	Lagging bool

	Weight   int // of the reads, as configured, 0 to MaxWeight
	Throttle int // percent of Weight and MaxConn that count now; below 100 in a slow start
	MaxConn  int // connections to it, throttled; 0 is no limit
	MaxQueue int // clients that may wait for one; 0 is no limit
}

// Standing gives the standing of n; of a node that is not in the table, the zero
// value.
func (t *Table) Standing(n *Node) Standing {
	for i := range t.Nodes {
		if t.Nodes[i] == n && i < len(t.Standings) {
			return t.Standings[i]
		}
	}
	return Standing{}
}

// buildStandings gives each node its standing.
func (b *builder) buildStandings() {
	b.next.Balance = b.in.Policy.Balance
	b.next.Standings = make([]Standing, len(b.next.Nodes))
	for i, n := range b.next.Nodes {
		h := b.in.Health[n.Name]
		p := b.in.Policy.Servers[n.Name]
		b.next.Standings[i] = Standing{
			Admin: b.in.Admin[n.Name],
			Dead:  h.Addr == n.Addr && h.State == Down && h.Dead,

			Weight: b.weight(n.Name), Throttle: 100, MaxConn: p.MaxConn, MaxQueue: p.MaxQueue,
		}
	}
	if state := b.in.Admin[b.lead]; b.lead != "" && state != Ready {
		// As HAProxy, pgvip sends nothing to such a server, whatever its role. But
		// who has set this may not have thought of a failover.
		b.alarm(b.lead + " leads and is in " + state.String() + " by an operator: clients wait")
	}
}

// standing gives the standing of a node of the table under construction.
func (b *builder) standing(n *Node) *Standing {
	for i := range b.next.Nodes {
		if b.next.Nodes[i] == n {
			return &b.next.Standings[i]
		}
	}
	panic("BUG: standing of a node that is not in the table")
}
