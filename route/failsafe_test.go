package route

import (
	"strings"
	"testing"
	"time"
)

var (
	failsafeOn = RESTAnswer{Code: 200, Failsafe: true}
	lockHeld   = RESTAnswer{Code: 200}
	refused503 = RESTAnswer{Code: 503}
	gone       = RESTAnswer{Refused: true, Err: "connection refused"}
	silence    = RESTAnswer{Err: "no answer in time"}
	returning  = RESTAnswer{Code: 503, Failsafe: true, State: "running", Role: "master"}
)

// doubted gives a world whose leader key has just been deleted, with
// failsafe_mode on.
func doubted(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.topo.Failsafe = true
	w.build()
	w.topo.Leader = ""
	w.build()
	return w
}

// TestFailsafeAsks: rule 23, "Deleted with failsafe_mode: stop lending, ask that
// node's REST for at most 80 ms": nobody is fenced, and nobody gets a server.
func TestFailsafeAsks(t *testing.T) {
	w := doubted(t)
	node := w.table.Candidate
	if w.primary() != "none" || w.table.Epoch != 1 || node == nil || node.Name != "pg1" {
		t.Fatalf("got primary %s, epoch %d, candidate %v; want nobody fenced, nothing lent", w.primary(), w.table.Epoch, node)
	}
	if !strings.Contains(w.table.Reason, "failsafe_mode") || len(w.table.Asks) != 1 {
		t.Fatalf("reason %q, asks %+v", w.table.Reason, w.table.Asks)
	}
	ask := w.table.Asks[0]
	if want := (Ask{Node: "pg1", URL: "http://pg1:8008", Since: w.now, Until: w.now.Add(80 * time.Millisecond)}); ask != want {
		t.Errorf("asks %+v, want %+v", ask, want)
	}
	if !w.table.Wake.Equal(ask.Until) {
		t.Errorf("Wake %v, want %v: silence must fence by itself", w.table.Wake, ask.Until)
	}
	w.say("pg1", failsafeOn)
	w.build()
	if w.primary() != "pg1" || w.table.Primary != node || w.table.Epoch != 1 {
		t.Errorf("kept: primary %s, epoch %d, %q; want pg1 in its epoch and its life", w.primary(), w.table.Epoch, w.table.Reason)
	}
	if got := w.whys(PrimaryBack); !strings.Contains(got, "failsafe") {
		t.Errorf("told %q, want the reason", got)
	}
}

// TestFailsafe: what follows from each answer, and from none.
func TestFailsafe(t *testing.T) {
	kept := func(w *world) { w.say("pg1", failsafeOn); w.build() }
	rows := []struct {
		name    string
		change  func(*world)
		primary string
		epoch   uint64
	}{
		{"kept", kept, "pg1", 1},
		{"no lock", func(w *world) { w.say("pg1", refused503) }, "none", 2},
		{"lock without the flag", func(w *world) { w.say("pg1", lockHeld) }, "none", 2},
		{"no answer", func(w *world) { w.say("pg1", silence) }, "none", 2},
		{"an answer from before", func(w *world) {
			w.say("pg1", failsafeOn)
			a := w.rest["pg1"]
			a.AskedAt = w.table.Asks[0].Since.Add(-time.Millisecond)
			w.rest["pg1"] = a
		}, "none", 1},
		{"another node's answer", func(w *world) { w.say("pg2", failsafeOn) }, "none", 1},
		{"79 ms", func(w *world) { w.pass(69 * time.Millisecond) }, "none", 1}, // a build takes 10 of its own
		{"80 ms", func(w *world) { w.pass(70 * time.Millisecond) }, "none", 2},
		{"key elsewhere", func(w *world) { w.topo.Leader = "pg2" }, "none", 2},
		{"kept, key elsewhere", func(w *world) { kept(w); w.topo.Leader = "pg2" }, "none", 2},
		{"kept, key back", func(w *world) { kept(w); w.topo.Leader = "pg1" }, "pg1", 1},
		{"kept, refused later", func(w *world) { kept(w); w.pass(time.Second); w.say("pg1", refused503) }, "none", 2},
		{"kept, Patroni gone later", func(w *world) { kept(w); w.pass(time.Second); w.say("pg1", gone) }, "none", 2},
		{"kept, silent once", func(w *world) { kept(w); w.pass(time.Second); w.say("pg1", silence) }, "pg1", 1},
		{"kept, silent", func(w *world) { kept(w); w.pass(3 * time.Second) }, "none", 2},
		{"kept, has etcd again", func(w *world) { kept(w); w.pass(time.Second); w.say("pg1", lockHeld) }, "pg1", 1},
		{"kept, never says so again", func(w *world) {
			kept(w)
			w.pass(time.Second)
			w.say("pg1", lockHeld)
			w.build()
			w.pass(2 * time.Second)
		}, "none", 2},
		{"taking its lock back, not kept before", func(w *world) { w.say("pg1", returning) }, "none", 2},
		{"kept, taking its lock back", func(w *world) { kept(w); w.pass(time.Second); w.say("pg1", returning) }, "pg1", 1},
		{"kept, took its lock back", func(w *world) {
			kept(w)
			w.pass(time.Second)
			w.say("pg1", returning)
			w.build()
			w.topo.Leader = "pg1"
		}, "pg1", 1},
		{"kept, lost the race for its lock", func(w *world) {
			kept(w)
			w.pass(time.Second)
			w.say("pg1", returning)
			w.build()
			w.topo.Leader = "pg2"
		}, "none", 2},
		{"kept, never gets its lock back", func(w *world) {
			kept(w)
			for range 32 {
				w.pass(100 * time.Millisecond)
				w.say("pg1", returning)
				w.build()
			}
		}, "none", 2},
		{"kept, stops instead", func(w *world) {
			kept(w)
			w.pass(time.Second)
			stops := returning
			stops.State = "stopping"
			w.say("pg1", stops)
		}, "none", 2},
		{"kept, demoted instead", func(w *world) {
			kept(w)
			w.pass(time.Second)
			demoted := returning
			demoted.Role = "replica"
			w.say("pg1", demoted)
		}, "none", 2},
		{"kept, read-only", func(w *world) { kept(w); w.answer("pg1", false, 0) }, "none", 1},
		{"kept, paused", func(w *world) { kept(w); w.topo.Paused = true; w.pass(time.Minute) }, "pg1", 1},
		{"kept, failsafe_mode off", func(w *world) { kept(w); w.topo.Failsafe = false }, "none", 2},
		{"asked, lease gone", func(w *world) { w.remove("pg1"); w.say("pg1", failsafeOn) }, "pg1", 1},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := doubted(t)
			row.change(w)
			w.build()
			if w.primary() != row.primary || w.table.Epoch != row.epoch {
				t.Errorf("got primary %s, epoch %d (%q), want %s, %d",
					w.primary(), w.table.Epoch, w.table.Reason, row.primary, row.epoch)
			}
			if fenced := w.table.Epoch > 1; fenced && (len(w.table.Asks) > 0 || w.table.Candidate != nil && w.table.Candidate.Name == "pg1") {
				t.Errorf("fenced, and still asks %+v of candidate %v", w.table.Asks, w.table.Candidate)
			}
		})
	}
}

