package owner

import "time"

// peer is another node.
type peer struct {
	name string

	heard   time.Duration // its last message
	claimed time.Duration // its last claim in etcd: a sign of life, too
	dark    bool          // it has no etcd, as of heard
	// The time that it has certainly been so.
	darkSince, darkAt time.Duration

	fitness  Fitness
	priority int
	wants    bool

	// As an owner sees it: the sending time of the last ping that it acknowledged, and
	// what that is worth.
	acked, grant time.Duration
	excused      bool // it was silent when nobody answered ARP for the address

	// As its backup sees it: until when this node has promised it not to own.
	promised   time.Duration
	promisedTo deed

	done deed // the last ownership that it has released

	// The order of its pings.
	boot string
	seq  uint64
}

func newPeer(name string) *peer {
	return &peer{name: name, heard: never, claimed: never, acked: never, promised: never}
}

func (p *peer) silent(now, d time.Duration) bool { return now-p.heard > d }

func (p *peer) heardDark(now time.Duration, msg Message) {
	p.dark, p.darkAt, p.darkSince = msg.Dark, now, now-msg.DarkFor
}

func (m *Machine) peer(name string) *peer {
	for _, p := range m.peers {
		if p.name == name {
			return p
		}
	}
	return nil
}

// ownerName is the owner as far as this node knows, "" for unknown.
func (m *Machine) ownerName() string {
	switch {
	case m.own != nil:
		return m.cfg.Node
	case m.heard.node != "" && m.heard.term > m.seen.Record.Term && m.peer(m.heard.node).done != m.heard.deed:
		return m.heard.node
	case m.known:
		return m.seen.Record.Owner
	}
	return ""
}

// Receive takes a message of the peer of this name, from whichever path it came. A
// message that comes on several paths may be handed in as often.
func (m *Machine) Receive(now time.Duration, from string, msg Message) []Action {
	return m.do(now, func() {
		p := m.peer(from)
		if p == nil {
			return
		}
		p.heard = m.now
		switch msg.Kind {
		case Ping:
			m.pinged(p, msg)
		case Ack:
			m.acknowledged(p, msg)
		case Release:
			m.peerReleased(p, deed{p.name, msg.Boot, msg.Term, msg.Taken}, msg.Dark)
		case Offer:
			m.offered(p, msg.Term)
		}
	})
}

// ping tells every peer that this node is there, and asks for the owner's life.
func (m *Machine) ping() {
	if !m.reached(m.pingAt) {
		return
	}
	m.pingAt = m.now + m.cfg.Beat
	m.seq = max(m.seq+1, uint64(max(m.now, 0)/time.Microsecond))
	msg := Message{Kind: Ping, Boot: m.cfg.Boot, Term: m.term(), Seq: m.seq, Dark: m.dark(), DarkFor: m.darkFor(),
		Holds: m.dropping != nil, Fitness: m.fit, Priority: m.priority(), Wants: m.wants(), Done: m.told.term, Taken: m.told.taken}
	if o := m.own; o != nil {
		m.remember()
		msg.Taken = o.taken
		msg.Owner, msg.Holds, msg.Short = true, o.held, m.short()
		if msg.Short {
			m.shortSeq = m.seq
		} else if msg.Dark && m.deadline()-m.now < m.cfg.Grant {
			m.pingAt = m.now + m.cfg.Beat/2 // packets get lost
		}
	}
	m.reached(m.pingAt)
	m.broadcast(msg)
}

// remember notes when a ping was sent: an acknowledgement counts from then.
func (m *Machine) remember() {
	for seq, at := range m.sent {
		if m.now-at > m.cfg.Alone {
			delete(m.sent, seq)
		}
	}
	m.sent[m.seq] = m.now
}

// term is the one that this node believes in.
func (m *Machine) term() int64 {
	if m.own != nil {
		return m.own.term
	}
	return max(m.seen.Record.Term, m.heard.term)
}

// short says whether this owner counts on short grants only: long ones are for when
// etcd cannot confirm, and they make the peers wait.
func (m *Machine) short() bool {
	return m.hasEtcd() && !m.own.proposed && m.own.read > m.now
}

// limitGrants makes the acknowledgements worth what the peers think they are, once
// they are told that short grants will do.
func (m *Machine) limitGrants() {
	if !m.short() || !m.on(shortGrants) {
		return
	}
	for _, p := range m.peers {
		p.grant = min(p.grant, m.cfg.Grant)
	}
}

