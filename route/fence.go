package route

import "time"

// fence decides whether the proven primary may stay one, and sets lead. What
// it does not fence is kept: a missing key alone is not always a verdict.
func (b *builder) fence() {
	topo, m := &b.in.Topology, &b.next.memo
	if topo.Kind == StaticList {
		b.leadOfList()
		return
	}
	held := m.proven.member
	b.lead = topo.Leader
	if held == "" {
		m.doubt, m.vouched = doubt{}, vouched{}
		return
	}
	if member := topo.Member(held); member != nil && member.APIURL != "" {
		m.apiURL = member.APIURL
	}
	if why := b.fenceReason(held); why != "" {
		b.end(held, why)
		return
	}
	b.lead = held
}

// end fences the proven primary held: whatever is connected to it as one is of
// another epoch from now on.
func (b *builder) end(held, why string) {
	m := &b.next.memo
	b.next.Epoch++
	b.ended = held
	m.proven, m.doubt, m.vouched, m.apiURL = identity{}, doubt{}, vouched{}, ""
	m.lostAt, m.fencedAt = b.in.Now, b.in.Now
	if b.prev.Primary == nil {
		m.lostAt = b.prev.memo.lostAt
	}
	m.orphan = orphan{member: held, since: b.in.Now}
	b.event(PrimaryFenced, held, why)
}

// fenceReason says why the primary held must lose its connections now, empty
// when it need not (rule 23).
func (b *builder) fenceReason(held string) string {
	topo, m := &b.in.Topology, &b.next.memo
	doubted := m.doubt
	m.doubt = doubt{} // any answer but the one below ends it
	switch {
	case topo.Leader == held && topo.Timeline > m.proven.timeline:
		// It lost the lead and got it back between two pieces of news.
		return "the history has a newer timeline"
	case topo.Leader == held:
		m.vouched = vouched{}
		return ""
	case b.stillVouched(held):
		return ""
	case b.isRelic():
		return b.relicReason(held)
	case topo.Leader != "":
		return "leader key moved to " + topo.Leader
	case topo.Paused:
		// Patroni neither demotes nor elects in pause; stopping it lets the key
		// expire while PostgreSQL goes on.
		return ""
	case b.strangeStore():
		// A store that knows nothing says nothing: fail static.
		b.alarm("etcd was replaced by a store without this cluster's keys")
		return ""
	case topo.Failsafe:
		m.doubt = doubted
		return b.failsafeReason(held)
	default:
		return b.deletedReason(held)
	}
}

// deletedReason tells a lease that ran out, which takes leader and member key in
// one revision, from a leader that gave the lead up, which keeps its member key.
func (b *builder) deletedReason(held string) string {
	m := &b.prev.memo
	if b.in.Topology.Empty() {
		return "every key of the cluster was deleted, as patronictl remove does"
	}
	if m.leader == held && m.ownMember && b.in.Topology.Member(held) == nil {
		return "leader key and member key deleted in one revision: its lease has run out"
	}
	return "leader key deleted"
}

// orphan is a node that was fenced: PostgreSQL may go on there without Patroni,
// and take writes that everybody else loses.
type orphan struct {
	member string
	since  time.Time
}

// followOrphan keeps the node of a fenced primary in sight, also when its member
// key has gone with the leader key, for as long as it has not stopped.
func (b *builder) followOrphan() {
	o := &b.next.memo.orphan
	if o.member == "" {
		return
	}
	h := b.in.Health[o.member]
	over := h.LastCheck.After(o.since) && (h.State == Down || h.AskedAt.After(o.since) && !h.Writable)
	if o.member == b.lead || over {
		*o = orphan{}
		return
	}
	if h.Writable && h.AskedAt.After(o.since) {
		b.alarm(o.member + " is an orphan: fenced, and still takes writes from whoever connects to it directly")
	}
}

// learnCluster gives a list of servers the system identifier that nobody has
// written down: the proven primary's, and before there is one that of most nodes.
func (b *builder) learnCluster() {
	topo := &b.in.Topology
	if topo.Kind != StaticList || topo.Initialized {
		return
	}
	count := map[string]int{}
	for i := range topo.Members {
		m := &topo.Members[i]
		if h := b.in.Health[m.Name]; h.Addr == m.Addr && h.SystemID != "" {
			count[h.SystemID]++
		}
	}
	known := b.prev.memo.newest.systemID
	if count[known] == 0 {
		known = most(count)
	}
	if len(count) > 1 {
		b.alarm("the servers of the list have different system identifiers")
	}
	topo.SystemID, topo.Initialized = known, known != ""
}

// most gives the key with the highest count, empty when two have it.
func most(count map[string]int) string {
	best, top := "", 0
	for key, n := range count {
		switch {
		case n > top:
			best, top = key, n
		case n == top:
			best = ""
		}
	}
	return best
}
