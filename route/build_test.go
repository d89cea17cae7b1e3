package route

import (
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
	table  *Table
	events []Event // of the last build
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
		w.topo.Members = append(w.topo.Members, Member{Name: name, Addr: name + ":5432", State: "running", Role: "replica"})
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
	w.table, w.events = Build(w.table, Input{Now: w.now, Topology: topo, Freshness: w.fresh, Health: w.health})
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

// TestNodeLives: pointers are pool keys, so they stay while a life lasts, and
// are never used for two lives.
func TestNodeLives(t *testing.T) {
	rows := []struct {
		name   string
		change func(*world)
		same   bool // pg2's node is the same before and after
	}{
		{"nothing", func(*world) {}, true},
		{"down and up", func(w *world) { w.down("pg2", "x"); w.build(); w.answer("pg2", false, 0) }, true},
		{"out by tag and in", func(w *world) { w.member("pg2").NoLoadBalance = true; w.build(); w.member("pg2").NoLoadBalance = false }, true},
		{"another leads", func(w *world) { w.topo.Leader = "pg3" }, true},
		{"moved", func(w *world) { w.member("pg2").Addr = "elsewhere:5432" }, false},
		{"moved there and back", func(w *world) { w.member("pg2").Addr = "x:1"; w.build(); w.member("pg2").Addr = "pg2:5432" }, false},
		{"removed and back", func(w *world) {
			m := *w.member("pg2")
			w.remove("pg2")
			w.build()
			w.topo.Members = append(w.topo.Members, m)
		}, false},
		{"became leader", func(w *world) { w.topo.Leader = "pg2" }, false},
		{"led for a moment", func(w *world) { w.topo.Leader = "pg2"; w.build(); w.topo.Leader = "pg1" }, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			before := w.table.Lookup("pg2")
			row.change(w)
			w.build()
			after := w.table.Lookup("pg2")
			if (before == after) != row.same {
				t.Errorf("same node: %v, want %v", before == after, row.same)
			}
			if before != after && before.Generation >= after.Generation {
				t.Errorf("generation went from %d to %d", before.Generation, after.Generation)
			}
		})
	}
}

// TestPrimaryLives: the candidate's node becomes the primary's, so that servers
// can be warmed on it; a fenced primary's node is never seen again.
func TestPrimaryLives(t *testing.T) {
	w := newWorld(t)
	old := w.table.Primary
	w.down("pg1", "refused")
	w.build()
	w.answer("pg1", true, 1)
	w.build()
	if w.table.Primary != old || w.table.Epoch != 1 || !slices.Equal(w.kinds(), []EventKind{PrimaryBack}) {
		t.Errorf("after a restart: same node %v, epoch %d, events %v", w.table.Primary == old, w.table.Epoch, w.kinds())
	}

	w.topo.Leader = ""
	w.build()
	w.topo.Leader = "pg1"
	w.build()
	candidate := w.table.Candidate
	if candidate == nil || candidate == old {
		t.Fatalf("after the key was deleted and put: candidate %v, same node %v", candidate, candidate == old)
	}
	w.answer("pg1", true, 1)
	w.build()
	if w.table.Primary != candidate || w.table.Epoch != 3 {
		t.Errorf("proven again: primary %v, epoch %d, want the candidate's node and 3", w.table.Primary, w.table.Epoch)
	}
	w.answer("pg1", true, 2)
	w.build()
	if w.table.Primary == candidate || w.table.Epoch != 4 {
		t.Errorf("another timeline: same node %v, epoch %d, want another and 4", w.table.Primary == candidate, w.table.Epoch)
	}
	candidate = w.table.Primary
	if !w.table.Has(Primary, candidate) || w.table.Has(Primary, old) || w.table.Has(Replica, candidate) {
		t.Errorf("Has: candidate %v, old %v", w.table.Has(Primary, candidate), w.table.Has(Primary, old))
	}
}

// TestFenceEndsTheLife: with the key deleted, moved, or away unseen.
func TestFenceEndsTheLife(t *testing.T) {
	rows := []struct {
		name   string
		change func(*world)
	}{
		{"deleted", func(w *world) { w.topo.Leader = "" }},
		{"moved", func(w *world) { w.topo.Leader = "pg2" }},
		{"newer history", func(w *world) { w.topo.Timeline = 3 }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			old := w.table.Primary
			row.change(w)
			w.build()
			if w.table.Lookup("pg1") == old {
				t.Error("the fenced node lives on")
			}
			if slices.Contains(w.kinds(), PrimaryLost) || !slices.Contains(w.kinds(), PrimaryFenced) {
				t.Errorf("events %v, want one fence", w.kinds())
			}
		})
	}
}

