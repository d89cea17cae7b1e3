package route

import (
	"fmt"
	"slices"
)

// chooseReplicas fills the read set: members in the only usable state and role,
// ordered by name, less the ones that are known to be unfit or that the operator
// wants elsewhere.
func (b *builder) chooseReplicas() {
	fit := make([]*Member, 0, len(b.members))
	for i := range b.members {
		m := &b.members[i]
		if m.Name == b.lead {
			continue
		}
		cause, why := b.unfit(m)
		if cause == Fit {
			cause, why = b.unwanted(m)
		}
		if cause != Fit {
			b.leaveOut(m, cause, why)
			continue
		}
		fit = append(fit, m)
	}
	for _, m := range b.preferred(fit) {
		b.next.Replicas = append(b.next.Replicas, b.next.Lookup(m.Name))
	}
	b.forgetLag()
	b.noteReplicas()
	b.noteWarming()
	b.next.turns = turnsOf(b.next)
	b.placeReads()
}

func (b *builder) leaveOut(m *Member, cause Cause, why string) {
	b.next.Out = append(b.next.Out, Exclusion{Name: m.Name, Reason: why, Cause: cause})
	if n := b.next.Lookup(m.Name); n != nil {
		b.standing(n).Lagging = cause == OutLag
	}
}

// unfit says why m cannot serve reads. A member that has not been probed yet is
// fit: the keys call it running, and a login will tell.
func (b *builder) unfit(m *Member) (Cause, string) {
	h := b.in.Health[m.Name]
	heard := h.Addr == m.Addr
	if heard && h.State == Up && h.Writable {
		b.alarmSecondWriter(m.Name, h)
		return OutWritable, "writable but not the leader"
	}
	switch {
	case m.Addr == "":
		return OutAddress, "no usable conn_url"
	case !m.Running():
		return OutState, "state " + m.State
	case !m.Standby():
		return OutRole, "role " + m.Role
	case heard && h.State == Down:
		return OutDown, withFault("down", h.Err)
	case b.in.Topology.Kind == StaticList && !(heard && h.InRecovery):
		// There is nobody but SQL to call it a replica.
		return OutState, withFault("has not answered a probe yet", h.Err)
	case heard && b.in.Topology.Initialized && h.SystemID != "" && h.SystemID != b.in.Topology.SystemID:
		why := fmt.Sprintf("system identifier %s is not the cluster's", h.SystemID)
		b.alarm(m.Name + ": " + why)
		return OutSystem, why
	default:
		return Fit, ""
	}
}

// unwanted says why m, which could serve reads, shall not.
func (b *builder) unwanted(m *Member) (Cause, string) {
	state := b.in.Admin[m.Name]
	lag := b.judgeLag(m)
	switch {
	case state == Maint:
		return OutMaint, "maint by an operator"
	case state == Drain:
		return OutDrain, "drain by an operator"
	case m.NoLoadBalance || b.tags(m)["noloadbalance"] == "true":
		return OutTag, "noloadbalance"
	case b.weight(m.Name) == 0:
		return OutWeight, "weight 0"
	case lag != "":
		return OutLag, lag
	default:
		return Fit, ""
	}
}

// alarmSecondWriter tells of a node that takes writes beside the leader. In a
// switchover the old leader's last answer is from before the key moved, which
// is nothing to wake anybody for.
func (b *builder) alarmSecondWriter(name string, h NodeHealth) {
	if b.lead != "" && name != b.next.memo.orphan.member && h.AskedAt.After(b.next.memo.leaderSince) {
		b.alarm(name + " is writable but is not the leader")
	}
}

// noteReplicas compares the read set with the last table's.
func (b *builder) noteReplicas() {
	for _, n := range b.next.Replicas {
		if !slices.ContainsFunc(b.prev.Replicas, n.sameName) {
			b.event(ReplicaIn, n.Name, n.Addr)
		}
	}
	for _, n := range b.prev.Replicas {
		if !slices.ContainsFunc(b.next.Replicas, n.sameName) {
			b.event(ReplicaOut, n.Name, b.outReason(n.Name))
		}
	}
}

func (n *Node) sameName(other *Node) bool { return n.Name == other.Name }

func (b *builder) outReason(name string) string {
	if x := b.next.exclusion(name); x != nil {
		return x.Reason
	}
	if name == b.lead {
		return "named by the leader key"
	}
	return "member key deleted"
}

// placeReads decides what becomes of reads when the read set is empty. Before
// there was news of the cluster nobody knows whether it is.
func (b *builder) placeReads() {
	t := b.next
	switch {
	case len(t.Replicas) > 0 || b.in.Topology.Empty():
	case b.in.Policy.NoReplicas == RejectReads:
		t.Reads = ReadsRejected
	case t.Primary != nil:
		t.Reads = ReadsOnPrimary
	default:
		t.Reads = ReadsWait
	}
	if t.Reads != b.prev.Reads {
		b.event(ReadsMoved, "", t.Reads.String())
	}
}
