package owner

import "time"

// outage is what this node knows of an etcd that answers nobody (rule 40).
//
// Without etcd, the address changes hands when its owner releases it and all
// peers agree. With Config.ARP a silent peer need not agree once nobody answers ARP
// for the address: an owner whose peers fall silent goes on, and a backup takes over
// from a silent owner after the longest promise. That needs evidence that it is the
// whole etcd that is gone: every peer has said that it has none, or was dead before,
// as the record says. A node that is merely cut off does not have that.
type outage struct {
	evident bool
	since   time.Duration
	probe   uint64        // the last one
	asked   time.Duration // its time
	open    bool          // no verdict yet
	silent  time.Duration // time of the last probe that nobody answered
}

// How often a solo holder probes, and what silence is worth.
const (
	probeEvery = 300 * time.Millisecond
	probeWorth = 1500 * time.Millisecond
)

func (o *outage) reset() { *o = outage{asked: never, silent: never, probe: o.probe} }

// evidence finds out whether nobody has etcd, as far as this node can know.
func (m *Machine) evidence() {
	if m.hasEtcd() { // what silence was worth it stays worth: until the record is ours
		m.outage.evident = false
		return
	}
	if m.outage.evident {
		for _, p := range m.peers {
			if p.darkAt > m.outage.since && !p.dark {
				m.outage.reset() // it has etcd and may have taken over
				return
			}
		}
		return
	}
	if m.etcdOK == never {
		return // it has never been there: that is no outage
	}
	// All must have been without it at one and the same time. A word that took a beat
	// to come is not trusted more precisely.
	from, to := m.darkSince(), m.now
	for _, p := range m.peers {
		switch {
		case m.writtenOff(p) || !m.on(outageEvidence):
		case !p.dark:
			return
		default:
			from, to = max(from, p.darkSince), min(to, p.darkAt)
		}
	}
	if !m.reached(m.darkSince()) || to-from < m.cfg.Beat && len(m.peers) > 0 && m.on(outageEvidence) {
		return
	}
	m.outage.evident, m.outage.since = true, m.now
	m.note("outage", true, "nobody has etcd")
}

// writtenOff says whether the peer was dead while etcd still answered, and this
// owner has had the longest promise for that.
func (m *Machine) writtenOff(p *peer) bool {
	o := m.own
	return o != nil && o.mod != 0 && o.hold >= m.cfg.Alone && o.cap == 0 && p.heard < m.etcdOK-m.cfg.Quiet
}

// soloUntil is how long silent peers need not agree.
func (m *Machine) soloUntil() time.Duration {
	if !m.cfg.ARP || m.outage.silent == never {
		return never
	}
	return m.outage.silent + probeWorth
}

// goSolo probes for others with the address while it rests on nobody's word.
func (m *Machine) goSolo() {
	if !m.cfg.ARP || !m.outage.evident {
		return
	}
	alone := false
	for _, p := range m.peers {
		alone = alone || p.silent(m.now, m.cfg.Quiet)
	}
	if alone || len(m.peers) == 0 {
		m.probe()
	}
}

// probe asks whether anybody else has the address, again and again.
func (m *Machine) probe() {
	o := &m.outage
	if !m.reached(o.asked + probeEvery) {
		return
	}
	if o.open && !m.reached(o.asked+m.cfg.Timeout*2) {
		return
	}
	o.probe++
	o.asked, o.open = m.now, true
	m.reached(o.asked + probeEvery)
	m.emit(Probe{ID: o.probe})
}

// Probed takes the verdict of the Probe with this ID: whether anybody else answered
// for the address.
func (m *Machine) Probed(now time.Duration, id uint64, answered bool) []Action {
	return m.do(now, func() {
		o := &m.outage
		if id != o.probe || !o.open {
			return
		}
		o.open = false
		if answered {
			o.silent = never
			m.note("conflict", true, "another node answers for the address")
			return
		}
		o.silent = o.asked
		for _, p := range m.peers {
			p.excused = p.silent(m.now, m.cfg.Quiet)
		}
	})
}

// propose takes the address without etcd: every peer that is there must agree, by
// acknowledging this node as the owner of the next term.
func (m *Machine) propose() {
	if m.hasEtcd() || m.etcdOK == never || !m.free() || !m.reached(m.again) {
		return
	}
	term := max(m.seen.Record.Term, m.heard.term)
	switch {
	case term == 0:
		return
	case m.gone.node != "" && m.gone.outage && m.gone.term >= term:
	case m.cfg.ARP && m.deadOwner():
	default:
		return
	}
	m.own = &tenure{term: m.successor(m.seen.Record), since: m.now, taken: m.now, proposed: true, read: never, told: never}
	m.begin()
	m.gone = release{}
	m.note("claim", true, "proposes itself without etcd, term %d", m.own.term)
}

// deadOwner says whether, in an outage, the owner is silent and nobody has the
// address. What the owner may be living on has then run out: this node has promised
// nothing any more.
func (m *Machine) deadOwner() bool {
	owner := m.peer(m.ownerName())
	if !m.outage.evident || owner != nil && !owner.silent(m.now, m.cfg.Quiet) || !m.reached(max(m.heard.at, m.advert, m.woke)+m.cfg.Alone+m.cfg.Margin) {
		return false
	}
	if m.soloUntil() > m.now {
		return true
	}
	m.probe()
	return false
}
