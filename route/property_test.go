package route

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// chaos is a cluster in which anything may happen in any order. It remembers
// the little that the promises are about.
type chaos struct {
	world
	names []string

	fenced map[*Node]bool       // lives that ended as a primary's
	ended  map[string]time.Time // when a member was last fenced
	past   bool                 // the keys are a backup's, and nobody has written the leader key since
}

// TestBuildKeepsItsPromises: random histories of keys, probes and outages.
func TestBuildKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &chaos{names: []string{"pg1", "pg2", "pg3"}, fenced: map[*Node]bool{}, ended: map[string]time.Time{}}
		c.now, c.fresh, c.health = time.Unix(1000, 0), Fresh, Health{}
		c.topo = Topology{SystemID: systemID, Initialized: true, Configured: true, Timeline: 1, ClusterID: 1, Revision: 1}
		for _, name := range c.names {
			c.topo.Members = append(c.topo.Members, Member{Name: name, Addr: name + ":5432", State: "running", Role: "replica"})
		}
		c.build()
		t.Repeat(map[string]func(*rapid.T){
			"leader":     c.moveLeader,
			"pause":      func(t *rapid.T) { c.topo.Paused = rapid.Bool().Draw(t, "paused") },
			"member":     c.changeMember,
			"freshness":  func(t *rapid.T) { c.fresh = Freshness(rapid.IntRange(0, 2).Draw(t, "freshness")) },
			"history":    func(t *rapid.T) { c.topo.Timeline += uint32(rapid.IntRange(0, 1).Draw(t, "timelines")) },
			"standby":    func(t *rapid.T) { c.topo.Standby = rapid.IntRange(0, 5).Draw(t, "standby") == 0 },
			"cluster":    func(t *rapid.T) { c.topo.Initialized = rapid.IntRange(0, 5).Draw(t, "initialized") > 0 },
			"probe":      c.probe,
			"failsafe":   func(t *rapid.T) { c.topo.Failsafe = rapid.Bool().Draw(t, "failsafe") },
			"patroni":    c.patroni,
			"etcd blind": func(t *rapid.T) { c.rule = BlindRule(rapid.IntRange(0, 1).Draw(t, "rule")) },
			"set back":   c.setBack,
			"time": func(t *rapid.T) {
				c.pass(time.Duration(rapid.SampledFrom([]int{1, 40, 300, 1000, 4000, 20000}).Draw(t, "ms")) * time.Millisecond)
			},
			"policy":   c.changePolicy,
			"operator": c.operate,
			"":         c.check,
		})
	})
}

func (c *chaos) name(t *rapid.T) string { return rapid.SampledFrom(c.names).Draw(t, "name") }

func (c *chaos) moveLeader(t *rapid.T) {
	c.topo.Leader = rapid.SampledFrom(append(c.names, "")).Draw(t, "leader")
	c.topo.Revision++
	if c.topo.Leader != "" {
		c.topo.LeaderRevision, c.past = c.topo.Revision, false
	}
}

// setBack is another store with keys of long ago.
func (c *chaos) setBack(t *rapid.T) {
	c.topo.ClusterID++
	c.topo.Revision += 1000
	c.topo.LeaderRevision = c.topo.Revision - 500
	c.topo.Leader = rapid.SampledFrom(append(c.names, "")).Draw(t, "leader of old")
	c.past = true
}

func (c *chaos) patroni(t *rapid.T) {
	answers := []RESTAnswer{failsafeOn, lockHeld, refused503, silence}
	c.say(c.name(t), rapid.SampledFrom(answers).Draw(t, "answer"))
}

func (c *chaos) changeMember(t *rapid.T) {
	name := c.name(t)
	c.remove(name)
	if rapid.Bool().Draw(t, "removed") {
		return
	}
	c.topo.Members = append(c.topo.Members, Member{
		Name: name, Addr: name + rapid.SampledFrom([]string{":5432", ":6432", ""}).Draw(t, "port"),
		State:         rapid.SampledFrom([]string{"running", "running", "starting"}).Draw(t, "state"),
		Role:          rapid.SampledFrom([]string{"replica", "replica", "master", "primary", "demoted"}).Draw(t, "role"),
		NoLoadBalance: rapid.IntRange(0, 4).Draw(t, "noloadbalance") == 0,
	})
}

func (c *chaos) probe(t *rapid.T) {
	name := c.name(t)
	switch rapid.IntRange(0, 5).Draw(t, "outcome") {
	case 0:
		h := c.health[name]
		h.State, h.Err = Down, "refused"
		c.health[name] = h
	case 1:
		c.answer(name, false, 0)
		h := c.health[name]
		h.LagKnown = rapid.Bool().Draw(t, "known")
		h.LagBytes = uint64(rapid.IntRange(0, 200).Draw(t, "bytes"))
		h.LagTime = time.Duration(rapid.IntRange(0, 20).Draw(t, "behind")) * time.Second
		c.health[name] = h
	case 2:
		c.answer(name, true, 1)
		h := c.health[name]
		h.SystemID = "666"
		c.health[name] = h
	default:
		c.answer(name, true, uint32(rapid.IntRange(1, 4).Draw(t, "timeline")))
	}
}

