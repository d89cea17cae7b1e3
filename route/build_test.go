package route

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// world is a topology, its probes and the table that they led to.
type world struct {
	now    time.Time
	topo   Topology
	fresh  Freshness
	health Health
	policy Policy
	admin  map[string]AdminState
	table  *Table
	events []Event // of the last build
	rest   Answers
	rule   BlindRule
}

const systemID = "7301"

// newWorld gives three members of which pg1 is the proven primary, epoch 1.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{now: time.Unix(1000, 0), fresh: Fresh, health: Health{}}
	w.topo = Topology{
		Leader: "pg1", LeaderRevision: 5, SystemID: systemID, Initialized: true,
		Configured: true, Timeline: 1, Revision: 10, ClusterID: 1,
	}
	for _, name := range []string{"pg1", "pg2", "pg3"} {
		w.topo.Members = append(w.topo.Members, Member{
			Name: name, Addr: name + ":5432", APIURL: "http://" + name + ":8008", State: "running", Role: "replica",
		})
	}
	w.member("pg1").Role = "master"
	w.build()
	w.answer("pg1", true, 1)
	w.answer("pg2", false, 0)
	w.answer("pg3", false, 0)
	w.build()
	if w.primary() != "pg1" || w.table.Epoch != 1 {
		t.Fatalf("new world: primary %s, epoch %d, %q", w.primary(), w.table.Epoch, w.table.Reason)
	}
	return w
}

// build lets 10 ms pass and builds the next table.
func (w *world) build() {
	w.now = w.now.Add(10 * time.Millisecond)
	topo := w.topo
	topo.Members = slices.Clone(w.topo.Members)
	w.table, w.events = Build(w.table, Input{
		Now: w.now, Topology: topo, Freshness: w.fresh, Health: w.health, REST: w.rest, EtcdBlind: w.rule,
		Policy: w.policy, Admin: maps.Clone(w.admin),
	})
}

// say is what Patroni of name answers to a question of now.
func (w *world) say(name string, a RESTAnswer) {
	w.now = w.now.Add(time.Millisecond)
	a.AskedAt, a.Primary = w.now, a.Code == 200
	if w.rest == nil {
		w.rest = Answers{}
	}
	w.rest[name] = a
}

// pass lets time go by without a build.
func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

// asked gives the names of those whom the table wants asked by now.
func (w *world) asked() string {
	var names []string
	for _, a := range w.table.Asks {
		if !a.Since.After(w.now) {
			names = append(names, a.Node)
		}
	}
	return strings.Join(names, " ")
}

// whys gives the reasons of the last build's events of a kind.
func (w *world) whys(kind EventKind) string {
	var all []string
	for _, ev := range w.events {
		if ev.Kind == kind {
			all = append(all, ev.Node+" "+ev.Reason)
		}
	}
	return strings.Join(all, "; ")
}

func (w *world) member(name string) *Member { return w.topo.Member(name) }

// answer is a probe of name, asked now.
func (w *world) answer(name string, writable bool, timeline uint32) {
	w.now = w.now.Add(time.Millisecond)
	addr := ""
	if m := w.member(name); m != nil {
		addr = m.Addr
	} else if n := w.table.Lookup(name); n != nil {
		addr = n.Addr
	}
	w.health[name] = NodeHealth{
		Addr: addr, State: Up, Writable: writable, InRecovery: !writable,
		Timeline: timeline, SystemID: systemID, AskedAt: w.now, LastCheck: w.now,
	}
}

func (w *world) down(name, why string) {
	h := w.health[name]
	h.Addr, h.State, h.Err = w.member(name).Addr, Down, why
	w.health[name] = h
}

func (w *world) remove(name string) {
	w.topo.Members = slices.DeleteFunc(w.topo.Members, func(m Member) bool { return m.Name == name })
}

func (w *world) primary() string {
	if w.table.Primary == nil {
		return "none"
	}
	return w.table.Primary.Name
}

