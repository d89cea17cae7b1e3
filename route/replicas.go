package route

import (
	"fmt"
	"slices"
)

// chooseReplicas fills the read set: members in the only usable state and role,
// ordered by name, less the ones known to be dead or strange.
func (b *builder) chooseReplicas() {
	for i := range b.members {
		m := &b.members[i]
		if m.Name == b.lead {
			continue
		}
		if why := b.unfit(m); why != "" {
			b.next.Out = append(b.next.Out, Exclusion{Name: m.Name, Reason: why})
			continue
		}
		b.next.Replicas = append(b.next.Replicas, b.next.Lookup(m.Name))
	}
	b.noteReplicas()
}

// unfit says why m gets no reads, empty when it does. A member that has not
// been probed yet is fit: the keys call it running, and a login will tell.
func (b *builder) unfit(m *Member) string {
	h := b.in.Health[m.Name]
	heard := h.Addr == m.Addr
	if heard && h.State == Up && h.Writable {
		b.alarmSecondWriter(m.Name, h)
		return "writable but not the leader"
	}
	switch {
	case m.Addr == "":
		return "no usable conn_url"
	case !m.Running():
		return "state " + m.State
	case !m.Standby():
		return "role " + m.Role
	case m.NoLoadBalance:
		return "noloadbalance"
	case b.in.Admin[m.Name] != Ready:
		return b.in.Admin[m.Name].String() + " by an operator"
	case heard && h.State == Down:
		return withFault("down", h.Err)
	case heard && b.in.Topology.Initialized && h.SystemID != "" && h.SystemID != b.in.Topology.SystemID:
		why := fmt.Sprintf("system identifier %s is not the cluster's", h.SystemID)
		b.alarm(m.Name + ": " + why)
		return why
	default:
		return ""
	}
}

// alarmSecondWriter tells of a node that takes writes beside the leader. In a
// switchover the old leader's last answer is from before the key moved, which
// is nothing to wake anybody for.
func (b *builder) alarmSecondWriter(name string, h NodeHealth) {
	if b.lead != "" && h.AskedAt.After(b.next.memo.leaderSince) {
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
	for _, x := range b.next.Out {
		if x.Name == name {
			return x.Reason
		}
	}
	if name == b.lead {
		return "named by the leader key"
	}
	return "member key deleted"
}
