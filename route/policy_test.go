package route

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// round gives the nodes of the first n turns.
func (w *world) round(n int) string {
	var names []string
	for i := range n {
		r := w.table.Replica(uint64(i))
		if r == nil {
			return "none"
		}
		names = append(names, r.Name)
	}
	return strings.Join(names, " ")
}

func weights(of map[string]int) map[string]ServerPolicy {
	p := map[string]ServerPolicy{}
	for name, w := range of {
		p[name] = ServerPolicy{Weight: w, Weighted: true}
	}
	return p
}

// TestTurnsFollowWeights: smooth weighted round robin, the same for everybody.
func TestTurnsFollowWeights(t *testing.T) {
	rows := []struct {
		name   string
		change func(*world)
		want   string
	}{
		{"alike", func(*world) {}, "pg2 pg3 pg2 pg3"},
		{"the same number", func(w *world) { w.policy.Servers = weights(map[string]int{"pg2": 100, "pg3": 100}) }, "pg2 pg3 pg2 pg3"},
		{"twice", func(w *world) { w.policy.Servers = weights(map[string]int{"pg2": 2}) }, "pg2 pg3 pg2 pg2 pg3 pg2"},
		{"spread, not in a row", func(w *world) { w.policy.Servers = weights(map[string]int{"pg2": 5, "pg3": 2}) },
			"pg2 pg3 pg2 pg2 pg2 pg3 pg2"},
		{"Patroni's tag", func(w *world) { w.member("pg3").Tags = map[string]string{WeightTag: "2"} }, "pg3 pg2 pg3"},
		{"our word counts", func(w *world) {
			w.member("pg3").Tags = map[string]string{WeightTag: "2"}
			w.policy.Servers = weights(map[string]int{"pg3": 1})
		}, "pg2 pg3"},
		{"a tag that is no weight", func(w *world) { w.member("pg3").Tags = map[string]string{WeightTag: "heavy"} }, "pg2 pg3"},
		{"a tag beyond the range", func(w *world) { w.member("pg3").Tags = map[string]string{WeightTag: "257"} }, "pg2 pg3"},
		{"weight 0", func(w *world) { w.policy.Servers = weights(map[string]int{"pg2": 0}) }, "pg3 pg3"},
		{"all 0", func(w *world) { w.policy.Servers = weights(map[string]int{"pg2": 0, "pg3": 0}) }, "pg1 pg1"},
	}
	for _, row := range rows {
		w := newWorld(t)
		row.change(w)
		w.build()
		if got := w.round(len(strings.Fields(row.want))); got != row.want {
			t.Errorf("%s: turns %q, want %q", row.name, got, row.want)
		}
	}
}

// TestTurnsAreExact: a round has as many turns for each node as its share says.
func TestTurnsAreExact(t *testing.T) {
	w := newWorld(t)
	w.policy.Servers = weights(map[string]int{"pg2": 256, "pg3": 255})
	w.build()
	count := map[string]int{}
	for i := range 511 {
		count[w.table.Replica(uint64(i)).Name]++
	}
	if count["pg2"] != 256 || count["pg3"] != 255 {
		t.Errorf("turns %v, want 256 and 255", count)
	}
}

// TestLeastConn: the fewest readers for the weight; equals take turns.
func TestLeastConn(t *testing.T) {
	w := newWorld(t)
	w.policy.Balance = LeastConn
	rows := []struct {
		weights map[string]int
		load    map[string]int
		want    string // of turns 0 to 3
	}{
		{nil, map[string]int{}, "pg2 pg3 pg2 pg3"},
		{nil, map[string]int{"pg2": 1}, "pg3 pg3 pg3 pg3"},
		{nil, map[string]int{"pg2": 7, "pg3": 9}, "pg2 pg2 pg2 pg2"},
		{map[string]int{"pg2": 10}, map[string]int{"pg2": 9, "pg3": 1}, "pg2 pg2 pg2 pg2"},
		{map[string]int{"pg2": 10}, map[string]int{"pg2": 30, "pg3": 1}, "pg3 pg3 pg3 pg3"},
	}
	for _, row := range rows {
		w.policy.Servers = weights(row.weights)
		w.build()
		var got []string
		for n := range uint64(4) {
			got = append(got, w.table.Reader(n, func(n *Node) int { return row.load[n.Name] }).Name)
		}
		if strings.Join(got, " ") != row.want {
			t.Errorf("weights %v, load %v: %v, want %s", row.weights, row.load, got, row.want)
		}
	}
}

