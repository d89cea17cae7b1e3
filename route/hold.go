package route

import (
	"slices"
	"time"
)

// Hold is an announced switchover: until it is over no new transaction begins on
// the primary, so that those that run come to their end before PostgreSQL closes
// them (rule 27). It stays in the table for as long as the request stands; what
// counts is Until.
type Hold struct {
	Since, Until time.Time
	Warm         []*Node // those that may be the next primary; Patroni may still choose
	Confirmed    bool    // the leader is on its way down
}

// announce carries a switchover over from the last table, or begins one: once for
// each request, so that one that comes to nothing stops work once.
func (b *builder) announce() {
	topo, m := &b.in.Topology, &b.next.memo
	request := topo.Failover
	if request != nil && request.ScheduledAt.After(b.in.Now) {
		b.wakeAt(request.ScheduledAt)
	}
	moves := request.Due(b.in.Now) && topo.Leader != "" && request.Candidate != topo.Leader &&
		(request.Leader == "" || request.Leader == topo.Leader)
	if !moves {
		if b.prev.Hold != nil && topo.Leader == m.holds {
			b.event(SwitchoverCalledOff, topo.Leader, "failover key cleared")
		}
		m.request, m.holds = FailoverRequest{}, ""
		return
	}
	if m.request == *request && m.holds == topo.Leader {
		b.next.Hold = b.confirm(b.prev.Hold)
		return
	}
	m.request, m.holds = *request, topo.Leader
	if b.in.Freshness != Fresh {
		return
	}
	h := &Hold{Since: b.in.Now, Until: b.in.Now.Add(b.in.Policy.SwitchoverHold)}
	for _, name := range successors(topo) {
		if n := b.next.Lookup(name); n != nil {
			h.Warm = append(h.Warm, n)
		}
	}
	b.next.Hold = h
	to := request.Candidate
	if to == "" {
		to = "whom Patroni chooses"
	}
	b.event(SwitchoverAnnounced, topo.Leader, "failover key: to "+to)
}

// confirm lets a hold count anew, once, when Patroni shows that it has begun to stop
// the leader: its member key says "running" without a position then. On a busy
// database the checkpoint before the stop takes longer than the announcement allows
// for; one that takes longer than this as well is not waited for.
func (b *builder) confirm(h *Hold) *Hold {
	leader := b.in.Topology.Member(b.in.Topology.Leader)
	if h == nil || h.Confirmed || leader == nil || !leader.Running() || leader.Timeline != 0 || leader.Location != 0 {
		return h
	}
	next := *h
	next.Confirmed = true
	next.Until = b.in.Now.Add(b.in.Policy.SwitchoverHold)
	return &next
}

// successors names the members that the failover request may make the leader.
func successors(topo *Topology) []string {
	var names []string
	for i := range topo.Members {
		m := &topo.Members[i]
		wanted := topo.Failover.Candidate == m.Name || topo.Failover.Candidate == "" && m.Running() && m.Standby()
		if wanted && m.Name != topo.Leader {
			names = append(names, m.Name)
		}
	}
	slices.Sort(names)
	return names
}

// wakeAt has Build called again by a certain time.
func (b *builder) wakeAt(at time.Time) {
	if b.next.Wake.IsZero() || at.Before(b.next.Wake) {
		b.next.Wake = at
	}
}
