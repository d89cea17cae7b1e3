package route

import "fmt"

// strangeStore reports that the keys are missing because this is not the store
// that had them: another cluster id, or a revision from before.
func (b *builder) strangeStore() bool {
	return b.in.Topology.Empty() && (b.prev.memo.strange || b.otherStore())
}

// otherStore reports that the keys are not those of the store before: it was
// replaced, or set back to a backup (ha.md 2.1 rule 12).
func (b *builder) otherStore() bool {
	topo, m := &b.in.Topology, &b.prev.memo
	return topo.ClusterID != m.clusterID || topo.Revision < m.revision
}

// noteStore remembers the store that has the cluster's keys.
func (b *builder) noteStore() {
	topo, m := &b.in.Topology, &b.next.memo
	m.strange = b.strangeStore()
	if !topo.Empty() {
		m.clusterID, m.revision = topo.ClusterID, topo.Revision
	}
	m.ownMember = topo.Leader != "" && topo.Member(topo.Leader) != nil
}

// relic is what the leader key said when a store was found set back: news of the
// day of the backup. It ends when somebody writes the key.
type relic struct {
	found    bool
	leader   string
	revision int64
}

// noteRelic sees to it that the past is not taken for an event.
func (b *builder) noteRelic() {
	topo, m := &b.in.Topology, &b.next.memo
	switch {
	case topo.Empty():
	case b.prev.memo.revision != 0 && b.otherStore() && (topo.Leader == "" || topo.Leader != m.proven.member):
		m.relic = relic{found: true, leader: topo.Leader, revision: topo.LeaderRevision}
	case topo.Leader != "" && topo.LeaderRevision != m.relic.revision:
		m.relic = relic{}
	}
}

// isRelic reports that nobody has written the leader key since the store was set
// back; that it was deleted says no more than that a lease of then has run out.
func (b *builder) isRelic() bool { return b.next.memo.relic.found }

// relicReason says why held must go although only the past speaks against it: the
// node that the key names takes writes on a newer timeline, or on the same one
// while held takes none.
func (b *builder) relicReason(held string) string {
	topo, proven := &b.in.Topology, &b.next.memo.proven
	h, own := b.in.Health[topo.Leader], b.in.Health[held]
	rival := topo.Leader != "" && h.State == Up && h.Writable && h.SystemID == proven.systemID &&
		h.AskedAt.After(b.next.memo.leaderSince)
	writable := own.State == Up && own.Writable
	if rival && (h.Timeline > proven.timeline || h.Timeline == proven.timeline && !writable) {
		return fmt.Sprintf("the leader key, set back, names %s, which is writable on timeline %d", topo.Leader, h.Timeline)
	}
	b.alarm("etcd was set back to older keys: " + held + " stays the primary while it is writable")
	return ""
}

// newestTimeline is the highest timeline that was proven of this cluster's data.
func (b *builder) newestTimeline() uint32 {
	if n := &b.next.memo.newest; n.systemID == b.in.Topology.SystemID || !b.in.Topology.Initialized {
		return n.timeline
	}
	return 0
}