func (w *world) replicas() string {
	var names []string
	for _, n := range w.table.Replicas {
		names = append(names, n.Name)
	}
	return strings.Join(names, " ")
}

func (w *world) kinds() []EventKind {
	var kinds []EventKind
	for _, ev := range w.events {
		kinds = append(kinds, ev.Kind)
	}
	return kinds
}

// TestPrimary: each row changes the world of newWorld, builds once, and says
// who is primary then, under which epoch, and why nobody is.
func TestPrimary(t *testing.T) {
	rows := []struct {
		name    string
		rule    string
		change  func(*world)
		primary string
		epoch   uint64
		reason  string // a part of it
	}{
		{"nothing", "22: the epoch is raised when the proven primary changes or is fenced",
			func(*world) {}, "pg1", 1, ""},
		{"put again", "23: put again by the same node: nothing",
			func(w *world) { w.topo.LeaderRevision = 99 }, "pg1", 1, ""},
		{"moved", "23: key to another node: close all at once",
			func(w *world) { w.topo.Leader = "pg2" }, "none", 2, "pg2 is in recovery"},
		{"moved in pause", "23: key to another node: close all at once",
			func(w *world) { w.topo.Leader, w.topo.Paused = "pg2", true }, "none", 2, "pg2 is in recovery"},
		{"moved while stale", "a fence needs no freshness: the key was seen to move",
			func(w *world) { w.topo.Leader, w.fresh = "pg2", Stale }, "none", 2, "pg2 is in recovery"},
		{"moved and writable before", "22, 25: proof is an answer from after the key changed",
			func(w *world) { w.answer("pg2", true, 2); w.topo.Leader = "pg2" }, "none", 2, "since the leader key named it"},
		{"deleted", "23: any other delete: close all",
			func(w *world) { w.topo.Leader = "" }, "none", 2, "no leader key"},
		{"crash", "23: leader and member key gone in one revision",
			func(w *world) { w.topo.Leader = ""; w.remove("pg1") }, "none", 2, "no leader key"},
		{"deleted in pause", "23: deleted in pause: nothing",
			func(w *world) { w.topo.Leader, w.topo.Paused = "", true }, "pg1", 1, ""},
		{"lease gone in pause", "23: deleted in pause: nothing, the member key included",
			func(w *world) { w.topo.Leader, w.topo.Paused = "", true; w.remove("pg1") }, "pg1", 1, ""},
		{"read-only in pause", "pause keeps the primary only while SQL says writable",
			func(w *world) { w.topo.Leader, w.topo.Paused = "", true; w.answer("pg1", false, 0) }, "none", 1, "pg1 is in recovery"},
		{"removed", "23: any other delete; patronictl remove",
			func(w *world) { w.topo = Topology{Revision: 11, ClusterID: 1} }, "none", 2, "no key of this cluster exists"},
		{"empty store", "ha.md 2.1 rule 12: another store without our keys says nothing",
			func(w *world) { w.topo = Topology{Revision: 99, ClusterID: 2} }, "pg1", 1, ""},
		{"set back to nothing", "ha.md 2.1 rule 12: a store set back to before the cluster says nothing",
			func(w *world) { w.topo = Topology{Revision: 3, ClusterID: 1} }, "pg1", 1, ""},
		{"set back, then written to", "the same, whatever else is written to it",
			func(w *world) {
				w.topo = Topology{Revision: 3, ClusterID: 1}
				w.build()
				w.topo.Revision = 99
			}, "pg1", 1, ""},
		{"another timeline in pause", "24: without a leader key nobody new is accepted",
			func(w *world) { w.topo.Leader, w.topo.Paused = "", true; w.answer("pg1", true, 2) }, "none", 1, "no leader key"},
		{"stale", "24: STALE keeps the last primary while SQL proves it writable",
			func(w *world) { w.fresh = Stale }, "pg1", 1, ""},
		{"blind", "24: BLIND keeps the last primary while SQL proves it writable",
			func(w *world) { w.fresh = Blind }, "pg1", 1, ""},
		{"blind and read-only", "24: only while SQL proves it writable",
			func(w *world) { w.fresh = Blind; w.answer("pg1", false, 0) }, "none", 1, "pg1 is in recovery"},
		{"refused", "25: refusal is death, but the key decides about the epoch",
			func(w *world) { w.down("pg1", "connection refused") }, "none", 1, "pg1 is down: connection refused"},
		{"check error", "25: a check error changes no state",
			func(w *world) {
				h := w.health["pg1"]
				h.Err, h.CheckError = "password authentication failed", true
				w.health["pg1"] = h
			}, "pg1", 1, ""},
		{"newer history", "the key was away between two pieces of news",
			func(w *world) { w.topo.Timeline = 3 }, "none", 2, "timeline 1, the cluster's history is at 3"},
		{"new timeline", "22: the identity includes the timeline",
			func(w *world) { w.answer("pg1", true, 2) }, "pg1", 2, ""},
		{"other cluster", "its system identifier equals the cluster's initialize key",
			func(w *world) { h := w.health["pg1"]; h.SystemID = "666"; w.health["pg1"] = h }, "none", 1, "system identifier 666"},
		{"no initialize key", "fail static: a known primary stays",
			func(w *world) { w.topo.Initialized, w.topo.SystemID = false, "" }, "pg1", 1, ""},
		{"standby cluster", "scenario 27: port 5000 is empty",
			func(w *world) { w.topo.Standby = true }, "none", 1, "standby cluster"},
		{"member key unreadable", "fail static: the address is the last one known",
			func(w *world) { w.member("pg1").Addr = "" }, "pg1", 1, ""},
		{"address changed", "health of another address is no evidence",
			func(w *world) { w.member("pg1").Addr = "pg1:6432" }, "none", 1, "not been probed"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			row.change(w)
			w.build()
			w.build() // a verdict must not depend on how often it is asked for
			if w.primary() != row.primary || w.table.Epoch != row.epoch {
				t.Errorf("rule %s:\n got primary %s, epoch %d (%q)\nwant primary %s, epoch %d",
					row.rule, w.primary(), w.table.Epoch, w.table.Reason, row.primary, row.epoch)
			}
			if !strings.Contains(w.table.Reason, row.reason) || (w.table.Reason == "") != (w.table.Primary != nil) {
				t.Errorf("reason %q, want %q", w.table.Reason, row.reason)
			}
		})
	}
}

