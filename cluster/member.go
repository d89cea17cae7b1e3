package cluster

import (
	"net/netip"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"
)

// member is a peer that has been heard of.
type member struct {
	name  string
	node  *memberlist.Node // a copy, with the address as memberlist last had it
	alive bool             // as memberlist sees it
	left  bool             // it has said goodbye
	// parted says that it has heard our goodbye.
	parted bool
	since  time.Duration // of the last change of alive
	heard  time.Duration // when its last message came, -1 for never

	boot string // of its process, by memberlist's word, which comes in order
	meta meta   // as memberlist last had it
	said bool   // news is there
	// whole says that news is a report, and not only memberlist's part of it.
	whole bool
	news  report

	flows  known
	wanted time.Duration // when what is missing was last asked for
	served time.Duration // when it was last sent all flows
	// The same of its shares.
	bookWanted, bookServed time.Duration
	bulk                   int // messages by TCP on their way to it

	calling, serving int // cancel requests on their way to it, and served for it

	trouble string // why it could not be joined
}

// gone is since when the peer is not here, negative while it is.
func (m *member) gone() time.Duration {
	if m.alive {
		return -1
	}
	return m.since
}

// follow turns to a process of the node.
func (m *member) follow(boot string, now time.Duration) {
	if boot != m.boot {
		m.boot, m.said, m.whole, m.left, m.news = boot, false, false, false, report{}
		m.flows.begin(boot, now)
	}
}

// learn takes what memberlist carries.
func (m *member) learn(v meta) {
	m.meta = v
	if m.said && v.Seq <= m.news.Seq {
		return
	}
	m.said = true
	m.news.Seq, m.news.Version, m.news.PeerID = v.Seq, v.Version, v.PeerID
	m.news.Fitness, m.news.VIP = v.Fitness, v.VIP
}

// hear takes a report.
func (m *member) hear(r report) {
	m.flows.heard(r.FlowSeq)
	if m.said && r.Seq < m.news.Seq || m.news.Leaving {
		return
	}
	if r.Seq == m.news.Seq && r.UptimeMS < m.news.UptimeMS {
		return // overtaken by a later one
	}
	m.said, m.whole, m.news = true, true, r
	m.left = m.left || r.Leaving
}

// memberLocked gives the record of a peer.
func (c *Cluster) memberLocked(name string) *member {
	m := c.members[name]
	if m == nil {
		m = &member{name: name, heard: -1, wanted: -wantPause, served: -wantPause, since: c.now()}
		c.members[name] = m
	}
	return m
}

// delegate is what memberlist calls. It holds locks of its own meanwhile, so
// nothing here calls it.
type delegate struct{ *Cluster }

// NodeMeta implements memberlist.Delegate.
func (d *delegate) NodeMeta(limit int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	o := &d.options
	return meta{
		Seq: d.seq, Boot: o.Boot, Version: o.Version, PeerID: o.PeerID,
		Fitness: d.status.Fitness, VIP: d.status.VIP,
	}.encode(limit)
}

// NotifyMsg implements memberlist.Delegate.
func (d *delegate) NotifyMsg(b []byte) { d.receive(b) }

// GetBroadcasts implements memberlist.Delegate: every node is told directly.
func (d *delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState implements memberlist.Delegate.
func (d *delegate) LocalState(bool) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reportLocked(d.now())
}

// MergeRemoteState implements memberlist.Delegate.
func (d *delegate) MergeRemoteState(b []byte, _ bool) { d.receive(b) }

// NotifyAlive implements memberlist.AliveDelegate: it decides who is admitted.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	ip, _ := netip.AddrFromSlice(n.Addr)
	at := netip.AddrPortFrom(ip.Unmap(), n.Port)
	if n.Name == d.options.Name {
		if at == d.transport.self {
			return nil
		}
		d.count(func(c *Counters) { c.Refused++ })
		d.refused(NameTaken, n.Name, "another node goes by this node's name, at "+at.String())
		return errNameTaken
	}
	err := d.roster.refuse(n.Name, at)
	if err != nil {
		d.count(func(c *Counters) { c.Refused++ })
		d.refused(PeerRefused, n.Name, err.Error())
		poke(d.rejoin) // its name may stand for another address by now
	}
	return err
}

