package owner

import "time"

// offerEvery is how often an offer is repeated until it is taken.
const offerEvery = 60 * time.Millisecond

// fitter is a peer that should rather own the address.
type fitter struct {
	name  string
	since time.Duration
}

// weigh takes in what the main process wants: whether this node may own at all.
func (m *Machine) weigh() {
	switch out := m.mainGone || m.leaving || m.fit.Fault; {
	case !out:
		m.outSince = never
	case m.outSince == never:
		m.outSince = m.now
	}
}

// priority is the effective one; 0 when this node must not own.
func (m *Machine) priority() int {
	if m.mainGone || m.leaving || m.fit.Fault {
		return 0
	}
	return min(max(m.cfg.Priority+m.fit.Weight, 1), 254)
}

// wants says whether this node would take the address from an equally fit owner of
// a lower priority.
func (m *Machine) wants() bool {
	return m.cfg.Preempt && m.mayOwn() && m.own == nil && m.reached(max(m.start, m.woke)+m.cfg.PreemptDelay)
}

// handOver offers the address to whom it should move, and just gives it up when
// this node must not keep it and nobody takes it.
func (m *Machine) handOver() {
	o := m.own
	to := m.target()
	if m.outSince != never {
		late := m.reached(m.outSince + m.cfg.MoveWait)
		if m.mainGone || to == nil || late || !o.held {
			m.giveUp("this node must not own: " + m.outWhy())
			return
		}
	}
	if to == nil || !o.held || !m.reached(m.offerAt+offerEvery) {
		return
	}
	if m.now-m.offerAt > m.cfg.MoveWait {
		m.note("move", false, "offers the address to %s, term %d", to.name, o.term)
	}
	m.offerAt = m.now
	m.reached(m.offerAt + offerEvery)
	m.emit(Send{To: to.name, Message: Message{Kind: Offer, Boot: m.cfg.Boot, Term: o.term}})
}

func (m *Machine) outWhy() string {
	switch {
	case m.mainGone:
		return "the main process is gone"
	case m.leaving:
		return "it leaves"
	}
	return "fault"
}

// target is the peer to which the address should move now, nil for nobody.
func (m *Machine) target() *peer {
	best := m.best()
	if m.moveTo != "" && m.moveTo != "*" {
		best = m.peer(m.moveTo)
		if best != nil && !m.able(best) {
			best = nil
		}
	}
	if m.moveTo != "" || m.outSince != never {
		return best
	}
	if best == nil || !m.better(best) {
		m.rival = fitter{since: never}
		return nil
	}
	if m.rival.name != best.name {
		m.rival = fitter{name: best.name, since: m.now}
	}
	// Fitness is news of different age on each node: what is no lasting
	// difference moves nothing, nor does the address move on at once.
	if m.reached(max(m.rival.since, m.own.since+4*m.cfg.FitDelay) + m.cfg.FitDelay) {
		return best
	}
	return nil
}

// able says whether the peer could take the address by etcd.
func (m *Machine) able(p *peer) bool {
	return !p.dark && p.priority > 0 && !p.silent(m.now, m.cfg.Silence)
}

// best is the fittest peer, among equals that of the highest priority and then the
// first by name.
func (m *Machine) best() *peer {
	var best *peer
	for _, p := range m.peers {
		if !m.able(p) {
			continue
		}
		if c := 0; best != nil {
			if c = p.fitness.Compare(best.fitness); c < 0 || c == 0 && p.priority <= best.priority {
				continue
			}
		}
		best = p
	}
	return best
}

// better says whether the peer should rather own: it is fitter, or equally fit with
// a higher priority and preempting.
func (m *Machine) better(p *peer) bool {
	c := p.fitness.Compare(m.fit)
	return c > 0 || c == 0 && p.wants && p.priority > m.priority()
}

// offered takes the owner's offer. The owner holds on until the record is ours and
// it sees that.
func (m *Machine) offered(p *peer, term int64) {
	r := m.seen.Record
	if m.own != nil || m.try.step != idle || !m.mayOwn() || m.resuming || !m.hasEtcd() || m.etcdOK < m.resolve || !m.reached(m.born) {
		return
	}
	if r.Mod == 0 || r.Term != term || r.Owner != p.name {
		return
	}
	m.take(r, true)
}
