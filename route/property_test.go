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

	fenced map[*Node]bool // lives that ended as a primary's
}

// TestBuildKeepsItsPromises: random histories of keys, probes and outages.
func TestBuildKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &chaos{names: []string{"pg1", "pg2", "pg3"}, fenced: map[*Node]bool{}}
		c.now, c.fresh, c.health = time.Unix(1000, 0), Fresh, Health{}
		c.topo = Topology{SystemID: systemID, Initialized: true, Configured: true, Timeline: 1, ClusterID: 1, Revision: 1}
		for _, name := range c.names {
			c.topo.Members = append(c.topo.Members, Member{Name: name, Addr: name + ":5432", State: "running", Role: "replica"})
		}
		c.build()
		t.Repeat(map[string]func(*rapid.T){
			"leader":    c.moveLeader,
			"pause":     func(t *rapid.T) { c.topo.Paused = rapid.Bool().Draw(t, "paused") },
			"member":    c.changeMember,
			"freshness": func(t *rapid.T) { c.fresh = Freshness(rapid.IntRange(0, 2).Draw(t, "freshness")) },
			"history":   func(t *rapid.T) { c.topo.Timeline += uint32(rapid.IntRange(0, 1).Draw(t, "timelines")) },
			"standby":   func(t *rapid.T) { c.topo.Standby = rapid.IntRange(0, 5).Draw(t, "standby") == 0 },
			"cluster":   func(t *rapid.T) { c.topo.Initialized = rapid.IntRange(0, 5).Draw(t, "initialized") > 0 },
			"probe":     c.probe,
			"policy":    c.changePolicy,
			"operator":  c.operate,
			"time": func(t *rapid.T) {
				c.now = c.now.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "seconds")) * time.Second)
			},
			"": c.check,
		})
	})
}

func (c *chaos) name(t *rapid.T) string { return rapid.SampledFrom(c.names).Draw(t, "name") }

func (c *chaos) moveLeader(t *rapid.T) {
	c.topo.Leader = rapid.SampledFrom(append(c.names, "")).Draw(t, "leader")
	c.topo.Revision++
	c.topo.LeaderRevision = c.topo.Revision
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
	if again, events := Build(after, Input{Now: c.now, Topology: c.topo, Freshness: c.fresh, Health: c.health, Policy: c.policy, Admin: c.admin}); !after.Same(again) || len(events) > 0 {
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
	case c.topo.Leader != p.Name && !(c.topo.Leader == "" && c.topo.Paused):
		t.Fatalf("primary %v, leader key %q, paused %v", p, c.topo.Leader, c.topo.Paused)
	case h.Timeline < c.topo.Timeline:
		t.Fatalf("primary %v on timeline %d, history at %d", p, h.Timeline, c.topo.Timeline)
	case c.topo.Initialized && h.SystemID != systemID:
		t.Fatalf("primary %v with system identifier %s", p, h.SystemID)
	case c.topo.Standby:
		t.Fatalf("primary %v of a standby cluster", p)
	case c.fenced[p]:
		t.Fatalf("primary %v has come back to life", p)
	case c.table.Epoch != before.Epoch && c.fresh != Fresh:
		t.Fatalf("new primary %v by news that is %v", p, c.fresh)
	}
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
		case n.Name == c.topo.Leader || n == c.table.Primary || c.fenced[n]:
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
		if n := before.Lookup(ev.Node); n != nil {
			c.fenced[n] = true
		}
	}
	for _, n := range c.table.Nodes {
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