// TestNoReplicas: scenario 31, all replicas gone: the primary or nobody, and back
// by itself.
func TestNoReplicas(t *testing.T) {
	for _, policy := range []NoReplicas{ReadPrimary, RejectReads} {
		w := newWorld(t)
		w.policy.NoReplicas = policy
		w.down("pg2", "refused")
		w.build()
		if w.table.Reads != ReadsOnReplicas {
			t.Fatalf("one is left: %q", w.table.Reads)
		}
		w.down("pg3", "refused")
		w.build()
		want, node := ReadsOnPrimary, w.table.Primary
		if policy == RejectReads {
			want, node = ReadsRejected, nil
		}
		if w.table.Reads != want || w.table.Replica(7) != node || w.table.Has(Replica, w.table.Primary) != (node != nil) {
			t.Errorf("policy %d: %q, reads go to %v", policy, w.table.Reads, w.table.Replica(7))
		}
		if !slices.Contains(w.kinds(), ReadsMoved) {
			t.Errorf("policy %d: not told", policy)
		}
		w.topo.Leader = ""
		w.build()
		if want := map[NoReplicas]Reads{ReadPrimary: ReadsWait, RejectReads: ReadsRejected}[policy]; w.table.Reads != want || w.table.Replica(0) != nil {
			t.Errorf("policy %d, no primary: %q, reads go to %v", policy, w.table.Reads, w.table.Replica(0))
		}
		w.answer("pg3", false, 0)
		w.build()
		if w.table.Reads != ReadsOnReplicas || w.round(1) != "pg3" {
			t.Errorf("policy %d: back: %q, %s", policy, w.table.Reads, w.round(1))
		}
	}
	var unheard Topology
	table, _ := Build(nil, Input{Now: time.Unix(1, 0), Topology: unheard, Policy: Policy{NoReplicas: RejectReads}})
	if table.Reads == ReadsRejected {
		t.Error("reads are refused before anything is known of the cluster")
	}
}

// TestTags: Patroni's ?tag_key=value, and the softer form.
func TestTags(t *testing.T) {
	rows := []struct {
		name       string
		want       map[string]string
		prefer     bool
		pg2, pg3   map[string]string
		configured map[string]string // of pg3
		replicas   string
	}{
		{"no wish", nil, false, nil, nil, nil, "pg2 pg3"},
		{"one matches", map[string]string{"zone": "z1"}, false, map[string]string{"zone": "z1"}, map[string]string{"zone": "z2"}, nil, "pg2"},
		{"not set is no match", map[string]string{"zone": "z1"}, false, map[string]string{"zone": "z1"}, nil, nil, "pg2"},
		{"each must match", map[string]string{"zone": "z1", "tier": "a"}, false, map[string]string{"zone": "z1"}, map[string]string{"zone": "z1", "tier": "a"}, nil, "pg3"},
		{"none matches", map[string]string{"zone": "z9"}, false, map[string]string{"zone": "z1"}, nil, nil, ""},
		{"preferred", map[string]string{"zone": "z1"}, true, map[string]string{"zone": "z1"}, nil, nil, "pg2"},
		{"preferred, none matches", map[string]string{"zone": "z9"}, true, map[string]string{"zone": "z1"}, nil, nil, "pg2 pg3"},
		{"configured here", map[string]string{"zone": "z1"}, false, map[string]string{"zone": "z1"}, map[string]string{"zone": "z2"}, map[string]string{"zone": "z1"}, "pg2 pg3"},
		{"noloadbalance here", nil, false, nil, nil, map[string]string{"noloadbalance": "true"}, "pg2"},
	}
	for _, row := range rows {
		w := newWorld(t)
		w.policy.ReplicaTags, w.policy.PreferTags = row.want, row.prefer
		w.policy.Servers = map[string]ServerPolicy{"pg3": {Tags: row.configured}}
		w.member("pg2").Tags, w.member("pg3").Tags = row.pg2, row.pg3
		w.build()
		if got := w.replicas(); got != row.replicas {
			t.Errorf("%s: replicas %q, want %q: %+v", row.name, got, row.replicas, w.table.Out)
		}
	}
}