// TestFailsafePace: the one that is kept is asked again each second.
func TestFailsafePace(t *testing.T) {
	w := doubted(t)
	w.say("pg1", failsafeOn)
	w.build()
	if got := w.asked(); got != "" {
		t.Errorf("asked at once again: %s", got)
	}
	next := w.rest["pg1"].AskedAt.Add(time.Second)
	if !w.table.Wake.Equal(next) {
		t.Errorf("Wake %v, want %v", w.table.Wake, next)
	}
	w.pass(time.Second)
	w.build()
	if got := w.asked(); got != "pg1" {
		t.Errorf("asked %q a second later, want pg1", got)
	}
	w.say("pg1", returning)
	w.build()
	if next := w.rest["pg1"].AskedAt.Add(100 * time.Millisecond); !w.table.Wake.Equal(next) {
		t.Errorf("Wake %v while it takes its lock back, want %v", w.table.Wake, next)
	}
}

// TestFailsafeTakenUp: a pgvip that starts, or has fenced too soon, while the
// leader alone has lost etcd finds it by Patroni's word (ha.md 1.4).
func TestFailsafeTakenUp(t *testing.T) {
	rows := []struct {
		name    string
		change  func(*world)
		primary string
	}{
		{"flag", func(w *world) { w.say("pg1", failsafeOn) }, "pg1"},
		{"lock without the flag", func(w *world) { w.say("pg1", lockHeld) }, "none"},
		{"too soon", func(w *world) { w.now = w.table.memo.leaderSince.Add(time.Second); w.say("pg1", failsafeOn) }, "none"},
		{"read-only", func(w *world) { w.say("pg1", failsafeOn); w.answer("pg1", false, 0) }, "none"},
		{"two of them", func(w *world) { w.say("pg1", failsafeOn); w.say("pg2", failsafeOn); w.answer("pg2", true, 1) }, "none"},
		{"behind", func(w *world) { w.say("pg1", failsafeOn); w.topo.Timeline = 2 }, "none"},
		{"failsafe_mode off", func(w *world) { w.say("pg1", failsafeOn); w.topo.Failsafe = false }, "none"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := doubted(t)
			w.say("pg1", silence)
			w.build() // fenced
			w.pass(2 * time.Second)
			w.answer("pg1", true, 1)
			w.build()
			if got := w.asked(); got != "pg1" {
				t.Errorf("asked %q, want pg1", got)
			}
			row.change(w)
			w.build()
			w.build()
			if w.primary() != row.primary {
				t.Fatalf("got primary %s (%q), want %s", w.primary(), w.table.Reason, row.primary)
			}
			if row.primary == "none" {
				return
			}
			if w.table.Epoch != 3 {
				t.Errorf("epoch %d, want 3: fenced, and proven anew", w.table.Epoch)
			}
			w.topo.Leader = "pg2"
			w.build()
			if w.primary() != "none" || w.table.Epoch != 4 {
				t.Errorf("the key moved: primary %s, epoch %d", w.primary(), w.table.Epoch)
			}
		})
	}
}
