package owner

import "time"

// step is how far a backup is on its way to own the address.
type step uint8

const (
	idle        step = iota
	claiming         // the claim is on its way to etcd
	waiting          // it stands; the owner has time to object
	winning          // the record is on its way to etcd
	withdrawing      // until etcd has said that nothing of it can still win
	taking           // without a claim: nobody holds under the record, or its owner asks
)

// attempt is the way to own one record's successor.
type attempt struct {
	step     step
	record   Record // to be succeeded
	claim    int64  // mod revision of this node's claim
	until    time.Duration
	withdraw bool // the owner lives
	asking   bool // withdrawing: a request is under way

	// taking
	start time.Duration
}

// release is a peer's word that it has removed the address.
type release struct {
	deed
	outage bool
}

// contend is what a backup does: it takes what is free, and claims what is silent.
func (m *Machine) contend() {
	switch m.try.step {
	case waiting:
		m.await()
		return
	case withdrawing:
		if !m.try.asking && m.reached(m.try.until) {
			m.withdraw()
		}
		return
	case idle:
	default:
		return
	}
	m.try = attempt{}
	if !m.mayOwn() {
		return
	}
	m.propose()
	if m.own != nil || !m.known || !m.hasEtcd() || m.etcdOK < m.resolve {
		return
	}
	switch r := m.seen.Record; {
	case m.released(r) && m.free():
		m.take(r, false)
	case r.Mod != 0 && r.Owner == m.cfg.Node && !m.twin(r):
		m.reown(r)
	case m.silent():
		m.claim(r)
	}
}

// released says whether the record's owner has let go of the address.
func (m *Machine) released(r Record) bool {
	return r.Mod != 0 && m.gone.deed == r.deed()
}

// reown takes the record of this node's earlier life: nobody else holds under it,
// but its successors without etcd may, whom this node would hear or has promised.
func (m *Machine) reown(r Record) {
	if !m.free() || m.heard.term > r.Term && !m.reached(m.heard.at+m.cfg.Silence) {
		return
	}
	m.take(r, false)
}

// twin says whether the record was written under this node's name by another
// process while this one was there: two nodes have one name. It is treated as
// another node's. What an earlier life of this node still writes, by a request that
// comes late, is not that.
func (m *Machine) twin(r Record) bool {
	later := r.Owner == m.cfg.Node && r.Boot != m.cfg.Boot && r.Mod > m.first.Revision
	return later && (m.counters.Owned > 0 || r.Boot != m.first.Record.Boot)
}

// silent says whether nothing has been heard of an owner for too long. Nodes wait
// differently long, the higher priority less, so that one of them wakes first.
func (m *Machine) silent() bool {
	heard := max(m.heard.at, m.advert)
	if m.resign > heard {
		heard = m.resign - m.cfg.Silence
	}
	base := max(heard, m.woke, m.backoff)
	if !m.reached(m.born) {
		return false
	}
	return m.reached(base + m.cfg.Silence + m.skew())
}

func (m *Machine) skew() time.Duration {
	return time.Duration(256-m.priority())*m.cfg.Beat/1024 + time.Duration(m.rank)*m.cfg.Beat*3/10
}

// claim says in etcd that the owner of the record seems dead.
func (m *Machine) claim(r Record) {
	old := m.seen.Claim
	// Who died while claiming left its claim; and one of our own can only be one
	// whose outcome we did not learn.
	dead := m.stale.mod == old.Mod && m.reached(m.stale.since+m.window(r)+4*m.cfg.Beat) ||
		old.Node == m.cfg.Node && old.Boot == m.cfg.Boot
	if m.seen.open() && !dead {
		return
	}
	m.try = attempt{step: claiming, record: r}
	m.counters.Claimed++
	m.ask(Request{What: "claim", RecordMod: r.Mod, ClaimMod: old.Mod,
		PutClaim: &Claim{Node: m.cfg.Node, Boot: m.cfg.Boot, Record: r.Mod}}, m.claimed)
}

func (m *Machine) claimed(r Reply, _ time.Duration) {
	if m.try.step != claiming {
		return
	}
	if r.Err != nil { // it cannot win by itself; but read before claiming again
		m.backoff = m.now
		m.unresolved()
		return
	}
	if !r.Committed {
		m.try = attempt{}
		m.learn(r.Snapshot)
		return
	}
	m.try.step = waiting
	m.try.claim = r.Snapshot.Claim.Mod
	m.try.until = m.now + m.window(m.try.record)
	m.note("claim", false, "claims the address from %s, term %d", m.try.record.Owner, m.try.record.Term)
	m.learn(r.Snapshot)
}

