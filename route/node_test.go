package route

import (
	"slices"
	"testing"
)

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