// TestCandidate: who is accepted as a new primary, and who is not.
func TestCandidate(t *testing.T) {
	rows := []struct {
		name    string
		change  func(*world)
		primary string
	}{
		{"proven", func(w *world) { w.answer("pg2", true, 2) }, "pg2"},
		{"on the same timeline", func(w *world) { w.answer("pg2", true, 1) }, "pg2"},
		{"in recovery", func(w *world) { w.answer("pg2", false, 0) }, "none"},
		{"down", func(w *world) { w.answer("pg2", true, 2); w.down("pg2", "refused") }, "none"},
		{"timeline behind", func(w *world) { w.topo.Timeline = 3; w.answer("pg2", true, 2) }, "none"},
		{"another is writable", func(w *world) { w.answer("pg3", true, 2) }, "none"},
		{"the old one is writable", func(w *world) { w.answer("pg1", true, 1) }, "none"},
		{"stale", func(w *world) { w.answer("pg2", true, 2); w.fresh = Stale }, "none"},
		{"blind", func(w *world) { w.answer("pg2", true, 2); w.fresh = Blind }, "none"},
		{"no initialize key", func(w *world) { w.answer("pg2", true, 2); w.topo.Initialized = false }, "none"},
		{"pause, key deleted", func(w *world) { w.answer("pg2", true, 2); w.topo.Leader = ""; w.topo.Paused = true }, "none"},
		{"no member key", func(w *world) { w.answer("pg2", true, 2); w.remove("pg2"); w.health = Health{} }, "none"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.topo.Leader = "pg2"
			w.build()
			row.change(w)
			w.build()
			if w.primary() != row.primary {
				t.Errorf("got primary %s (%q), want %s", w.primary(), w.table.Reason, row.primary)
			}
			if w.table.Primary != nil && w.table.Epoch != 3 {
				t.Errorf("got epoch %d, want 3: one for the fence, one for the proof", w.table.Epoch)
			}
		})
	}
}

