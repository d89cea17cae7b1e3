package route

import (
	"strings"
	"testing"
	"time"
)

// TestBlindException: rule 24, "accept no new one, except: exactly one writable
// node on the highest timeline whose REST says primary". In each row pg1 was the
// primary when the news became old, and has died since.
func TestBlindException(t *testing.T) {
	rows := []struct {
		name    string
		change  func(*world)
		primary string
	}{
		{"the exception", func(w *world) { w.answer("pg2", true, 2); w.say("pg2", lockHeld) }, "pg2"},
		{"STALE is enough", func(w *world) { w.fresh = Stale; w.answer("pg2", true, 2); w.say("pg2", lockHeld) }, "pg2"},
		{"an orphan on an older timeline", func(w *world) {
			w.answer("pg2", true, 2)
			w.answer("pg3", true, 1)
			w.say("pg2", lockHeld)
		}, "pg2"},
		{"two on one timeline", func(w *world) {
			w.answer("pg2", true, 2)
			w.answer("pg3", true, 2)
			w.say("pg2", lockHeld)
			w.say("pg3", lockHeld)
		}, "none"},
		{"REST says no", func(w *world) { w.answer("pg2", true, 2); w.say("pg2", refused503) }, "none"},
		{"REST says nothing", func(w *world) { w.answer("pg2", true, 2); w.say("pg2", silence) }, "none"},
		{"REST of another", func(w *world) { w.answer("pg2", true, 2); w.say("pg3", lockHeld) }, "none"},
		{"REST not asked", func(w *world) { w.answer("pg2", true, 2) }, "none"},
		{"REST long ago", func(w *world) { w.answer("pg2", true, 2); w.say("pg2", lockHeld); w.pass(4 * time.Second) }, "none"},
		{"in recovery", func(w *world) { w.answer("pg2", false, 0); w.say("pg2", lockHeld) }, "none"},
		{"timeline behind", func(w *world) {
			w.topo.Timeline = 3
			w.answer("pg2", true, 2)
			w.say("pg2", lockHeld)
		}, "none"},
		{"another node was seen further", func(w *world) {
			w.answer("pg3", true, 3)
			w.down("pg3", "refused")
			w.answer("pg2", true, 2)
			w.say("pg2", lockHeld)
		}, "none"},
		{"strange system identifier", func(w *world) {
			w.answer("pg2", true, 2)
			h := w.health["pg2"]
			h.SystemID = "666"
			w.health["pg2"] = h
			w.say("pg2", lockHeld)
		}, "none"},
		{"etcd_blind: static", func(w *world) { w.rule = BlindStatic; w.answer("pg2", true, 2); w.say("pg2", lockHeld) }, "none"},
		{"paused", func(w *world) { w.topo.Paused = true; w.answer("pg2", true, 2); w.say("pg2", lockHeld) }, "none"},
		{"standby cluster", func(w *world) { w.topo.Standby = true; w.answer("pg2", true, 2); w.say("pg2", lockHeld) }, "none"},
		{"the old one is back", func(w *world) {
			w.answer("pg1", true, 1)
			w.answer("pg2", true, 2)
			w.say("pg2", lockHeld)
		}, "pg1"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.pass(time.Second)
			w.fresh = Blind
			w.build()
			w.pass(time.Second)
			w.down("pg1", "refused")
			w.build()
			row.change(w)
			w.build()
			w.build()
			if w.primary() != row.primary {
				t.Errorf("got primary %s (%q), want %s", w.primary(), w.table.Reason, row.primary)
			}
			if row.primary == "pg2" && w.table.Epoch != 3 {
				t.Errorf("epoch %d, want 3: pg1 fenced, pg2 proven", w.table.Epoch)
			}
		})
	}
}

// TestBlindExceptionAsks: only the node that may become the primary is asked.
func TestBlindExceptionAsks(t *testing.T) {
	w := newWorld(t)
	w.fresh = Blind
	w.build()
	if got := w.asked(); got != "" {
		t.Errorf("with a primary: asks %s", got)
	}
	w.down("pg1", "refused")
	w.build()
	if got := w.asked(); got != "" {
		t.Errorf("with nobody writable: asks %s", got)
	}
	w.answer("pg2", true, 2)
	w.build()
	if got := w.asked(); got != "pg2" || w.table.Asks[0].URL != "http://pg2:8008" {
		t.Errorf("asks %+v, want pg2", w.table.Asks)
	}
	w.say("pg2", refused503)
	w.build()
	if got := w.asked(); got != "" || len(w.table.Asks) != 1 {
		t.Errorf("asks %s at once again, want a second later", got)
	}
}

