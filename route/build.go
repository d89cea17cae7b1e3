package route

import (
	"fmt"
	"slices"
	"time"
)

// Input is everything that Build decides by.
type Input struct {
	Now       time.Time
	Topology  Topology
	Freshness Freshness
	Health    Health
	REST      Answers   // to the Asks of the tables before
	EtcdBlind BlindRule // what may be believed without news from the store
	Policy    Policy
	Admin     map[string]AdminState // by member name; absent is Ready
}

// BlindRule says whether a new primary may be accepted while the store's news is
// not Fresh (rule 24).
type BlindRule int

// The two rules; the zero value is that of rule 24.
const (
	BlindProbe  BlindRule = iota // the one writable node on the highest timeline, if its REST says primary
	BlindStatic                  // nobody new
)

// String gives the rule as the configuration names it.
func (r BlindRule) String() string {
	switch r {
	case BlindProbe:
		return "probe"
	case BlindStatic:
		return "static"
	default:
		panic(fmt.Sprintf("BUG: route.BlindRule(%d)", int(r)))
	}
}

// Build gives the table that follows prev, and the decisions that led to it.
// prev is nil the first time. It must be called with every change of the
// topology in order, one store revision at a time: what it did not see, it
// cannot fence.
func Build(prev *Table, in Input) (*Table, []Event) {
	if prev == nil {
		prev = &Table{memo: memo{lostAt: in.Now}}
	}
	b := &builder{prev: prev, in: &in, next: &Table{Epoch: prev.Epoch, Freshness: in.Freshness, memo: prev.memo}}
	b.learnCluster()
	b.noteFreshness()
	b.noteLeader()
	b.noteRelic()
	b.fence()
	b.choosePrimary()
	b.buildNodes()
	b.placePrimary()
	b.announce()
	b.buildStandings()
	b.chooseReplicas()
	b.noteAlarms()
	b.noteStore()
	return b.next, b.events
}

// builder holds one Build while it runs.
type builder struct {
	prev *Table
	in   *Input
	next *Table

	lead     string   // member that may become or stay primary, empty for none
	ended    string   // member whose life as the leader ended, empty for none
	proof    identity // of lead, zero while it is not proven
	noWriter string   // of a list: why nobody leads it
	spoken   bool     // SQL and Patroni have made lead the primary in the place of the key
	reason   string   // why there is no proof
	alarms   []string
	events   []Event
	members  []Member // by name

	lagCopied bool // memo.lag is this builder's own
}

func (b *builder) event(kind EventKind, node, reason string) {
	b.events = append(b.events, Event{Kind: kind, Node: node, Reason: reason, Epoch: b.next.Epoch})
}

func (b *builder) alarm(text string) { b.alarms = append(b.alarms, text) }

func (b *builder) noteFreshness() {
	// The first table has nothing to compare with: Blind is where everybody starts.
	if b.prev.Freshness != b.in.Freshness {
		b.event(FreshnessMoved, "", b.prev.Freshness.String()+" -> "+b.in.Freshness.String())
	}
	switch m := &b.next.memo; {
	case b.in.Freshness == Fresh:
		m.oldSince = time.Time{}
	case m.oldSince.IsZero():
		m.oldSince = b.in.Now
	}
}

// noteLeader remembers since when the key has its value: only an answer to a
// question asked later proves anything about a new leader.
func (b *builder) noteLeader() {
	topo, m := &b.in.Topology, &b.next.memo
	if topo.Leader == m.leader {
		return
	}
	m.leader, m.leaderSince = topo.Leader, b.in.Now
	if topo.Leader != "" {
		b.event(LeaderNamed, topo.Leader, "leader key")
	}
}

// buildNodes carries each node's life over from the last table, or begins one.
func (b *builder) buildNodes() {
	b.members = slices.Clone(b.in.Topology.Members)
	slices.SortFunc(b.members, func(x, y Member) int { return compareNames(x.Name, y.Name) })
	for i := range b.members {
		if m := &b.members[i]; m.Addr != "" {
			b.next.Nodes = append(b.next.Nodes, b.life(m.Name, m.Addr))
		}
	}
	// A primary that is kept although its member key is gone (pause, another
	// store) keeps its node as well; an orphan keeps one to be looked at.
	b.followOrphan()
	for _, name := range []string{b.lead, b.next.memo.orphan.member} {
		if old := b.prev.Lookup(name); name != "" && old != nil && b.next.Lookup(name) == nil {
			b.next.Nodes = append(b.next.Nodes, b.life(old.Name, old.Addr))
			slices.SortFunc(b.next.Nodes, func(x, y *Node) int { return compareNames(x.Name, y.Name) })
		}
	}
}

// life gives the node of the last table while it is the same life, else a new one.
func (b *builder) life(name, addr string) *Node {
	old := b.prev.Lookup(name)
	if old != nil && old.Addr == addr && name != b.ended && b.prev.leads(old) == (name == b.lead) {
		return old
	}
	b.next.memo.generation++
	return &Node{Name: name, Addr: addr, Generation: b.next.memo.generation, Leads: name == b.lead}
}

// leads reports whether n is the leader's node, proven or not.
func (t *Table) leads(n *Node) bool { return n == t.Primary || n == t.Candidate }

// placePrimary enters the outcome of choosePrimary into the table.
func (b *builder) placePrimary() {
	node, m := b.next.Lookup(b.lead), &b.next.memo
	if b.proof == (identity{}) {
		b.next.Candidate, b.next.Reason = node, b.reason
		if b.prev.Primary != nil && b.ended == "" {
			m.lostAt = b.in.Now
			b.event(PrimaryLost, b.prev.Primary.Name, b.reason)
		}
		return
	}
	b.next.Primary = node
	kind := PrimaryBack
	if m.proven != b.proof {
		b.next.Epoch++
		kind = PrimaryProven
	}
	if kind == PrimaryProven || b.prev.Primary == nil {
		b.event(kind, b.lead, b.proofText())
		b.events[len(b.events)-1].Took = b.in.Now.Sub(m.lostAt)
	}
	m.proven = b.proof
	if b.lead == b.in.Topology.Leader {
		m.relic = relic{} // it was right
	}
	m.newest = identity{systemID: b.proof.systemID, timeline: max(b.proof.timeline, b.newestTimeline())}
}

// noteAlarms compares the alarms with the last table's.
func (b *builder) noteAlarms() {
	for name, h := range b.in.Health {
		if h.CheckError {
			b.alarm(name + ": " + h.Err)
		}
	}
	slices.Sort(b.alarms)
	b.next.Alarms = slices.Compact(b.alarms)
	for _, text := range b.next.Alarms {
		if !slices.Contains(b.prev.Alarms, text) {
			b.event(AlarmRaised, "", text)
		}
	}
	for _, text := range b.prev.Alarms {
		if !slices.Contains(b.next.Alarms, text) {
			b.event(AlarmCleared, "", text)
		}
	}
}