// TestReplicas: rule 2 and "only running, honouring noloadbalance".
func TestReplicas(t *testing.T) {
	rows := []struct {
		name   string
		change func(*world)
		want   string
		reason string // of pg2, when it is out
	}{
		{"both", func(*world) {}, "pg2 pg3", ""},
		{"sync word of /cluster", func(w *world) { w.member("pg2").Role = "sync_standby" }, "pg2 pg3", ""},
		{"quorum word of /cluster", func(w *world) { w.member("pg2").Role = "quorum_standby" }, "pg2 pg3", ""},
		{"master", func(w *world) { w.member("pg2").Role = "master" }, "pg3", "role master"},
		{"primary", func(w *world) { w.member("pg2").Role = "primary" }, "pg3", "role primary"},
		{"standby leader", func(w *world) { w.member("pg2").Role = "standby_leader" }, "pg3", "role standby_leader"},
		{"promoted", func(w *world) { w.member("pg2").Role = "promoted" }, "pg3", "role promoted"},
		{"demoted", func(w *world) { w.member("pg2").Role = "demoted" }, "pg3", "role demoted"},
		{"uninitialized", func(w *world) { w.member("pg2").Role = "uninitialized" }, "pg3", "role uninitialized"},
		{"starting", func(w *world) { w.member("pg2").State = "starting" }, "pg3", "state starting"},
		{"creating replica", func(w *world) { w.member("pg2").State = "creating replica" }, "pg3", "state creating replica"},
		{"noloadbalance", func(w *world) { w.member("pg2").NoLoadBalance = true }, "pg3", "noloadbalance"},
		{"no address", func(w *world) { w.member("pg2").Addr = "" }, "pg3", "no usable conn_url"},
		{"refused", func(w *world) { w.down("pg2", "refused") }, "pg3", "down: refused"},
		{"unprobed", func(w *world) { delete(w.health, "pg2") }, "pg2 pg3", ""},
		{"down at another address", func(w *world) { w.down("pg2", "refused"); w.member("pg2").Addr = "x:1" }, "pg2 pg3", ""},
		{"check error", func(w *world) {
			h := w.health["pg2"]
			h.CheckError, h.Err = true, "too many clients"
			w.health["pg2"] = h
		}, "pg2 pg3", ""},
		{"writable", func(w *world) { w.answer("pg2", true, 1) }, "pg3", "writable but not the leader"},
		{"other cluster", func(w *world) { h := w.health["pg2"]; h.SystemID = "666"; w.health["pg2"] = h }, "pg3", "system identifier 666"},
		{"blind", func(w *world) { w.fresh = Blind }, "pg2 pg3", ""},
		{"leader key names it", func(w *world) { w.topo.Leader = "pg2" }, "pg3", ""},
		{"gone", func(w *world) { w.remove("pg2") }, "pg3", ""},
		{"all gone", func(w *world) { w.remove("pg2"); w.remove("pg3") }, "", ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			row.change(w)
			w.build()
			if got := w.replicas(); got != row.want {
				t.Errorf("replicas %q, want %q", got, row.want)
			}
			got := ""
			for _, x := range w.table.Out {
				if x.Name == "pg2" {
					got = x.Reason
				}
			}
			if !strings.Contains(got, row.reason) || (got == "") != (row.reason == "") {
				t.Errorf("pg2 is out because %q, want %q", got, row.reason)
			}
		})
	}
}
