package track

import (
	"testing"

	"pgregory.net/rapid"
)

func TestJudge(t *testing.T) {
	tests := []struct {
		name    string
		script  Script
		results string // + success, - failure
		states  string // after each: ? g b
		weight  int    // in the end
		fault   bool
	}{
		{"nothing known, nothing done", Script{Weight: 20}, "", "", 0, false},
		{"nothing known of one without weight", Script{}, "", "", 0, false},
		{"the first success is enough", Script{Rise: 3, Weight: 20}, "+", "g", 20, false},
		{"the first failure is enough", Script{Fall: 3, Weight: -20}, "-", "b", -20, false},
		{"fall failures in a row", Script{Fall: 3, Weight: 20}, "+--+---", "ggggggb", 0, false},
		{"rise successes in a row", Script{Rise: 3, Weight: 20}, "-++-+++", "bbbbbbg", 20, false},
		{"a weight below 0 counts while bad", Script{Weight: -20}, "-", "b", -20, false},
		{"and not while good", Script{Weight: -20}, "-+", "bg", 0, false},
		{"without weight: out while bad", Script{Fall: 2}, "+--", "ggb", 0, true},
		{"without weight: back after rise", Script{Rise: 2}, "-++", "bbg", 0, false},
		{"init_fail: bad from the start", Script{InitFail: true}, "", "", 0, true},
		{"init_fail: good by rise", Script{InitFail: true, Rise: 2}, "+", "b", 0, true},
		{"init_fail: and then it is", Script{InitFail: true, Rise: 2}, "++", "bg", 0, false},
		{"init_fail with weight", Script{InitFail: true, Weight: -5}, "", "", -5, false},
		{"reverse: off while good", Script{Reverse: true, Weight: 20}, "+", "g", -20, false},
		{"reverse: nothing while bad", Script{Reverse: true, Weight: 20}, "-", "b", 0, false},
		{"reverse: below 0, added while bad", Script{Reverse: true, Weight: -20}, "-", "b", 20, false},
		{"reverse: out while good", Script{Reverse: true}, "+", "g", 0, true},
		{"reverse: in while bad", Script{Reverse: true}, "-", "b", 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j := NewJudge(tt.script)
			for i, r := range tt.results {
				before := j.State()
				changed := j.Result(r == '+')
				want := map[byte]State{'?': Unknown, 'g': Good, 'b': Bad}[tt.states[i]]
				if j.State() != want || changed != (before != want) {
					t.Errorf("result %d: %s, changed %t, want %s", i, j.State(), changed, want)
				}
			}
			if weight, fault := j.Effect(); weight != tt.weight || fault != tt.fault {
				t.Errorf("got %d, %t, want %d, %t", weight, fault, tt.weight, tt.fault)
			}
		})
	}
}

func TestSum(t *testing.T) {
	scripts := []Script{{Name: "a", Weight: 200}, {Name: "b", Weight: -40}, {Name: "c"}, {Name: "d"}}
	var judges []Judge
	for _, s := range scripts {
		j := NewJudge(s)
		j.Result(s.Name == "a")
		judges = append(judges, j)
	}
	if got, want := Sum(judges), (Verdict{160, "track_script c, d"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	judges[2].Result(true)
	judges[3].Result(true)
	if got, want := Sum(judges), (Verdict{Weight: 160}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := Sum(nil); got != (Verdict{}) {
		t.Errorf("of nothing: got %+v", got)
	}
}

func TestEffectiveStaysInBounds(t *testing.T) {
	for _, tt := range []struct {
		priority uint8
		weight   int
		want     uint8
	}{
		{100, 0, 100}, {100, 20, 120}, {100, -20, 80},
		{100, 154, 254}, {100, 155, 254}, {100, 100_000, 254},
		{100, -99, 1}, {100, -100, 1}, {100, -100_000, 1},
		{255, -50, 255}, {254, 1, 254}, {1, -1, 1},
	} {
		if got := Effective(tt.priority, tt.weight); got != tt.want {
			t.Errorf("Effective(%d, %d) = %d, want %d", tt.priority, tt.weight, got, tt.want)
		}
	}
}

// TestStateIsWhatTheLastResultsSay: a state that has changed was preceded by as many
// results in a row as it takes; while it has not, there were never as many.
func TestStateIsWhatTheLastResultsSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Script{
			Rise: rapid.IntRange(1, 5).Draw(t, "rise"), Fall: rapid.IntRange(1, 5).Draw(t, "fall"),
			InitFail: rapid.Bool().Draw(t, "init_fail"),
		}
		j, row, last := NewJudge(s), 0, false
		for i, ok := range rapid.SliceOf(rapid.Bool()).Draw(t, "results") {
			if ok != last {
				row = 0
			}
			row, last = row+1, ok
			first := i == 0 && !s.InitFail
			j.Result(ok)
			need, is := s.Fall, Bad
			if ok {
				need, is = s.Rise, Good
			}
			if (row >= need || first) && j.State() != is {
				t.Fatalf("result %d: %s after %d in a row, want %s", i, j.State(), row, is)
			}
		}
	})
}

func TestStatesHaveNames(t *testing.T) {
	for s, want := range map[State]string{Unknown: "unknown", Good: "good", Bad: "bad", 9: "State(9)"} {
		if s.String() != want {
			t.Errorf("got %s, want %s", s, want)
		}
	}
}
