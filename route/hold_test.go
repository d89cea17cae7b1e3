package route

import (
	"slices"
	"testing"
	"time"
)

// holding builds the next table 10 ms later, with half a second of hold.
func (w *world) holding() {
	w.now = w.now.Add(10 * time.Millisecond)
	w.table, w.events = Build(w.table, Input{Now: w.now, Topology: w.topo, Freshness: w.fresh, Health: w.health,
		Policy: Policy{SwitchoverHold: 500 * time.Millisecond}})
}

func (w *world) warm() []string {
	var names []string
	for _, n := range w.table.Hold.Warm {
		names = append(names, n.Name)
	}
	return names
}

// TestAnnouncedSwitchover: the failover key begins a hold, once, and its end is
// that of the request (rule 27).
func TestAnnouncedSwitchover(t *testing.T) {
	w := newWorld(t)
	w.member("pg1").Timeline = 1
	w.topo.Failover = &FailoverRequest{Leader: "pg1", Candidate: "pg2"}
	w.holding()
	h := w.table.Hold
	if h == nil || !h.Since.Equal(w.now) || h.Until.Sub(h.Since) != 500*time.Millisecond || !slices.Equal(w.warm(), []string{"pg2"}) {
		t.Fatalf("hold %+v", h)
	}
	if want := []EventKind{SwitchoverAnnounced}; !slices.Equal(w.kinds(), want) {
		t.Errorf("events %v, want %v", w.kinds(), want)
	}
	w.now = w.now.Add(time.Minute)
	w.topo.Failover = &FailoverRequest{Leader: "pg1", Candidate: "pg2"} // the same, read again
	w.holding()
	if w.table.Hold != h || len(w.events) > 0 {
		t.Errorf("the same request again: %+v, %v", w.table.Hold, w.events)
	}
	w.topo.Leader = ""
	w.holding()
	if w.table.Hold != nil || slices.Contains(w.kinds(), SwitchoverCalledOff) {
		t.Errorf("leader key gone: %+v, %v", w.table.Hold, w.kinds())
	}
}

func TestSwitchoverCalledOff(t *testing.T) {
	w := newWorld(t)
	w.topo.Failover = &FailoverRequest{Leader: "pg1"}
	w.holding()
	if !slices.Equal(w.warm(), []string{"pg2", "pg3"}) {
		t.Errorf("nobody is named: warm %v, want both replicas", w.warm())
	}
	first := w.table.Hold
	w.topo.Failover = nil
	w.holding()
	if w.table.Hold != nil || !slices.Equal(w.kinds(), []EventKind{SwitchoverCalledOff}) {
		t.Errorf("cleared: %+v, %v", w.table.Hold, w.kinds())
	}
	w.topo.Failover = &FailoverRequest{Leader: "pg1"}
	w.holding()
	if w.table.Hold == nil || w.table.Hold == first {
		t.Errorf("asked for again: %+v", w.table.Hold)
	}
}

// TestRequestsWithoutHold: what announces nothing for now.
func TestRequestsWithoutHold(t *testing.T) {
	for name, change := range map[string]func(*world){
		"another leader's":    func(w *world) { w.topo.Failover.Leader = "pg3" },
		"to the leader":       func(w *world) { w.topo.Failover.Candidate = "pg1" },
		"no leader":           func(w *world) { w.topo.Leader = "" },
		"old news":            func(w *world) { w.fresh = Stale },
		"scheduled for later": func(w *world) { w.topo.Failover.ScheduledAt = w.now.Add(time.Hour) },
	} {
		w := newWorld(t)
		w.topo.Failover = &FailoverRequest{Leader: "pg1", Candidate: "pg2"}
		change(w)
		w.holding()
		if w.table.Hold != nil {
			t.Errorf("%s: %+v", name, w.table.Hold)
		}
	}
}

// TestScheduledSwitchover: the table asks to be built at that time, and holds then.
func TestScheduledSwitchover(t *testing.T) {
	w := newWorld(t)
	at := w.now.Add(time.Minute)
	w.topo.Failover = &FailoverRequest{Leader: "pg1", Candidate: "pg2", ScheduledAt: at}
	w.holding()
	if !w.table.Wake.Equal(at) {
		t.Errorf("wake at %v, want %v", w.table.Wake, at)
	}
	w.now = at
	w.holding()
	if w.table.Hold == nil || !w.table.Wake.IsZero() {
		t.Errorf("due: %+v, wake %v", w.table.Hold, w.table.Wake)
	}
}

// TestHoldIsConfirmed once, when the leader's member key has lost its position.
func TestHoldIsConfirmed(t *testing.T) {
	w := newWorld(t)
	w.member("pg1").Timeline, w.member("pg1").Location = 1, 17
	w.topo.Failover = &FailoverRequest{Leader: "pg1", Candidate: "pg2"}
	w.holding()
	first := w.table.Hold
	w.now = w.now.Add(300 * time.Millisecond)
	w.topo.Members = slices.Clone(w.topo.Members)
	w.member("pg1").Timeline, w.member("pg1").Location = 0, 0
	w.holding()
	second := w.table.Hold
	if second == first || !second.Since.Equal(first.Since) || !second.Until.Equal(w.now.Add(500*time.Millisecond)) || len(w.events) > 0 {
		t.Errorf("hold %+v after %+v, events %v", second, first, w.events)
	}
	w.now = w.now.Add(300 * time.Millisecond)
	w.holding()
	if w.table.Hold != second {
		t.Errorf("confirmed again: %+v", w.table.Hold)
	}
}
