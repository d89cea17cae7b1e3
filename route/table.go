package route

import (
	"slices"
	"time"
)

// Table is where work goes now. It is immutable once published; readers keep it
// behind an atomic pointer and never see half of a change.
type Table struct {
	// Epoch is raised when the proven primary (system identifier, member,
	// timeline) changes or is fenced. It fences the use of the primary only: a
	// server connection made under another epoch must not carry a write.
	Epoch uint64

	Primary   *Node      // nil while none is proven
	Candidate *Node      // the leader key's node while it is not proven, else nil
	Replicas  []*Node    // ordered by name, so that turns alternate
	Nodes     []*Node    // every member that has an address, by name
	Standings []Standing // of Nodes, at the same places

	Reason    string      // why there is no primary; empty when there is one
	Out       []Exclusion // members that get no reads, and why; the primary is not listed
	Alarms    []string    // what somebody has to look at, sorted
	Freshness Freshness

	Hold *Hold // the announced switchover, nil without one

	// Asks are the questions to Patroni whose answers the next Build wants.
	Asks []Ask
	// Wake is when Build is to be called again although nothing may have happened
	// by then; zero for never.
	Wake time.Time

	Reads   Reads   // who serves reads
	Balance Balance // how a new reader gets its node

	turns []*Node // one round of reads
	memo  memo
}

// memo is what one Build leaves for the next.
type memo struct {
	generation  uint64    // last one given out
	proven      identity  // zero: none, or fenced
	leader      string    // value of the leader key
	leaderSince time.Time // when leader was first seen with this value
	lostAt      time.Time // since when there is no primary
	clusterID   uint64    // of the store that last had our keys
	revision    int64     // of our keys then
	strange     bool      // the store in use is not that one, and has no keys of ours
	ownMember   bool      // the leader had a member key
	relic       relic     // what a store that was set back says about the leader
	newest      identity  // the highest timeline proven of a system identifier; member is empty
	apiURL      string    // of proven's Patroni
	doubt       doubt     // the key of proven is gone, with failsafe_mode on
	vouched     vouched   // proven was accepted by its word, not by the key
	oldSince    time.Time // since when the news is not Fresh; zero while it is
	fencedAt    time.Time // when a primary was last fenced
	orphan      orphan    // the last primary that was fenced, while it may take writes

	lag  map[string]lagState  // by member name; never changed, only replaced
	warm map[string]time.Time // since when a slow start goes on; the same

	request FailoverRequest // the last one that was due; zero without one
	holds   string          // the leader then
}

// identity is what must be equal for a primary to be the same primary.
type identity struct {
	systemID string
	member   string
	timeline uint32
}

// Has reports whether n may serve role. It compares pointers: an earlier life
// of the same name is another node.
func (t *Table) Has(role Role, n *Node) bool {
	if n == nil {
		return false
	}
	if role == Primary {
		return t.Primary == n
	}
	if t.Reads == ReadsOnPrimary {
		return t.Primary == n
	}
	return slices.Contains(t.Replicas, n)
}

// Lookup gives the current life of the named node, or nil.
func (t *Table) Lookup(name string) *Node {
	for _, n := range t.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Same reports whether t and u send work to the same places for the same
// reasons, so that publishing u instead of t would tell nobody anything.
func (t *Table) Same(u *Table) bool {
	return t.Epoch == u.Epoch && t.Primary == u.Primary && t.Candidate == u.Candidate && t.Hold == u.Hold &&
		t.Reason == u.Reason && t.Freshness == u.Freshness &&
		slices.Equal(t.Replicas, u.Replicas) && slices.Equal(t.Nodes, u.Nodes) &&
		t.Reads == u.Reads && t.Balance == u.Balance && slices.Equal(t.Standings, u.Standings) &&
		slices.Equal(t.Out, u.Out) && slices.Equal(t.Alarms, u.Alarms)
}
