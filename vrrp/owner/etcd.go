package owner

import (
	"errors"
	"maps"
	"slices"
	"time"
)

// maxReading bounds the reads under way.
const maxReading = 4

var errTimeout = errors.New("no answer in time")

// asked is a request under way.
type asked struct {
	start time.Duration
	then  func(r Reply, start time.Duration)
}

// ask sends a request. then is called once, with an error when the outcome is
// unknown; what a good answer teaches about etcd has been taken in before.
func (m *Machine) ask(r Request, then func(r Reply, start time.Duration)) {
	m.lastID++
	r.ID, r.Timeout = m.lastID, m.cfg.Timeout
	m.asked[r.ID] = asked{start: m.now, then: then}
	m.reached(m.now + m.cfg.Timeout)
	m.emit(r)
}

// Answer takes the outcome of the Request with this ID. A request that the runtime
// gave up is answered with an error; its outcome is then unknown. Late, repeated
// and missing answers do no harm.
func (m *Machine) Answer(now time.Duration, id uint64, reply Reply) []Action {
	return m.do(now, func() { m.answered(id, reply) })
}

func (m *Machine) answered(id uint64, reply Reply) {
	a, ok := m.asked[id]
	if !ok {
		return
	}
	delete(m.asked, id)
	if reply.Err == nil {
		m.etcdOK = max(m.etcdOK, a.start)
		if reply.Snapshot.Revision < m.seen.Revision && a.start > m.seenAt {
			m.note("error", true, "etcd went back from revision %d to %d", m.seen.Revision, reply.Snapshot.Revision)
			m.known = false
		}
	}
	a.then(reply, a.start)
}

// timeOut ends the requests that have had no answer.
func (m *Machine) timeOut() {
	for _, id := range slices.Sorted(maps.Keys(m.asked)) {
		if a, ok := m.asked[id]; ok && m.reached(a.start+m.cfg.Timeout) {
			m.answered(id, Reply{Err: errTimeout})
		}
	}
}

// readOften reads both keys: it shows that etcd is there, and confirms an ownership.
// It hurries while the peers do not carry that.
func (m *Machine) readOften() {
	if m.reading >= maxReading || !m.reached(m.nextRead) {
		return
	}
	every := m.cfg.Hold
	for _, p := range m.peers {
		if m.own != nil && m.now-p.acked > m.cfg.Beat*3/2 {
			every = m.cfg.Beat
		}
	}
	m.nextRead = m.now + every - m.cfg.Beat/10
	m.reached(m.nextRead)
	m.reading++
	m.ask(Request{What: "read", RecordMod: -1, ClaimMod: -1}, func(r Reply, start time.Duration) {
		m.reading--
		if r.Err == nil {
			m.confirmBy(r.Snapshot, start)
		}
	})
}

// confirmBy takes in what a plain read says, and what it is worth to an owner.
func (m *Machine) confirmBy(s Snapshot, start time.Duration) {
	if !m.learn(s) {
		return
	}
	m.resumeBy(s, start)
	m.confirmOurs(s, start)
}

// confirmOurs counts an answer when it shows this ownership, and no claim: from a
// claim on, only what removes it confirms anything.
func (m *Machine) confirmOurs(s Snapshot, start time.Duration) {
	ours := m.own != nil && m.mine(s.Record) && s.Record.Term == m.own.term
	if ours && (!s.open() || !m.on(claimBlocks)) {
		m.confirm(start)
	}
}

// learn takes in a snapshot. It reports whether that is news: an older answer that
// came late says nothing.
func (m *Machine) learn(s Snapshot) bool {
	if m.known && s.Revision < m.seen.Revision {
		return false
	}
	if !m.known {
		m.first = s
	}
	if m.known && m.twin(s.Record) && s.Record.Mod != m.seen.Record.Mod {
		m.note("error", true, "another process owns the address under this node's name, %s", m.cfg.Node)
	}
	m.known, m.seen, m.seenAt = true, s, m.now
	if c := s.Claim; c.Mod != m.stale.mod {
		m.stale.mod, m.stale.since = c.Mod, m.now
		if p := m.peer(c.Node); p != nil && c.Mod != 0 {
			p.claimed = m.now
		}
	}
	switch {
	case m.own != nil:
		m.check(s)
	case m.try.step == taking && m.mine(s.Record) && s.Record.Mod > m.try.record.Mod && m.try.start+s.Record.Hold > m.now:
		m.tookOver(s)
	case m.try.step == waiting && (s.Record.Mod != m.try.record.Mod || s.Claim.Mod != m.try.claim):
		m.note("claim", false, "the claim was refuted")
		m.try = attempt{}
		m.backoff = m.now + m.cfg.Backoff
	case s.open() && s.Claim.Node != m.cfg.Node && m.hears(s.Record):
		m.refute(s)
	}
	return true
}

