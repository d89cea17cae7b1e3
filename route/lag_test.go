package route

import (
	"strings"
	"testing"
	"time"
)

// lag is an answer of a replica that is so far behind.
func (w *world) lag(name string, bytes uint64, behind time.Duration) {
	w.answer(name, false, 0)
	h := w.health[name]
	h.LagKnown, h.LagBytes, h.LagTime = true, bytes, behind
	w.health[name] = h
	w.build()
}

// TestLagHysteresis: out above the limit, in again below 80 % of it for Rise
// answers in a row. Each row feeds pg2 with lags and shows the read set after each.
func TestLagHysteresis(t *testing.T) {
	type step struct {
		bytes  uint64
		behind time.Duration
		in     bool
	}
	rows := []struct {
		name   string
		policy Policy
		steps  []step
	}{
		{"no limit", Policy{Rise: 1}, []step{{1 << 40, time.Hour, true}}},
		{"bytes", Policy{MaxLagBytes: 1000, Rise: 1}, []step{{1000, 0, true}, {1001, 0, false}, {900, 0, false}, {801, 0, false}, {800, 0, true}}},
		{"time", Policy{MaxLag: 10 * time.Second, Rise: 1}, []step{
			{1, 10 * time.Second, true}, {1, 11 * time.Second, false}, {1, 9 * time.Second, false}, {1, 8 * time.Second, true}}},
		{"either", Policy{MaxLagBytes: 1000, MaxLag: 10 * time.Second, Rise: 1}, []step{
			{0, time.Minute, false}, {5000, 0, false}, {900, 0, false}, {0, 0, true}, {5000, 0, false}}},
		{"rise", Policy{MaxLagBytes: 1000, Rise: 3}, []step{
			{2000, 0, false}, {0, 0, false}, {0, 0, false}, {0, 0, true}}},
		{"rise interrupted", Policy{MaxLagBytes: 1000, Rise: 2}, []step{
			{2000, 0, false}, {0, 0, false}, {900, 0, false}, {0, 0, false}, {0, 0, true}}},
		{"28: no flapping between the two", Policy{MaxLagBytes: 1000, Rise: 1}, []step{
			{990, 0, true}, {1010, 0, false}, {990, 0, false}, {1010, 0, false}, {990, 0, false}}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.policy = row.policy
			for i, s := range row.steps {
				w.lag("pg2", s.bytes, s.behind)
				w.build() // the same answer again is no second answer
				if in := w.replicas() == "pg2 pg3"; in != s.in {
					t.Fatalf("step %d: %d bytes, %v: read set %q, want pg2 in it: %v", i, s.bytes, s.behind, w.replicas(), s.in)
				}
				if s.in {
					continue
				}
				if x := w.table.exclusion("pg2"); x == nil || x.Cause != OutLag || !w.table.Standing(w.table.Lookup("pg2")).Lagging {
					t.Fatalf("step %d: %+v, want out by lag", i, x)
				}
			}
		})
	}
}

// TestLagIsToldOnce: while a replica stays out, its moving lag is no news.
func TestLagIsToldOnce(t *testing.T) {
	w := newWorld(t)
	w.policy = Policy{MaxLagBytes: 1000, Rise: 1}
	w.lag("pg2", 5000, 0)
	if len(w.events) != 1 || w.events[0].Kind != ReplicaOut || !strings.Contains(w.events[0].Reason, "5000 bytes, more than 1000") {
		t.Fatalf("events %+v, want one that says how far pg2 is behind", w.events)
	}
	before := w.table
	w.lag("pg2", 9000, 0)
	if len(w.events) > 0 || !before.Same(w.table) {
		t.Errorf("events %+v, table %+v: want nothing new", w.events, w.table)
	}
}

// TestUnknownLagChangesNothing: a silent primary, or none, is no fault of the
// replicas.
func TestUnknownLagChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.policy = Policy{MaxLagBytes: 1000, Rise: 1}
	w.lag("pg2", 5000, 0)
	w.topo.Leader = "" // a crash
	w.build()
	w.lag("pg3", 5000, time.Hour)
	if got := w.replicas(); got != "pg3" {
		t.Errorf("no primary: read set %q, want pg3, which was in", got)
	}
	w.lag("pg2", 0, 0)
	if got := w.replicas(); got != "pg3" {
		t.Errorf("no primary: read set %q, want pg2 to stay out", got)
	}
	w = newWorld(t)
	w.policy = Policy{MaxLagBytes: 1000, Rise: 1}
	w.lag("pg2", 5000, 0)
	w.answer("pg2", false, 0) // without a known lag
	w.build()
	if got := w.replicas(); got != "pg3" {
		t.Errorf("unknown: read set %q, want pg2 to stay out", got)
	}
	w.policy = Policy{}
	w.build()
	if got := w.replicas(); got != "pg2 pg3" {
		t.Errorf("no limit any more: read set %q", got)
	}
}
