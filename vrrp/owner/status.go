package owner

import "time"

// Status is the machine's view.
type Status struct {
	Owns   bool          // this node is the owner
	Holds  bool          // and has asked for the address to be on the interface
	Owner  string        // the owner as far as known, "" for unknown
	Term   int64         // its term: the epoch
	Etcd   bool          // etcd has answered lately
	Outage bool          // nobody has etcd, as far as known
	Until  time.Duration // when this ownership ends if nothing confirms it

	Priority int  // effective; 0 when this node must not own
	Ready    bool // the first election has come to a result, or is waited for no longer
	Left     bool // Leave, or MainGone, is done and told to the peers
	Reason   string
	Peers    []PeerStatus
	Counters Counters
}

// PeerStatus is another node as this machine sees it.
type PeerStatus struct {
	Name     string
	Heard    time.Duration // when the last message came; -1 for never
	Alive    bool
	Dark     bool
	Fitness  Fitness
	Priority int
}

// Counters only grow.
type Counters struct{ Owned, GaveUp, Claimed, Refuted uint64 }

// Status describes the machine.
func (m *Machine) Status(now time.Duration) Status {
	s := Status{
		Owner: m.ownerName(), Term: m.term(),
		Etcd: m.etcdOK != never && now-m.etcdOK < m.cfg.EtcdStale, Outage: m.outage.evident,
		Priority: m.priority(), Ready: m.ready, Left: m.left(), Reason: m.reason, Counters: m.counters,
	}
	if o := m.own; o != nil {
		s.Owns, s.Holds = true, o.held
		s.Until = max(0, m.deadline())
	}
	for _, p := range m.peers {
		ps := PeerStatus{Name: p.name, Heard: p.heard, Alive: !p.silent(now, m.cfg.Quiet), Dark: p.dark, Fitness: p.fitness, Priority: p.priority}
		if p.heard == never {
			ps.Heard = -1
		}
		s.Peers = append(s.Peers, ps)
	}
	return s
}

// settled says whether the first election has come to a result.
func (m *Machine) settled() bool {
	if m.own != nil {
		return m.own.held
	}
	return m.now-m.heard.at < m.cfg.Silence && m.heard.node != "" || m.reached(m.start+m.cfg.StartupDelay)
}

// left says whether nothing remains to be done for a node that must not own.
func (m *Machine) left() bool {
	return (m.leaving || m.mainGone) && m.own == nil && !m.resuming && m.dropping == nil && m.unpaid == nil && len(m.told.left) == 0
}