// TestBlindExceptionEnds: with news of the key, the key decides again.
func TestBlindExceptionEnds(t *testing.T) {
	for _, row := range []struct {
		name    string
		change  func(*world)
		primary string
		epoch   uint64
	}{
		{"still blind", func(*world) {}, "pg2", 3},
		{"the key agrees", func(w *world) { w.topo.Leader, w.topo.LeaderRevision, w.fresh = "pg2", 20, Fresh }, "pg2", 3},
		{"the key is as before", func(w *world) { w.fresh = Fresh }, "none", 4},
		{"the key names a third", func(w *world) { w.topo.Leader, w.topo.LeaderRevision = "pg3", 20 }, "none", 4},
		{"no key", func(w *world) { w.topo.Leader, w.fresh = "", Fresh }, "none", 4},
		{"read-only", func(w *world) { w.answer("pg2", false, 0) }, "none", 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.fresh = Blind
			w.build()
			w.down("pg1", "refused")
			w.answer("pg2", true, 2)
			w.say("pg2", lockHeld)
			w.build()
			if w.primary() != "pg2" || !strings.Contains(w.whys(PrimaryProven), "Patroni says primary") {
				t.Fatalf("primary %s, events %+v", w.primary(), w.events)
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

// list gives three servers of a list, of which pg1 is the proven primary.
func list(t *testing.T) *world {
	t.Helper()
	w := &world{now: time.Unix(1000, 0), fresh: Fresh, health: Health{}}
	w.topo = Topology{Kind: StaticList, Timeline: 1, Revision: 1, Configured: true}
	for _, name := range []string{"pg1", "pg2", "pg3"} {
		w.topo.Members = append(w.topo.Members, Member{Name: name, Addr: name + ":5432", State: "running", Role: "replica"})
	}
	w.build()
	w.answer("pg1", true, 1)
	w.answer("pg2", false, 0)
	w.answer("pg3", false, 0)
	w.build()
	if w.primary() != "pg1" || w.table.Epoch != 1 || w.replicas() != "pg2 pg3" {
		t.Fatalf("list: primary %s, replicas %s, epoch %d, %q", w.primary(), w.replicas(), w.table.Epoch, w.table.Reason)
	}
	return w
}

// TestStaticList: without Patroni, the primary is the one writable server on the
// highest timeline, and stays it while it is writable.
func TestStaticList(t *testing.T) {
	rows := []struct {
		name    string
		change  func(*world)
		primary string
		epoch   uint64
		says    string // the reason, or an alarm
	}{
		{"nothing", func(*world) {}, "pg1", 1, ""},
		{"promoted while it lives", func(w *world) { w.answer("pg2", true, 2) }, "pg1", 1, "pg2 is writable but is not the leader"},
		{"down", func(w *world) { w.down("pg1", "refused") }, "none", 1, "pg1 is down: refused"},
		{"back", func(w *world) { w.down("pg1", "refused"); w.build(); w.answer("pg1", true, 1) }, "pg1", 1, ""},
		{"failover", func(w *world) { w.down("pg1", "refused"); w.build(); w.answer("pg2", true, 2) }, "pg2", 3, ""},
		{"switchover", func(w *world) { w.answer("pg1", false, 0); w.answer("pg2", true, 2) }, "pg2", 3, ""},
		{"two at once", func(w *world) {
			w.down("pg1", "refused")
			w.answer("pg2", true, 2)
			w.answer("pg3", true, 2)
		}, "none", 1, "pg2 and pg3 are both writable on timeline 2"},
		{"the old one is back behind", func(w *world) {
			w.down("pg1", "refused")
			w.answer("pg2", true, 2)
			w.build()
			w.down("pg2", "refused")
			w.answer("pg1", true, 1)
		}, "none", 3, "pg2 is down: refused"},
		{"other cluster", func(w *world) {
			w.down("pg1", "refused")
			w.answer("pg2", true, 2)
			h := w.health["pg2"]
			h.SystemID = "666"
			w.health["pg2"] = h
		}, "none", 1, "different system identifiers"},
		{"removed", func(w *world) { w.remove("pg1") }, "none", 2, "no node is writable"},
		{"check error", func(w *world) {
			h := w.health["pg1"]
			h.CheckError, h.Err = true, "too many clients"
			w.health["pg1"] = h
		}, "pg1", 1, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := list(t)
			row.change(w)
			w.build()
			w.build()
			if w.primary() != row.primary || w.table.Epoch != row.epoch {
				t.Errorf("got primary %s, epoch %d (%q), want %s, %d",
					w.primary(), w.table.Epoch, w.table.Reason, row.primary, row.epoch)
			}
			if said := w.table.Reason + strings.Join(w.table.Alarms, "; "); !strings.Contains(said, row.says) {
				t.Errorf("says %q, want %q", said, row.says)
			}
			if len(w.table.Asks) > 0 {
				t.Errorf("asks %+v although there is no Patroni", w.table.Asks)
			}
		})
	}
}

// TestStaticListAtStart: before anything was proven.
func TestStaticListAtStart(t *testing.T) {
	for _, row := range []struct {
		name    string
		ids     string // system identifiers of pg1, pg2, pg3
		writers string
		primary string
	}{
		{"one", "aaa", "pg2", "pg2"},
		{"none", "aaa", "", "none"},
		{"two", "aaa", "pg1 pg2", "none"},
		{"of the minority", "aab", "pg3", "none"},
		{"of the majority", "aab", "pg1", "pg1"},
		{"no majority", "abc", "pg1", "none"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := list(t)
			w.table = nil
			for i, name := range []string{"pg1", "pg2", "pg3"} {
				w.answer(name, strings.Contains(row.writers, name), 1)
				h := w.health[name]
				h.SystemID = row.ids[i : i+1]
				w.health[name] = h
			}
			w.build()
			if w.primary() != row.primary {
				t.Errorf("got primary %s (%q), want %s", w.primary(), w.table.Reason, row.primary)
			}
		})
	}
}

// TestStaticReplicas: nobody but SQL calls a server of a list a replica.
func TestStaticReplicas(t *testing.T) {
	w := list(t)
	delete(w.health, "pg2")
	w.build()
	if got := w.replicas(); got != "pg3" {
		t.Errorf("replicas %q, want the one that has answered", got)
	}
	w.down("pg1", "refused")
	w.build()
	if got := Urgent(w.table, &w.topo, w.now); len(got) != 3 {
		t.Errorf("urgent %v, want all: nobody announces who is promoted", got)
	}
}
