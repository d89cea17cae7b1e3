package route

import (
	"fmt"
	"time"
)

// choosePrimary sets proof when SQL proves lead to be the primary, else reason.
func (b *builder) choosePrimary() {
	alarms := b.alarms
	proof, reason := b.prove()
	if reason != "" {
		if name := b.vouch(); name != "" {
			b.alarms = alarms // what is wrong with the other one no longer matters
			b.accept(name)
			proof, reason = b.prove()
		}
	}
	if reason != "" {
		b.reason = reason
		return
	}
	if held := b.next.memo.proven; held.member == b.lead && held != proof {
		// Same name, another primary: nothing of its former life may be reused.
		b.ended = b.lead
	}
	b.proof = proof
}

// prove gives lead's identity, or the first reason why it is not the primary.
func (b *builder) prove() (identity, string) {
	topo := &b.in.Topology
	switch {
	case b.lead == "":
		return identity{}, b.noLeader()
	case topo.Standby:
		return identity{}, "standby cluster: its leader is in recovery"
	}
	addr := b.leadAddr()
	if addr == "" {
		return identity{}, "leader " + b.lead + " has no member key with an address"
	}
	h, asked := b.in.Health[b.lead]
	if !asked || h.Addr != addr {
		return identity{}, b.lead + " has not been probed yet"
	}
	if reason := b.notWritable(&h); reason != "" {
		b.tellHung(&h)
		return identity{}, reason
	}
	if reason := b.wrongCluster(&h); reason != "" {
		b.alarm(reason)
		return identity{}, reason
	}
	if b.next.memo.doubt.pending() {
		return identity{}, "leader key deleted with failsafe_mode on: asking Patroni of " + b.lead
	}
	found := identity{systemID: h.SystemID, member: b.lead, timeline: h.Timeline}
	if found == b.next.memo.proven {
		return found, ""
	}
	if reason := b.notAccepted(&h); reason != "" {
		return identity{}, reason
	}
	return found, ""
}

// noLeader says why there is nobody to prove.
func (b *builder) noLeader() string {
	topo := &b.in.Topology
	if topo.Kind == StaticList {
		return b.noWriter
	}
	if topo.Empty() {
		if topo.Revision == 0 {
			return "nothing heard from etcd yet"
		}
		b.alarm("no key of this cluster exists: wrong scope, or the cluster was removed")
		return "no key of this cluster exists"
	}
	return "no leader key"
}

// leadAddr gives where lead listens: by its member key, or, when
// that is gone or unreadable, by the node of the last table.
func (b *builder) leadAddr() string {
	if m := b.in.Topology.Member(b.lead); m != nil && m.Addr != "" {
		return m.Addr
	}
	if n := b.prev.Lookup(b.lead); n != nil {
		return n.Addr
	}
	return ""
}

// notWritable says why lead takes no write now, empty when it does. A check
// error leaves the last answer standing (rule 25).
func (b *builder) notWritable(h *NodeHealth) string {
	why := ""
	switch {
	case h.State == Down:
		why = b.lead + " is down"
	case h.Writable:
		return ""
	case h.InRecovery:
		why = b.lead + " is in recovery"
	default:
		why = b.lead + " has not answered a probe yet"
	}
	return withFault(why, h.Err)
}

// tellHung raises the alarm about a leader that keeps its key and says nothing.
// Patroni on a host that lives does not fail over for that, so somebody has to.
func (b *builder) tellHung(h *NodeHealth) {
	if h.State == Down && h.Silent && b.in.Topology.Leader == b.lead {
		b.alarm(b.lead + " has the leader key and does not answer: it hangs, or its host is gone")
	}
}

func withFault(why, fault string) string {
	if fault == "" {
		return why
	}
	return why + ": " + fault
}

// wrongCluster says why lead's data is not the cluster's newest, empty when it is.
func (b *builder) wrongCluster(h *NodeHealth) string {
	topo := &b.in.Topology
	if topo.Initialized && h.SystemID != topo.SystemID {
		return fmt.Sprintf("%s has system identifier %s, the cluster's is %s", b.lead, h.SystemID, topo.SystemID)
	}
	if h.Timeline < topo.Timeline {
		return fmt.Sprintf("%s is on timeline %d, the cluster's history is at %d", b.lead, h.Timeline, topo.Timeline)
	}
	if newest := b.newestTimeline(); b.isRelic() && h.Timeline < newest {
		return fmt.Sprintf("%s is on timeline %d, a primary was on %d, and the leader key is from a backup", b.lead, h.Timeline, newest)
	}
	return ""
}

// notAccepted says why a new primary must wait although SQL calls it writable.
func (b *builder) notAccepted(h *NodeHealth) string {
	topo := &b.in.Topology
	switch {
	case b.spoken, topo.Kind == StaticList:
		return "" // no key is needed
	case b.in.Freshness != Fresh:
		// Rule 24: nothing new is believed from old news.
		return b.newsAge() + ": no new primary is accepted"
	case topo.Leader != b.lead:
		return "no leader key"
	case !topo.Initialized:
		return "no initialize key: the cluster's system identifier is unknown"
	case h.AskedAt.Before(latest(b.next.memo.leaderSince, b.next.memo.fencedAt)):
		// It may have been writable as somebody else's orphan.
		return withFault(b.lead+" has not answered since the leader key named it", h.Err)
	default:
		return ""
	}
}

// newsAge says how old the news is.
func (b *builder) newsAge() string {
	of := "etcd"
	if b.in.Topology.Kind == PatroniREST {
		of = "Patroni"
	}
	return of + "'s news is " + b.in.Freshness.String()
}

// proofText says by what the primary was proven, for the log.
func (b *builder) proofText() string {
	m := &b.next.memo
	switch {
	case b.in.Topology.Kind == StaticList:
		return fmt.Sprintf("the only writable server of the list on timeline %d", b.proof.timeline)
	case m.vouched.member == b.lead:
		return fmt.Sprintf("the only writable node on timeline %d, and its Patroni says primary; %s",
			b.proof.timeline, b.newsAge())
	case !m.doubt.kept.IsZero():
		return fmt.Sprintf("its Patroni claims failsafe mode; writable, timeline %d", b.proof.timeline)
	default:
		return fmt.Sprintf("leader key revision %d, writable, timeline %d, %v after the key",
			b.in.Topology.LeaderRevision, b.proof.timeline, b.in.Now.Sub(m.leaderSince).Round(time.Millisecond))
	}
}

// Urgent names the members whose next answer may make a primary: the leader
// that is not proven yet, and the candidate of a switchover that is due. They
// are probed every few milliseconds, for what PostgreSQL needs from the key to
// the first write is 0.2 s and every probe interval is added to it.
func Urgent(t *Table, topo *Topology, now time.Time) []string {
	var names []string
	if t.Candidate != nil {
		names = append(names, t.Candidate.Name)
	}
	if topo.Kind == StaticList && t.Primary == nil {
		// Whoever is promoted next, nobody announces it.
		names = names[:0]
		for i := range topo.Members {
			names = append(names, topo.Members[i].Name)
		}
	}
	if !topo.Failover.Due(now) {
		return names
	}
	return append(names, successors(topo)...)
}
