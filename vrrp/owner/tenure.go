package owner

import (
	"fmt"
	"time"
)

// tenure is this node's ownership in one term.
type tenure struct {
	term  int64
	taken time.Duration // as the record has it
	since time.Duration

	mod  int64         // of the record; 0 while it is not in etcd
	hold time.Duration // the record's
	cap  time.Duration // what counts of it while it is being shortened; 0 for all
	// proposed: taken without etcd; it stands by the peers' acknowledgements until
	// the record says so.
	proposed bool

	read time.Duration // how long the last confirming read is worth
	held bool          // the address has been asked for
	told time.Duration // Until of the last Hold

	refuting, touching bool // a request is under way
	touchAt            time.Duration
}

// debt is what a new owner owes its predecessor: the address may still be there.
type debt struct {
	deed  deed // whose release pays it
	until time.Duration
}

// dropping is an address on its way off the interface.
type dropping struct {
	deed    deed
	release bool // the peers are to be told
	again   time.Duration
}

// telling repeats the release of a term: packets get lost.
type telling struct {
	deed
	outage bool
	left   []time.Duration
}

// become starts an ownership that etcd has confirmed to a request of this start.
func (m *Machine) become(s Snapshot, start time.Duration) {
	m.own = &tenure{term: s.Record.Term, taken: s.Record.Taken, since: m.now, mod: s.Record.Mod, hold: s.Record.Hold, read: never, told: never}
	m.begin()
	if !s.open() || !m.on(claimBlocks) {
		m.confirm(start)
	}
	m.note("state", false, "owns the address, term %d", m.own.term)
}

// begin is what every ownership begins with.
func (m *Machine) begin() {
	m.try = attempt{}
	m.unpaid = nil
	m.counters.Owned++
	m.reason = ""
	m.nextRead, m.pingAt = m.now, m.now
	m.shortSeq = m.seq
	clear(m.sent)
	for _, p := range m.peers {
		p.acked = never
	}
	m.rival.since = never
	m.moveTo = ""
}

// deadline is when this ownership ends if nothing else confirms it: what the last
// read is worth, or the earliest end of the peers' acknowledgements.
func (m *Machine) deadline() time.Duration {
	acks := m.soloUntil()
	if len(m.peers) > 0 {
		acks = forever
	}
	some := never
	for _, p := range m.peers {
		d := p.acked + p.grant
		if p.excused {
			d = max(d, m.soloUntil())
		}
		acks, some = min(acks, d), max(some, d)
	}
	if !m.on(everyPeer) {
		acks = some
	}
	if m.own.proposed && !m.on(askAll) {
		acks = max(some, m.own.since+m.cfg.Alone)
	}
	return max(m.own.read, acks)
}

// confirm counts a linearizable answer that began at start and found the record
// ours and unclaimed.
func (m *Machine) confirm(start time.Duration) {
	hold := m.own.hold
	if m.own.cap > 0 && m.on(capWhileShortening) {
		hold = min(hold, m.own.cap)
	}
	if !m.on(promiseInRecord) {
		hold = m.wantHold()
	}
	m.own.read = max(m.own.read, start+hold)
}

// expire ends an ownership that has not been confirmed in time. It comes before
// anything else: a machine that was stopped must not act on a term that has run out.
func (m *Machine) expire() {
	if m.own == nil {
		return
	}
	if m.own.proposed && !m.own.held {
		switch {
		case m.hasEtcd():
			m.abandon("etcd is back")
		case m.reached(m.own.since + m.cfg.Alone):
			m.abandon("not all peers agree")
		}
		return
	}
	if m.reached(m.deadline()) {
		m.giveUp("nobody confirms it any more")
	}
}

// stay is what an owner does.
func (m *Machine) stay() {
	m.limitGrants()
	m.expire()
	if m.own == nil {
		return
	}
	m.policy()
	m.commit()
	m.handOver()
	if m.own == nil {
		return
	}
	m.goSolo()
	m.expire()
	if m.own != nil {
		m.holdOn()
	}
}

// holdOn has the address held up to the deadline, once nobody else can have it.
func (m *Machine) holdOn() {
	if m.on(transferWait) && !m.reached(m.owe.until) {
		return
	}
	if !m.free() {
		return
	}
	until := m.deadline()
	if m.reached(until) {
		return
	}
	if until != m.own.told {
		m.own.told = until
		m.own.held = true
		m.emit(Hold{Until: until, Term: m.own.term})
	}
}

// giveUp ends the ownership for good. The peers are told once the address is gone.
func (m *Machine) giveUp(why string) {
	if m.own == nil {
		return
	}
	term, held := m.own.term, m.own.held
	d := deed{m.cfg.Node, m.cfg.Boot, term, m.own.taken}
	m.own = nil
	m.finished = max(m.finished, term)
	m.heard.at = max(m.heard.at, m.now) // a successor deserves time, too
	m.counters.GaveUp++
	m.reason = why
	m.note("state", false, "gives up the address, term %d: %s", term, why)
	if m.owe.until > m.now && m.on(transferWait) { // the predecessor may still hold it
		m.unpaid = &d
		return
	}
	m.drop(d, held, true, why)
}

// abandon ends a proposal before the address was held.
func (m *Machine) abandon(why string) {
	m.note("state", false, "withdraws its proposal, term %d: %s", m.own.term, why)
	m.own = nil
	m.reason = why
	if !m.hasEtcd() {
		m.again = m.now + m.cfg.Backoff + time.Duration(m.rank)*m.cfg.Gap
	}
}

// drop has the address removed if it was there, and the peers told if they may be.
func (m *Machine) drop(d deed, held, tell bool, why string) {
	if !held {
		if tell {
			m.release(d)
		}
		return
	}
	m.dropping = &dropping{deed: d, release: tell, again: m.now + m.cfg.Beat/2}
	m.emit(Drop{Term: d.term, Why: why})
}

// Dropped says that the address is off the interface, as Drop asked. Only then are
// the peers told.
func (m *Machine) Dropped(now time.Duration) []Action {
	d := m.dropping
	return m.do(now, func() {
		if d == nil { // not even asked for, or only just now
			return
		}
		m.dropping = nil
		if d.release {
			m.release(d.deed)
		}
	})
}

// release tells the peers that this node has removed the address and will not add
// it again in this term.
func (m *Machine) release(d deed) {
	m.told = telling{deed: d, outage: !m.hasEtcd(), left: []time.Duration{m.now, m.now + 20*time.Millisecond, m.now + 60*time.Millisecond}}
	m.note("release", false, "released term %d", d.term)
}

// tell sends what is due of the release, and asks again for an address that is
// still not gone.
func (m *Machine) tell() {
	if d := m.dropping; d != nil && m.reached(d.again) {
		d.again = m.now + m.cfg.Beat/2
		m.emit(Drop{Term: d.deed.term, Why: "it is still there"})
	}
	if d := m.unpaid; d != nil && m.reached(m.owe.until) {
		m.unpaid = nil
		m.release(*d)
	}
	for len(m.told.left) > 0 && m.reached(m.told.left[0]) {
		m.told.left = m.told.left[1:]
		m.broadcast(Message{Kind: Release, Boot: m.cfg.Boot, Term: m.told.term, Taken: m.told.taken, Dark: m.told.outage})
	}
}

func (m *Machine) note(kind string, warn bool, format string, args ...any) {
	m.emit(Note{Kind: kind, Warn: warn, Text: fmt.Sprintf(format, args...)})
}