// TestSlowStart: a replica that comes up gets its share bit by bit; one that was
// only drained, or was there before pgvip, gets it at once.
func TestSlowStart(t *testing.T) {
	rows := []struct {
		name      string
		out, back func(*world)
		slow      bool
	}{
		{"died", func(w *world) { w.down("pg2", "refused") }, func(w *world) { w.answer("pg2", false, 0) }, true},
		{"32: reinitialized", func(w *world) { w.member("pg2").State = "creating replica" },
			func(w *world) { w.member("pg2").State = "running" }, true},
		{"removed and added", func(w *world) { w.remove("pg2") },
			func(w *world) {
				w.topo.Members = append(w.topo.Members, Member{Name: "pg2", Addr: "pg2:5432", State: "running", Role: "replica"})
			}, true},
		{"maint", func(w *world) { w.admin = map[string]AdminState{"pg2": Maint} }, func(w *world) { w.admin = nil }, true},
		{"drain", func(w *world) { w.admin = map[string]AdminState{"pg2": Drain} }, func(w *world) { w.admin = nil }, false},
		{"noloadbalance", func(w *world) { w.member("pg2").NoLoadBalance = true }, func(w *world) { w.member("pg2").NoLoadBalance = false }, false},
		{"lag", func(w *world) { w.lag("pg2", 5000, 0) }, func(w *world) { w.lag("pg2", 0, 0) }, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.policy = Policy{SlowStart: 100 * time.Second, MaxLagBytes: 1000, Rise: 1,
				Servers: map[string]ServerPolicy{"pg2": {MaxConn: 200}}}
			w.build()
			if s := w.table.Standing(w.table.Lookup("pg2")); s.Throttle != 100 {
				t.Fatalf("before pgvip: %+v", s)
			}
			row.out(w)
			w.build()
			if got := w.replicas(); got != "pg3" {
				t.Fatalf("out: %q", got)
			}
			row.back(w)
			w.build()
			s := w.table.Standing(w.table.Lookup("pg2"))
			if !row.slow {
				if s.Throttle != 100 || s.MaxConn != 200 || !w.table.Wake.IsZero() {
					t.Errorf("back: %+v, wake %v, want all at once", s, w.table.Wake)
				}
				return
			}
			for _, step := range []struct{ throttle, maxconn int }{{5, 10}, {10, 20}, {15, 30}} {
				if s = w.table.Standing(w.table.Lookup("pg2")); s.Throttle != step.throttle || s.MaxConn != step.maxconn {
					t.Fatalf("after %v: %+v, want %+v", w.now, s, step)
				}
				w.now = w.table.Wake
				if step.throttle == 5 { // 0 % and 5 % are one step: nobody gets nothing
					w.build()
					w.now = w.table.Wake
				}
				w.build()
			}
			w.now = w.now.Add(200 * time.Second)
			w.build()
			if s = w.table.Standing(w.table.Lookup("pg2")); s.Throttle != 100 || s.MaxConn != 200 || !w.table.Wake.IsZero() {
				t.Errorf("at the end: %+v, wake %v", s, w.table.Wake)
			}
		})
	}
}

// TestNoSlowStartAtTheBeginning: who is there when pgvip starts was there before.
func TestNoSlowStartAtTheBeginning(t *testing.T) {
	w := newWorld(t)
	topo := w.topo
	table, _ := Build(nil, Input{Now: w.now, Topology: topo, Freshness: Fresh, Policy: Policy{SlowStart: time.Minute}})
	for _, n := range table.Replicas {
		if s := table.Standing(n); s.Throttle != 100 {
			t.Errorf("%v stands %+v", n, s)
		}
	}
	if len(table.Replicas) != 2 {
		t.Errorf("replicas %v", table.Replicas)
	}
}

// TestSlowStartGivesTurns: the share that counts is the throttled one.
func TestSlowStartGivesTurns(t *testing.T) {
	w := newWorld(t)
	w.policy.SlowStart = 100 * time.Second
	w.down("pg2", "refused")
	w.build()
	w.answer("pg2", false, 0)
	w.build()
	w.now = w.now.Add(25 * time.Second)
	w.build()
	if got, want := w.round(5), "pg3 pg3 pg2 pg3 pg3"; got != want {
		t.Errorf("at 25 %%: turns %q, want %q", got, want)
	}
}

// TestOperatorsWord: rule 10's drain and maint.
func TestOperatorsWord(t *testing.T) {
	for _, state := range []AdminState{Drain, Maint} {
		w := newWorld(t)
		w.admin = map[string]AdminState{"pg2": state}
		w.build()
		x := w.table.exclusion("pg2")
		if w.replicas() != "pg3" || x == nil || x.Reason != state.String()+" by an operator" || (x.Cause == OutMaint) != (state == Maint) {
			t.Errorf("%v: replicas %q, %+v", state, w.replicas(), x)
		}
		if s := w.table.Standing(w.table.Lookup("pg2")); s.Admin != state {
			t.Errorf("%v: pg2 stands %+v", state, s)
		}
		w.admin = map[string]AdminState{"pg1": state}
		w.build()
		if w.primary() != "pg1" || w.table.Epoch != 1 || w.table.Standing(w.table.Primary).Admin != state {
			t.Errorf("%v: the primary is %s, epoch %d: an operator's word is no fence", state, w.primary(), w.table.Epoch)
		}
		if want := fmt.Sprintf("pg1 leads and is in %v", state); len(w.table.Alarms) != 1 || !strings.Contains(w.table.Alarms[0], want) {
			t.Errorf("%v: alarms %q, want %q", state, w.table.Alarms, want)
		}
		w.admin = nil
		w.build()
		if w.replicas() != "pg2 pg3" || len(w.table.Alarms) > 0 {
			t.Errorf("%v ended: replicas %q, alarms %q", state, w.replicas(), w.table.Alarms)
		}
	}
}

// TestDeadAndDown: only what PostgreSQL itself has refused is dead.
func TestDeadAndDown(t *testing.T) {
	for _, dead := range []bool{false, true} {
		w := newWorld(t)
		w.down("pg2", "503")
		h := w.health["pg2"]
		h.Dead = dead
		w.health["pg2"] = h
		w.build()
		if s := w.table.Standing(w.table.Lookup("pg2")); w.replicas() != "pg3" || s.Dead != dead {
			t.Errorf("dead %v: replicas %q, %+v", dead, w.replicas(), s)
		}
	}
}