// hears says whether this node hears the owner of the record itself.
func (m *Machine) hears(r Record) bool {
	return r.Owner != m.cfg.Node && m.heard.deed == r.deed() && m.now-m.heard.at < m.cfg.Silence
}

// check compares the record with this node's ownership.
func (m *Machine) check(s Snapshot) {
	o := m.own
	if m.mine(s.Record) && s.Record.Term == o.term {
		// Taken may differ: this proposal's term has been won by a request from before it.
		o.mod, o.hold, o.taken, o.proposed = s.Record.Mod, s.Record.Hold, s.Record.Taken, false
		if o.cap > 0 && o.hold <= o.cap {
			o.cap = 0
		}
		if s.open() {
			m.refute(s)
		}
		return
	}
	if s.Record.Mod != 0 && s.Record.Term >= o.term {
		m.giveUp("the record names " + s.Record.Owner)
		return
	}
	o.mod = 0 // deleted, or from a backup, or not there yet: commit puts it there
}

// refute removes a claim: this node owns the address, or hears the owner.
func (m *Machine) refute(s Snapshot) {
	if o := m.own; o != nil {
		if o.refuting {
			return
		}
		o.refuting = true
	}
	m.ask(Request{What: "refute", RecordMod: s.Record.Mod, ClaimMod: s.Claim.Mod, DeleteClaim: true}, func(r Reply, start time.Duration) {
		if m.own != nil {
			m.own.refuting = false
		}
		if r.Err != nil {
			return
		}
		if r.Committed {
			m.counters.Refuted++
			m.note("refute", true, "refuted the claim of %s", s.Claim.Node)
		}
		if m.learn(r.Snapshot) && r.Committed {
			m.resumeBy(r.Snapshot, start)
			m.confirmOurs(r.Snapshot, start)
		}
	})
}

// wantHold is the promise that this owner needs: it must outlive an election in
// etcd when peers cannot acknowledge. A longer one makes its own death last longer,
// so that the longest is for a sole survivor.
func (m *Machine) wantHold() time.Duration {
	want, dead := m.cfg.Hold, 0
	for _, p := range m.peers {
		since := max(p.acked, m.own.since)
		if m.reached(since + m.cfg.Quiet) {
			want = m.cfg.Silent
		}
		if m.reached(max(since, p.claimed, p.heard) + m.cfg.Dead) {
			dead++
		}
	}
	if dead == len(m.peers) {
		want = m.cfg.Alone
	}
	return want
}

// policy keeps the record's promise as it should be. A shorter one counts at once,
// a longer one only when the record has it.
func (m *Machine) policy() {
	o := m.own
	if o.proposed || o.mod == 0 {
		return
	}
	want := m.wantHold()
	wait := time.Duration(0)
	if !m.reached(m.owe.until) {
		wait = m.seen.Record.Wait
	}
	if want == o.hold && wait == m.seen.Record.Wait {
		o.cap = 0
		return
	}
	if want < o.hold && m.on(capWhileShortening) {
		o.cap = want
		o.read = min(o.read, m.now+want)
	}
	if o.touching || !m.reached(o.touchAt) || !m.hasEtcd() {
		return
	}
	o.touching = true
	m.ask(Request{What: "promise", RecordMod: o.mod, ClaimMod: -1, PutRecord: m.record(o.term, o.taken, want, wait)}, m.touched(o))
}

// touched takes the outcome of an owner's writing to its own record.
func (m *Machine) touched(o *tenure) func(Reply, time.Duration) {
	return func(r Reply, start time.Duration) {
		o.touching, o.touchAt = false, m.now
		if r.Err != nil {
			o.touchAt += m.cfg.Beat / 2
		}
		if r.Err == nil && m.learn(r.Snapshot) && r.Committed {
			m.confirmOurs(r.Snapshot, start)
		}
	}
}

// commit writes an ownership into the record that is not there: it was taken
// without etcd, or somebody has deleted the key.
func (m *Machine) commit() {
	o := m.own
	if o.mod != 0 || o.touching || !m.reached(o.touchAt) || !m.known || !m.hasEtcd() || o.proposed && !o.held {
		return
	}
	if m.seen.Record.Term >= o.term && m.seen.Record.Mod != 0 {
		return // check has seen to it
	}
	o.touching = true
	m.ask(Request{What: "commit", RecordMod: m.seen.Record.Mod, ClaimMod: -1,
		PutRecord: m.record(o.term, o.taken, m.cfg.Hold, 0), DeleteClaim: true}, m.touched(o))
}

func (m *Machine) record(term int64, taken, hold, wait time.Duration) *Record {
	return &Record{Owner: m.cfg.Node, Boot: m.cfg.Boot, Term: term, Taken: taken, Hold: hold, Wait: wait, Fitness: m.fit}
}
