package owner

import "time"

// A keeper that replaces another while the address is on the interface owns
// nothing until it has read that the record is still ours; without an answer in
// time the address goes (rule 43). That the address is still there says that the
// keeper before has not released it.

// resume waits for that answer.
func (m *Machine) resume() {
	switch {
	case m.mainGone:
		m.endResume("the main process is gone")
	case m.reached(m.start + m.cfg.ResumeWait):
		m.endResume("no answer of etcd to resume by")
	}
}

// resumeBy takes the answer to a read, or to a refute, that began at start.
func (m *Machine) resumeBy(s Snapshot, start time.Duration) {
	switch {
	case !m.resuming:
	case !m.mine(s.Record):
		m.endResume("the record names " + s.Record.Owner)
	case s.open() && m.on(claimBlocks):
		m.refute(s)
	default:
		m.resuming = false
		m.own = &tenure{term: s.Record.Term, since: m.now, taken: s.Record.Taken, mod: s.Record.Mod, hold: s.Record.Hold, read: never, told: never, held: true}
		m.born, m.earlier = m.now, Persist{} // who held the address had promised nothing any more
		m.begin()
		m.confirm(start)
		m.note("state", false, "goes on owning the address, term %d", m.own.term)
	}
}

func (m *Machine) endResume(why string) {
	m.resuming = false
	m.reason = why
	var d deed
	if m.known && m.mine(m.seen.Record) {
		d = m.seen.Record.deed()
		m.finished = d.term
	}
	m.note("state", false, "removes the address that it finds: %s", why)
	m.drop(d, true, d.term > 0, why)
}