// TestRoundRobinAlternates: rule 2, one counter for the whole process.
func TestRoundRobinAlternates(t *testing.T) {
	w := newWorld(t)
	var got []string
	for turn := range uint64(4) {
		got = append(got, w.table.Replica(turn).Name)
	}
	if want := []string{"pg2", "pg3", "pg2", "pg3"}; !slices.Equal(got, want) {
		t.Errorf("turns %v, want %v", got, want)
	}
	if n := new(Table).Replica(7); n != nil {
		t.Errorf("replica of an empty table: %v", n)
	}
}

// TestEvents: each decision is told once, with its reason.
func TestEvents(t *testing.T) {
	w := newWorld(t)
	w.down("pg1", "refused")
	w.build()
	if want := []EventKind{PrimaryLost}; !slices.Equal(w.kinds(), want) {
		t.Errorf("refused: %v, want %v", w.kinds(), want)
	}
	w.now = w.now.Add(time.Second)
	w.topo.Leader, w.topo.Revision = "", 12
	w.build()
	if want := []EventKind{PrimaryFenced}; !slices.Equal(w.kinds(), want) {
		t.Errorf("deleted: %v, want %v", w.kinds(), want)
	}
	w.build()
	if len(w.events) != 0 {
		t.Errorf("nothing new: %v", w.events)
	}
	w.topo.Leader = "pg2"
	w.build()
	if want := []EventKind{LeaderNamed, ReplicaOut}; !slices.Equal(w.kinds(), want) {
		t.Errorf("named: %v, want %v", w.kinds(), want)
	}
	w.now = w.now.Add(200 * time.Millisecond)
	w.answer("pg2", true, 2)
	w.build()
	if want := []EventKind{PrimaryProven}; !slices.Equal(w.kinds(), want) {
		t.Errorf("proven: %v, want %v", w.kinds(), want)
	}
	if took := w.events[0].Took; took < 1200*time.Millisecond || took > 1300*time.Millisecond {
		t.Errorf("took %v, want the time without a primary", took)
	}
}

// TestAlarms: raised once, cleared once. Scenarios 44 and 45.
func TestAlarms(t *testing.T) {
	w := newWorld(t)
	w.answer("pg3", true, 1)
	w.build()
	if want := []string{"pg3 is writable but is not the leader"}; !slices.Equal(w.table.Alarms, want) {
		t.Errorf("alarms %q, want %q", w.table.Alarms, want)
	}
	w.build()
	if len(w.events) != 0 {
		t.Errorf("told again: %v", w.events)
	}
	w.answer("pg3", false, 0)
	w.build()
	if want := []EventKind{ReplicaIn, AlarmCleared}; !slices.Equal(w.kinds(), want) {
		t.Errorf("events %v, want %v", w.kinds(), want)
	}

	h := w.health["pg2"]
	h.CheckError, h.Err = true, "too many clients"
	w.health["pg2"] = h
	w.build()
	if want := []string{"probe of pg2: too many clients"}; !slices.Equal(w.table.Alarms, want) {
		t.Errorf("alarms %q, want %q", w.table.Alarms, want)
	}
	w.answer("pg2", false, 0)

	// The last answer of a demoted leader is from before the key moved.
	w.topo.Leader = "pg2"
	w.build()
	if len(w.table.Alarms) != 0 {
		t.Errorf("switchover raised %q", w.table.Alarms)
	}
}

// TestUrgent: rule 27 and the candidate's pace.
func TestUrgent(t *testing.T) {
	at := time.Unix(5000, 0)
	rows := []struct {
		name   string
		change func(*world)
		want   []string
	}{
		{"quiet", func(*world) {}, nil},
		{"unproven leader", func(w *world) { w.topo.Leader = "pg3" }, []string{"pg3"}},
		{"announced", func(w *world) { w.topo.Failover = &FailoverRequest{Leader: "pg1", Candidate: "pg2"} }, []string{"pg2"}},
		{"announced, anyone", func(w *world) { w.topo.Failover = &FailoverRequest{Leader: "pg1"} }, []string{"pg2", "pg3"}},
		{"announced, anyone fit", func(w *world) {
			w.topo.Failover = &FailoverRequest{Leader: "pg1"}
			w.member("pg2").State = "stopped"
		}, []string{"pg3"}},
		{"announced to the leader", func(w *world) { w.topo.Failover = &FailoverRequest{Candidate: "pg1"} }, nil},
		{"later", func(w *world) { w.topo.Failover = &FailoverRequest{Candidate: "pg2", ScheduledAt: at.Add(time.Hour)} }, nil},
		{"due", func(w *world) { w.topo.Failover = &FailoverRequest{Candidate: "pg2", ScheduledAt: at} }, []string{"pg2"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			row.change(w)
			w.build()
			if got := Urgent(w.table, &w.topo, at); !slices.Equal(got, row.want) {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}