// unresolved ends an attempt whose outcome is unknown: nothing more is attempted
// before etcd has been read.
func (m *Machine) unresolved() {
	m.try = attempt{}
	m.resolve = m.now
}

// window is how long an owner has to object: as long as it may live on without
// seeing the claim, which its record tells.
func (m *Machine) window(r Record) time.Duration {
	if !m.on(windowOfPromise) {
		return m.cfg.Beat
	}
	if r.Mod == 0 { // nobody knows what a record that was deleted said
		return m.cfg.Alone + m.cfg.Margin
	}
	return max(r.Hold, r.Wait) + m.cfg.Margin
}

// await ends the wait of a claim: withdrawn when the owner lives or this node must
// not own any more, else won.
func (m *Machine) await() {
	released := m.released(m.try.record)
	switch {
	case !m.mayOwn() || m.try.withdraw && !released:
		m.withdraw()
	case (released || m.reached(m.try.until)) && m.free():
		m.win()
	}
}

func (m *Machine) win() {
	t := &m.try
	t.step = winning
	m.ask(Request{What: "win", RecordMod: t.record.Mod, ClaimMod: t.claim,
		PutRecord: m.record(m.successor(t.record), m.now, m.cfg.Hold, 0), DeleteClaim: true}, m.won)
}

// successor is the next term; a record that was deleted or comes from a backup does
// not turn time back.
func (m *Machine) successor(r Record) int64 {
	return max(r.Term, m.finished, m.retired, m.heard.term) + 1
}

func (m *Machine) won(r Reply, start time.Duration) {
	if m.try.step != winning {
		return
	}
	if r.Err != nil {
		m.withdraw()
		return
	}
	m.try = attempt{}
	m.backoff = m.now + m.cfg.Backoff
	if m.learn(r.Snapshot) && r.Committed {
		m.become(r.Snapshot, start)
	}
}

// withdraw makes sure that no request of ours can still win, before anybody is
// acknowledged again: a winning request needs the claim, and etcd says that it is
// gone. Until etcd has said so, we ask.
func (m *Machine) withdraw() {
	t := &m.try
	t.step, t.asking = withdrawing, true
	m.ask(Request{What: "withdraw", RecordMod: -1, ClaimMod: t.claim, DeleteClaim: true}, m.withdrawn)
}

func (m *Machine) withdrawn(r Reply, start time.Duration) {
	if m.try.step != withdrawing {
		return
	}
	if r.Err != nil {
		if m.outage.evident {
			m.unresolved() // there is no asking now
		}
		m.try.asking, m.try.until = false, m.now+m.cfg.Beat/2
		return
	}
	m.try = attempt{}
	if m.learn(r.Snapshot) {
		m.adopt(r.Snapshot, start)
	}
}

// adopt begins the ownership that a request of ours has won, as etcd says afterwards.
func (m *Machine) adopt(s Snapshot, start time.Duration) {
	if m.own == nil && m.mine(s.Record) && s.Record.Term > m.finished {
		m.become(s, start)
	}
}

// take succeeds to a record without a claim: nobody can hold the address under it,
// or (offered) its owner asks for that.
func (m *Machine) take(r Record, offered bool) {
	wait := r.Wait // our own record of an earlier life: its predecessor may still hold
	if !m.on(inheritWait) {
		wait = 0
	}
	switch {
	case offered:
		wait = max(r.Hold, r.Wait) + m.cfg.Margin
	case r.Owner != m.cfg.Node:
		wait = 0 // released, by who had it
	}
	m.try = attempt{step: taking, record: r, start: m.now}
	m.ask(Request{What: "take", RecordMod: r.Mod, ClaimMod: -1,
		PutRecord: m.record(m.successor(r), m.now, m.cfg.Hold, wait), DeleteClaim: true}, m.taken)
}

func (m *Machine) taken(r Reply, start time.Duration) {
	if m.try.step != taking {
		return
	}
	if r.Err != nil { // if it wins yet, the record is ours, and that is taken anew
		m.unresolved()
		return
	}
	m.try.start = start
	m.learn(r.Snapshot)
	if m.try.step == taking {
		m.try = attempt{} // somebody else was first
	}
}

// tookOver begins the ownership that this node has taken, as an answer shows or a
// watch, which may be faster.
func (m *Machine) tookOver(s Snapshot) {
	t := m.try
	m.try = attempt{}
	m.adopt(s, t.start)
	if m.own == nil {
		return
	}
	m.owe = debt{}
	if w := s.Record.Wait; w > 0 && !m.released(t.record) {
		m.owe = debt{deed: t.record.deed(), until: m.now + w}
	}
}
