package route

import (
	"strings"
	"testing"
)

// backup gives a world whose primary is pg2 on timeline 2 when etcd is set back
// to the keys of a day when pg1 led on timeline 1.
func backup(t *testing.T, topo func(*Topology)) *world {
	t.Helper()
	w := newWorld(t)
	w.topo.Leader, w.topo.LeaderRevision, w.topo.Revision = "pg2", 20, 20
	w.build()
	w.answer("pg1", false, 0)
	w.answer("pg2", true, 2)
	w.build()
	w.topo.Timeline = 2
	w.build()
	if w.primary() != "pg2" || w.table.Epoch != 3 {
		t.Fatalf("before the backup: primary %s, epoch %d", w.primary(), w.table.Epoch)
	}
	w.topo.Leader, w.topo.LeaderRevision, w.topo.Timeline = "pg1", 5, 1
	topo(&w.topo)
	w.build()
	return w
}

// TestBackup: ha.md 2.1 rule 12 and scenario 15. What an old backup says about
// the leader moves nothing that SQL does not prove on the newest timeline.
func TestBackup(t *testing.T) {
	stores := map[string]func(*Topology){
		"set back":        func(o *Topology) { o.Revision = 7 },
		"another cluster": func(o *Topology) { o.ClusterID, o.Revision = 2, 500 },
	}
	rows := []struct {
		name    string
		change  func(*world)
		primary string
		epoch   uint64
	}{
		{"as found", func(*world) {}, "pg2", 3},
		{"its lease of then runs out", func(w *world) { w.topo.Leader = "" }, "pg2", 3},
		{"the old one is a replica", func(w *world) { w.answer("pg1", false, 0) }, "pg2", 3},
		{"the old one is an orphan", func(w *world) { w.answer("pg1", true, 1) }, "pg2", 3},
		{"an orphan, and the newest is down", func(w *world) { w.answer("pg1", true, 1); w.down("pg2", "refused") }, "none", 3},
		{"both on one timeline", func(w *world) { w.answer("pg1", true, 2) }, "pg2", 3},
		{"it was right, and we were late", func(w *world) { w.answer("pg1", true, 3); w.build(); w.answer("pg1", true, 3) }, "pg1", 5},
		{"the newest is down", func(w *world) { w.down("pg2", "refused") }, "none", 3},
		{"the key is written", func(w *world) { w.topo.Leader, w.topo.LeaderRevision = "pg2", 8 }, "pg2", 3},
		{"the key is written for another", func(w *world) { w.topo.Leader, w.topo.LeaderRevision = "pg3", 8 }, "none", 4},
		{"written, then deleted", func(w *world) {
			w.topo.Leader, w.topo.LeaderRevision = "pg2", 8
			w.build()
			w.topo.Leader = ""
		}, "none", 4},
	}
	for store, topo := range stores {
		for _, row := range rows {
			t.Run(store+"/"+row.name, func(t *testing.T) {
				w := backup(t, topo)
				if got := strings.Join(w.table.Alarms, "; "); !strings.Contains(got, "set back") {
					t.Errorf("alarms %q, want one", got)
				}
				row.change(w)
				w.build()
				w.build()
				if w.primary() != row.primary || w.table.Epoch != row.epoch {
					t.Errorf("got primary %s, epoch %d (%q), want %s, %d",
						w.primary(), w.table.Epoch, w.table.Reason, row.primary, row.epoch)
				}
			})
		}
	}
}

// TestBackupWithoutPrimary: nobody led when the store was set back. The old key
// names an orphan, which SQL calls writable, on a timeline that has been left.
func TestBackupWithoutPrimary(t *testing.T) {
	w := newWorld(t)
	w.answer("pg1", true, 4)
	w.build()
	w.topo.Leader, w.topo.Timeline, w.topo.Revision = "", 4, 30
	w.build()
	w.topo.Leader, w.topo.Timeline, w.topo.Revision = "pg3", 1, 7
	w.build()
	w.answer("pg3", true, 1)
	w.build()
	if w.primary() != "none" || !strings.Contains(w.table.Reason, "from a backup") {
		t.Errorf("primary %s, reason %q", w.primary(), w.table.Reason)
	}
	w.answer("pg3", true, 5)
	w.build()
	if w.primary() != "pg3" {
		t.Errorf("on the newest timeline: primary %s, reason %q", w.primary(), w.table.Reason)
	}
}