// check builds and holds the table to what is promised of every table.
func (c *chaos) check(t *rapid.T) {
	before := c.table
	c.build()
	after := c.table
	if after.Epoch < before.Epoch {
		t.Fatalf("epoch went back from %d to %d", before.Epoch, after.Epoch)
	}
	if (after.Primary == nil) != (after.Reason != "") {
		t.Fatalf("primary %v, reason %q", after.Primary, after.Reason)
	}
	if p := before.Primary; p != nil && after.Primary != p && after.Primary != nil && after.Epoch == before.Epoch {
		t.Fatalf("another primary under the same epoch")
	}
	c.checkPrimary(t, before)
	c.checkReplicas(t)
	c.checkReads(t)
	c.checkLives(t, before)
	if again, events := Build(after, Input{Now: c.now, Topology: c.topo, Freshness: c.fresh, Health: c.health, REST: c.rest, EtcdBlind: c.rule, Policy: c.policy, Admin: c.admin}); !after.Same(again) || len(events) > 0 {
		t.Fatalf("the same input again gave another table: %+v\n%+v\n%v", after, again, events)
	}
}

func (c *chaos) checkPrimary(t *rapid.T, before *Table) {
	p := c.table.Primary
	if p == nil {
		return
	}
	h := c.health[p.Name]
	switch {
	case h.State != Up || !h.Writable || h.InRecovery || h.Addr != p.Addr:
		t.Fatalf("primary %v by %+v", p, h)
	case c.topo.Leader != p.Name && !(c.topo.Leader == "" && c.topo.Paused) && !c.past && !c.claims(p.Name):
		t.Fatalf("primary %v, leader key %q, paused %v, Patroni %+v", p, c.topo.Leader, c.topo.Paused, c.rest[p.Name])
	case c.table.Epoch != before.Epoch && !h.AskedAt.After(c.ended[p.Name]):
		t.Fatalf("primary %v is back by an answer from before it was fenced", p)
	case h.Timeline < c.topo.Timeline:
		t.Fatalf("primary %v on timeline %d, history at %d", p, h.Timeline, c.topo.Timeline)
	case c.topo.Initialized && h.SystemID != systemID:
		t.Fatalf("primary %v with system identifier %s", p, h.SystemID)
	case c.topo.Standby:
		t.Fatalf("primary %v of a standby cluster", p)
	case c.fenced[p]:
		t.Fatalf("primary %v has come back to life", p)
	case c.table.Epoch != before.Epoch && c.fresh != Fresh && (c.rule == BlindStatic || !c.claims(p.Name)):
		t.Fatalf("new primary %v by news that is %v, Patroni %+v", p, c.fresh, c.rest[p.Name])
	case c.table.Epoch != before.Epoch && c.fresh != Fresh:
		for name, other := range c.health {
			m := c.member(name)
			if name != p.Name && m != nil && m.Addr != "" && m.Addr == other.Addr && other.State == Up && other.Writable &&
				other.SystemID == systemID && other.Timeline >= h.Timeline && other.AskedAt.After(c.table.memo.oldSince) {
				t.Fatalf("new primary %v by news that is %v, and %s is writable on timeline %d too", p, c.fresh, name, other.Timeline)
			}
		}
	}
}

// claims reports that Patroni's word may keep or make a primary without the key.
func (c *chaos) claims(name string) bool {
	a := c.rest[name]
	if c.fresh != Fresh {
		// It counted when it was given; what keeps the primary since is SQL.
		return a.Primary || c.table.memo.vouched.member == name || c.table.memo.doubt.kept.After(c.now.Add(-3*time.Second))
	}
	return c.topo.Leader == "" && c.topo.Failsafe && c.now.Sub(c.table.memo.doubt.kept) < 3*time.Second
}

func (c *chaos) checkReplicas(t *rapid.T) {
	if !slices.IsSortedFunc(c.table.Replicas, func(a, b *Node) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	}) {
		t.Fatalf("replicas %v are not in order", c.table.Replicas)
	}
	for _, n := range c.table.Replicas {
		m, h := c.member(n.Name), c.health[n.Name]
		switch {
		case m == nil || m.Addr != n.Addr || !m.Running() || !m.Standby() || m.NoLoadBalance:
			t.Fatalf("replica %v by member %+v", n, m)
		case h.Addr == n.Addr && h.State == Down:
			t.Fatalf("replica %v is down", n)
		case h.Addr == n.Addr && h.State == Up && h.Writable:
			t.Fatalf("replica %v is writable", n)
		case n.Name == c.topo.Leader && !c.past && c.table.memo.vouched.member == "":
			t.Fatalf("replica %v is what the leader key names", n)
		case n == c.table.Primary || c.fenced[n]:
			t.Fatalf("replica %v, leader key %q", n, c.topo.Leader)
		}
	}
}

// checkLives: after a fence the life of the primary is over, and every node of
// the table is in its list.
func (c *chaos) checkLives(t *rapid.T, before *Table) {
	for _, ev := range c.events {
		if ev.Kind != PrimaryFenced {
			continue
		}
		if c.table.Epoch == before.Epoch {
			t.Fatalf("fenced under the same epoch")
		}
		c.ended[ev.Node] = c.now
		if n := before.Lookup(ev.Node); n != nil {
			c.fenced[n] = true
		}
	}
	for _, n := range c.table.Nodes {
		if n.Leads != (n == c.table.Primary || n == c.table.Candidate) {
			t.Fatalf("%v leads: %v, primary %v, candidate %v", n, n.Leads, c.table.Primary, c.table.Candidate)
		}
		if c.fenced[n] {
			t.Fatalf("%v lives on after the fence", n)
		}
	}
	for _, n := range append([]*Node{c.table.Primary, c.table.Candidate}, c.table.Replicas...) {
		if n != nil && c.table.Lookup(n.Name) != n {
			t.Fatalf("%v is not among the nodes", n)
		}
	}
}