// pinged takes a ping: of an owner it is acknowledged, with a promise not to own.
func (m *Machine) pinged(p *peer, msg Message) {
	if !m.inOrder(p, msg) {
		return
	}
	p.heardDark(m.now, msg)
	p.fitness, p.priority, p.wants = msg.Fitness, msg.Priority, msg.Wants
	if !msg.Owner {
		if !msg.Holds { // it lives on no acknowledgement of ours
			p.promised = min(p.promised, m.now)
		}
		if r := m.seen.Record; msg.Done >= r.Term && p.name == m.ownerName() && msg.Done >= m.heard.term {
			m.peerReleased(p, deed{p.name, msg.Boot, msg.Done, msg.Taken}, msg.Dark) // the releases themselves were lost
		}
		return
	}
	if m.own != nil {
		m.challenged(p, msg)
	}
	if m.own != nil || msg.Term < m.seen.Record.Term || p.done == (deed{p.name, msg.Boot, msg.Term, msg.Taken}) {
		return
	}
	m.heard.deed, m.heard.at = deed{p.name, msg.Boot, msg.Term, msg.Taken}, m.now
	if m.gone.term < msg.Term {
		m.gone = release{}
	}
	if m.try.step != idle {
		m.try.withdraw = true // and who claims acknowledges nobody
		return
	}
	m.acknowledge(p, msg)
}

// inOrder says whether the ping is newer than what came from this peer before.
func (m *Machine) inOrder(p *peer, msg Message) bool {
	if p.boot == msg.Boot && p.seq >= msg.Seq {
		return false
	}
	p.boot, p.seq = msg.Boot, msg.Seq
	return true
}

// challenged ends this ownership when another is the newer one.
func (m *Machine) challenged(p *peer, msg Message) {
	o := m.own
	switch {
	case msg.Term > o.term:
		m.giveUp(p.name + " owns a newer term")
	case msg.Term < o.term || !o.proposed:
	case msg.Short: // etcd has decided against this proposal
		m.giveUp(p.name + " owns the term by etcd")
	case o.held && !msg.Holds || o.held == msg.Holds && p.name > m.cfg.Node:
	case o.held:
		m.giveUp(p.name + " holds the term, too")
	default:
		m.abandon(p.name + " proposes itself, too")
	}
}

// acknowledge promises the owner not to own while the acknowledgement lasts.
func (m *Machine) acknowledge(p *peer, msg Message) {
	if m.dropping != nil || m.resuming || !m.reached(m.born) {
		return
	}
	dark, grant := m.dark(), m.cfg.Grant
	if dark && !msg.Short {
		grant = m.cfg.Alone
	}
	until := m.now + grant + m.cfg.Margin
	if !msg.Short {
		until = max(until, p.promised)
	}
	p.promised, p.promisedTo = until, deed{p.name, msg.Boot, msg.Term, msg.Taken}
	if grant > m.cfg.Grant && until > m.persisted {
		// A little more, so that not every ping is written down: a node that starts
		// anew keeps still for that much longer.
		m.persisted = until + m.cfg.Alone/8
		m.emit(Persist{Until: m.persisted, Term: msg.Term})
	}
	m.emit(Send{To: p.name, Message: Message{Kind: Ack, Boot: msg.Boot, Term: msg.Term, Seq: msg.Seq,
		Grant: grant, Dark: dark, DarkFor: m.darkFor(), Fitness: m.fit, Priority: m.priority()}})
}

// acknowledged takes a peer's promise, which counts from the sending of the ping.
func (m *Machine) acknowledged(p *peer, msg Message) {
	at, ok := m.sent[msg.Seq]
	if m.own == nil || msg.Boot != m.cfg.Boot || msg.Term != m.own.term || !ok || at <= p.acked {
		return
	}
	p.acked, p.grant = at, msg.Grant
	p.heardDark(m.now, msg)
	p.fitness, p.priority = msg.Fitness, msg.Priority
	if m.on(shortGrants) && (msg.Seq <= m.shortSeq || m.short()) {
		p.grant = min(p.grant, m.cfg.Grant)
	}
}

// free says whether this node may have the address as far as its own promises go.
func (m *Machine) free() bool {
	if !m.reached(m.born) {
		return false
	}
	until := m.earlier.Until
	for _, p := range m.peers {
		until = max(until, p.promised)
	}
	return m.reached(until) || !m.on(keepPromise)
}

// peerReleased takes a peer's word that it has removed the address and will not
// hold it again in this term.
func (m *Machine) peerReleased(p *peer, d deed, outage bool) {
	m.retired = max(m.retired, d.term)
	p.done = d
	if d == p.promisedTo { // a release of an earlier term may come late
		p.promised = min(p.promised, m.now)
	}
	if m.earlier.Term > 0 && d.term >= m.earlier.Term {
		m.earlier.Until = min(m.earlier.Until, m.now)
	}
	if m.owe.deed == d {
		m.owe.until = min(m.owe.until, m.now)
	}
	if m.own == nil && d.term >= m.gone.term {
		m.gone = release{deed: d, outage: outage}
	}
}
