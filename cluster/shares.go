package cluster

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// shareInterval is how often a node tells something of its shares, if only that
	// it is there; shareRefresh how often all of them.
	shareInterval = 250 * time.Millisecond
	shareRefresh  = time.Second
	// bookPause is how often a complete row is asked for, and served to one peer.
	bookPause = 100 * time.Millisecond
)

// shares joins the sharer with the ledger and the peers. Its mutex may be taken while
// Cluster's is held, and not the other way round.
type shares struct {
	ledger Ledger // immutable; nil when nothing is shared

	mu        sync.Mutex
	machine   *sharer       // guarded by mu
	told      time.Duration // guarded by mu; when the last row went
	refreshed time.Duration // guarded by mu

	// first is what a limit has of which the ledger has not been told yet. Atomic: the
	// ledger asks while it is locked.
	first atomic.Pointer[firstShare]
}

// firstShare is the base of this node, once it has one.
type firstShare struct {
	ready       bool
	nodes, rank int
}

// InitialShare is what this node may have of a limit of which Ledger.Share has not
// been told anything. It takes no lock.
func (c *Cluster) InitialShare(most int) int {
	f := c.shares.first.Load()
	if f == nil || !f.ready {
		return 0
	}
	part := most / f.nodes
	if f.rank < most%f.nodes {
		part++
	}
	return part
}

// Wake has the shares looked at soon: somebody waits for a server. It does not block.
func (c *Cluster) Wake() { poke(c.wake) }

// shareTurn does what is due, and gives the messages. The caller holds no lock.
func (c *Cluster) shareTurn(now time.Duration) []message {
	s := &c.shares
	if s.ledger == nil {
		return nil
	}
	c.mu.Lock()
	var alive []string
	abstain := map[string]bool{}
	for name, m := range c.members {
		if m.alive {
			alive = append(alive, name)
			abstain[name] = m.said && m.whole && !m.news.Shares
		}
	}
	c.mu.Unlock()
	rows, wants := s.turn(now, alive, abstain)
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []message
	for _, r := range rows {
		out = append(out, c.toAllLocked(r.append(c.beginLocked(kindShares)))...)
	}
	for _, name := range wants {
		if m := c.members[name]; m != nil && m.alive && now-m.bookWanted >= bookPause {
			m.bookWanted = now
			out = append(out, message{to: m.node, body: c.beginLocked(kindWantShares)})
		}
	}
	return out
}

func (s *shares) turn(now time.Duration, alive []string, abstain map[string]bool) (rows []shareRow, wants []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.machine
	for _, name := range alive {
		if abstain[name] {
			m.abstain(name)
		} else {
			m.alive(name, now)
		}
	}
	m.turn(now, s.ledger)
	s.first.Store(&firstShare{ready: m.ready, nodes: m.nodes(), rank: m.rank(m.self)})
	if now-s.refreshed >= shareRefresh {
		s.refreshed = now
		m.touchAll()
	}
	if rows = m.rows(); len(rows) == 0 && now-s.told >= shareInterval {
		rows = []shareRow{m.row()}
	}
	if len(rows) > 0 {
		s.told = now
	}
	return rows, m.wants()
}

// hear takes a row.
func (s *shares) hear(now time.Duration, from, boot string, row shareRow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.machine != nil {
		s.machine.hear(now, from, boot, row)
	}
}

// TookOver says that the virtual IP has come to this node: if the one that had it is
// silent, it is dead, and its clients need its share of the server connections here.
func (c *Cluster) TookOver() {
	s := &c.shares
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.machine != nil {
		s.machine.hasty = c.now() + hastyFor
	}
}

func (s *shares) departed(name, boot string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.machine != nil {
		s.machine.departed(name, boot)
	}
}

// book gives the complete row, nil when nothing is shared.
func (s *shares) book() *shareRow {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.machine == nil {
		return nil
	}
	row := s.machine.whole()
	return &row
}

// Share is a shared limit as this node has it, for operators.
type Share struct {
	LimitKey
	Max    int // of all nodes together
	Share  int // of this node
	Used   int // by this node
	Demand int // used and waited for, by this node
	Others int // used by the other nodes
}

// Shares lists the limits that are shared, and reports whether this node knows its
// share already; it has none before.
func (c *Cluster) Shares() (list []Share, ready bool) {
	s := &c.shares
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.machine
	if m == nil {
		return nil, true
	}
	for key, l := range m.limits {
		if most := m.most(key); most > 0 {
			list = append(list, Share{LimitKey: key, Max: most, Share: max(l.share, 0), Used: l.Used, Demand: l.Demand, Others: m.elsewhere(key)})
		}
	}
	slices.SortFunc(list, func(a, b Share) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Addr, b.Addr), cmp.Compare(a.Name, b.Name))
	})
	return list, m.ready
}
