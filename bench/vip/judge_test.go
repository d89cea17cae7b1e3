package vip

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// madeUp is a run of a scenario in which lb1 had the address until it answered no
// more at lostAt, and lb2 from takenAt on; 0 for never. The fault is at 0, all ends at 3 s.
func madeUp(s Scenario, lostAt, takenAt int) *run {
	mac := func(n byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, n} }
	r := &Rig{opt: Options{Log: io.Discard}, visitor: &Visitor{}, observer: &Observer{}}
	for i := range 2 {
		r.nodes = append(r.nodes, &Node{Host: &Host{Name: "lb", MAC: mac(byte(i))}, rig: r, watch: &Watch{}})
	}
	r.nodes[0].watch.spans = []span{{from: at(-5000)}}
	if lostAt > 0 {
		r.nodes[0].watch.spans[0].to = at(lostAt)
	}
	if takenAt > 0 {
		r.nodes[1].watch.spans = []span{{from: at(takenAt)}}
	}
	for ms := 0; ms < 3000; ms += 10 {
		o := r.observer
		o.probes = append(o.probes, at(ms))
		first, second := lostAt == 0 || ms < lostAt, takenAt > 0 && ms >= takenAt
		if first {
			o.answers = append(o.answers, sighting{at(ms), mac(0).String()})
		}
		if second {
			o.answers = append(o.answers, sighting{at(ms), mac(1).String()})
		}
		if first || second {
			r.visitor.served = append(r.visitor.served, at(ms).Add(2*time.Millisecond))
		}
	}
	s.Limits.breaks = -1
	return &run{Rig: r, scenario: &s, owner: r.nodes[0], standby: r.nodes[1], fault: at(0), over: at(3000)}
}

func TestScenariosAreJudged(t *testing.T) {
	move := limits{takeover: fast, orphan: guarded}
	tests := []struct {
		name        string
		limits      limits
		lost, taken int
		want        string // part of the reason; empty when it is ok
	}{
		{"a move in time", move, 20, 200, ""},
		{"a move too late", move, 20, 500, "takeover"},
		{"no move", move, 20, 0, "did not move"},
		{"the old owner keeps it", move, 0, 200, "two owners"},
		{"two owners for a moment", move, 230, 200, "two owners"},
		{"the address stays too long", move, 200, 250, "stayed for 200 ms"},
		{"two owners within the bound", limits{takeover: fast, dual: expiry}, 2500, 200, ""},
		{"nothing moves", limits{gap: planned}, 0, 0, ""},
		{"a move where there must be none", limits{}, 200, 210, "the address moved"},
		{"it may stay", limits{takeover: silent, stays: true}, 0, 0, ""},
		{"it may move", limits{takeover: silent, stays: true}, 300, 400, ""},
		{"it may move, but not late", limits{takeover: silent, stays: true}, 300, 1400, "takeover"},
		{"nobody for too long in a planned move", limits{takeover: fast, gap: planned}, 100, 200, "nobody answered"},
		{"a planned move", limits{takeover: fast, gap: planned}, 100, 120, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := madeUp(Scenario{Limits: tt.limits}, tt.lost, tt.taken).judge(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if reason := strings.Join(r.Reasons, "; "); (tt.want == "") != r.OK() || !strings.Contains(reason, tt.want) {
				t.Errorf("judge = %q, want %q: %s", reason, tt.want, r)
			}
		})
	}
}

func TestSleepersAreJudged(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ended []int
		ok    bool
	}{{"all know", []int{300, 600}, true}, {"one knows late", []int{300, 800}, false}, {"one sleeps on", []int{300, 0}, false}} {
		run := madeUp(Scenario{Limits: limits{takeover: fast, tickle: tickled}}, 20, 200)
		run.sleepers = &dormitory{}
		for _, ms := range tt.ended {
			s := &sleeper{}
			if ms > 0 {
				s.ended = at(ms)
			}
			run.sleepers.all = append(run.sleepers.all, s)
		}
		r, err := run.judge(t.Context())
		if err != nil || r.OK() != tt.ok {
			t.Errorf("%s: ok = %t, want %t: %s, %v", tt.name, r.OK(), tt.ok, r, err)
		}
	}
}

func TestLostWritesAreFound(t *testing.T) {
	acked := map[int64]bool{1: true, 2: true, 3: true}
	for text, want := range map[string]int{"1\n2\n3\n4": 0, "1\n3": 1, "": 3} {
		if lost, err := countLost(acked, text); err != nil || lost != want {
			t.Errorf("stored %q: %d lost, %v, want %d", text, lost, err, want)
		}
	}
}

func TestLine(t *testing.T) {
	r := &Result{Scenario: 4, Case: "power-off", Takeover: 655 * time.Millisecond}
	r.more("gap_ms", 600*time.Millisecond)
	want := "vip scenario=4 takeover_ms=655 dual_owner_ms=0 orphan_ms=0 ok=true case=power-off gap_ms=600"
	if got := r.String(); got != want {
		t.Errorf("line is\n%s, want\n%s", got, want)
	}
	r.fall("late")
	if got := r.String(); !strings.Contains(got, "ok=false") || !strings.HasSuffix(got, `why="late"`) {
		t.Errorf("line is %s, want ok=false and a reason", got)
	}
}

func TestScenariosHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Scenarios() {
		if seen[s.Case] || s.Case == "" || (s.Fault == nil) == (s.Special == nil) {
			t.Errorf("scenario %d %q: a name twice, none, or not one way to run it", s.Number, s.Case)
		}
		seen[s.Case] = true
	}
}
