package route

import (
	"slices"
	"testing"
	"time"
)

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

// TestHungPrimaryIsTold: the leader that keeps its key and says nothing (scenario
// 22); one that refuses is Patroni's to start again.
func TestHungPrimaryIsTold(t *testing.T) {
	w := newWorld(t)
	h := w.health["pg1"]
	h.State, h.Silent = Down, true
	w.health["pg1"] = h
	w.build()
	if want := []string{"pg1 has the leader key and does not answer: it hangs, or its host is gone"}; !slices.Equal(w.table.Alarms, want) {
		t.Errorf("alarms %q, want %q", w.table.Alarms, want)
	}
	h.Silent = false
	w.health["pg1"] = h
	w.build()
	if len(w.table.Alarms) != 0 {
		t.Errorf("alarms %q about a leader that refuses, want none", w.table.Alarms)
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
	if want := []string{"pg2: too many clients"}; !slices.Equal(w.table.Alarms, want) {
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