// NotifyJoin implements memberlist.EventDelegate.
func (d *delegate) NotifyJoin(n *memberlist.Node) {
	if n.Name == d.options.Name {
		return
	}
	v, err := parseMeta(n.Meta)
	d.mu.Lock()
	m := d.memberLocked(n.Name)
	m.node, m.alive, m.left, m.since, m.trouble = copyNode(n), true, false, d.now(), ""
	if err == nil {
		m.follow(v.Boot, m.since)
		m.learn(v)
	}
	text := "peer is here"
	if m.news.Version != "" {
		text += ", version " + m.news.Version
	}
	d.told, d.toldAt = 0, 0 // it has heard nothing yet
	d.mu.Unlock()
	poke(d.wake)
	d.event(Event{Kind: PeerJoined, Node: n.Name, Text: text})
}

// NotifyUpdate implements memberlist.EventDelegate.
func (d *delegate) NotifyUpdate(n *memberlist.Node) {
	v, err := parseMeta(n.Meta)
	if n.Name == d.options.Name || err != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.memberLocked(n.Name)
	m.node = copyNode(n)
	m.follow(v.Boot, d.now())
	m.learn(v)
}

// NotifyLeave implements memberlist.EventDelegate.
func (d *delegate) NotifyLeave(n *memberlist.Node) {
	if n.Name == d.options.Name {
		return
	}
	d.mu.Lock()
	m := d.memberLocked(n.Name)
	m.alive, m.since = false, d.now()
	left := m.left
	d.mu.Unlock()
	poke(d.rejoin)
	if left {
		d.event(Event{Kind: PeerLeft, Node: n.Name, Text: "peer has left"})
		return
	}
	d.event(Event{Kind: PeerUnreachable, Node: n.Name, Warn: true, Text: "peer does not answer any more"})
}

func copyNode(n *memberlist.Node) *memberlist.Node {
	same := *n
	same.Addr = slices.Clone(n.Addr)
	return &same
}

// receive takes a message of another node. It does not block, and keeps none of b.
func (c *Cluster) receive(b []byte) {
	d := &decoder{b: b}
	h, err := parseHeader(d)
	if err != nil || !c.roster.has(h.from) {
		c.count(func(n *Counters) { n.Malformed++ })
		return
	}
	c.mu.Lock()
	m := c.memberLocked(h.from)
	now := c.now()
	if m.boot != h.boot {
		// Late words of a process that has ended, or the first ones of one that
		// memberlist has yet to tell of.
		c.mu.Unlock()
		return
	}
	m.heard = now
	answers, err := c.handleLocked(m, h, d, now)
	if err != nil {
		c.counters.Malformed++
	}
	c.mu.Unlock()
	c.send(answers)
}

// handleLocked does what a message asks for, and gives what is to be sent.
func (c *Cluster) handleLocked(m *member, h header, d *decoder, now time.Duration) ([]message, error) {
	switch h.kind {
	case kindReport:
		r, err := parseReport(d.b)
		if err != nil {
			return nil, err
		}
		m.hear(r)
		if r.Leaving {
			c.shares.departed(m.name, h.boot)
		}
		if r.Leaving && m.alive {
			return []message{{to: m.node, body: c.beginLocked(kindFarewell)}}, nil
		}
		return nil, nil
	case kindFarewell:
		m.parted = true
		poke(c.parting)
		return nil, nil
	case kindFlows:
		v, err := parseFlowDelta(d)
		if err == nil {
			m.flows.apply(v)
		}
		return nil, err
	case kindAllFlows:
		v, err := parseFlowImage(d)
		if err == nil {
			m.flows.replace(v)
		}
		return nil, err
	case kindShares, kindAllShares:
		row, err := parseShareRow(d)
		if err == nil {
			c.shares.hear(now, m.name, h.boot, row)
			poke(c.wake)
		}
		return nil, err
	case kindWantShares:
		if row := c.shares.book(); row != nil && m.alive && now-m.bookServed >= bookPause/2 {
			m.bookServed = now
			return []message{{to: m.node, body: row.append(c.beginLocked(kindAllShares)), reliable: true}}, nil
		}
		return nil, nil
	case kindCancel:
		v, err := parseCancelCall(d)
		if err == nil {
			c.serveCancelLocked(m, v)
		}
		return nil, err
	case kindCancelDone:
		v, err := parseCancelAnswer(d)
		if err == nil {
			c.answeredLocked(m, v)
		}
		return nil, err
	case kindWantFlows:
		if !m.alive || now-m.served < wantPause {
			return nil, nil
		}
		m.served = now
		return []message{{to: m.node, body: c.flows.image().append(c.beginLocked(kindAllFlows)), reliable: true}}, nil
	}
	return nil, errMessage
}