// TestFenceReasons: each end of a primary says what it was.
func TestFenceReasons(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*world)
		want   string
	}{
		{"released", func(w *world) { w.topo.Leader = "" }, "pg1 leader key deleted"},
		{"crash", func(w *world) { w.topo.Leader = ""; w.remove("pg1") }, "pg1 leader key and member key deleted in one revision: its lease has run out"},
		{"removed", func(w *world) { w.topo = Topology{Revision: 11, ClusterID: 1} }, "pg1 every key of the cluster was deleted, as patronictl remove does"},
		{"moved", func(w *world) { w.topo.Leader = "pg2" }, "pg1 leader key moved to pg2"},
	} {
		w := newWorld(t)
		row.change(w)
		w.build()
		if got := w.whys(PrimaryFenced); got != row.want {
			t.Errorf("%s: fenced because %q, want %q", row.name, got, row.want)
		}
	}
	// The member key went before: that is no crash in one revision.
	w := newWorld(t)
	w.remove("pg1")
	w.build()
	w.topo.Leader = ""
	w.build()
	if got := w.whys(PrimaryFenced); got != "pg1 leader key deleted" {
		t.Errorf("one after the other: %q", got)
	}
}

// TestOrphan: Patroni was killed, its lease took both keys, PostgreSQL goes on
// and takes writes. It stays in sight, with an alarm, until it stops.
func TestOrphan(t *testing.T) {
	w := newWorld(t)
	before := w.table.Primary
	w.topo.Leader = ""
	w.remove("pg1")
	w.build()
	after := w.table.Lookup("pg1")
	if after == nil || after == before || w.primary() != "none" || len(w.table.Alarms) != 0 {
		t.Fatalf("fenced: node %v, primary %s, alarms %q", after, w.primary(), w.table.Alarms)
	}
	w.answer("pg1", true, 1)
	w.topo.Leader = "pg2"
	w.build()
	w.answer("pg2", true, 2)
	w.answer("pg1", true, 1)
	w.build()
	if got := strings.Join(w.table.Alarms, "; "); w.primary() != "pg2" || !strings.Contains(got, "pg1 is an orphan") {
		t.Errorf("primary %s, alarms %q", w.primary(), got)
	}
	for _, n := range w.table.Replicas {
		if n.Name == "pg1" {
			t.Error("the orphan serves reads")
		}
	}
	h := w.health["pg1"]
	h.State, h.LastCheck = Down, w.now
	w.health["pg1"] = h
	w.build()
	if w.table.Lookup("pg1") != nil || len(w.table.Alarms) != 0 {
		t.Errorf("gone: node %v, alarms %q", w.table.Lookup("pg1"), w.table.Alarms)
	}
}

// TestProofFromAfterTheFence: an answer that was on its way when its node was
// fenced does not bring it back, not even with the timeline that it should have.
func TestProofFromAfterTheFence(t *testing.T) {
	w := newWorld(t)
	w.topo.Timeline = 3
	w.answer("pg1", true, 3)
	w.build()
	if w.primary() != "none" || w.table.Epoch != 2 {
		t.Errorf("primary %s, epoch %d; want a fence and a wait", w.primary(), w.table.Epoch)
	}
	w.answer("pg1", true, 3)
	w.build()
	if w.primary() != "pg1" || w.table.Epoch != 3 {
		t.Errorf("primary %s, epoch %d, %q; want it proven anew", w.primary(), w.table.Epoch, w.table.Reason)
	}
}
