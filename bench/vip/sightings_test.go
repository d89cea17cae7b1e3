package vip

import (
	"testing"
	"time"
)

// at is a moment of the made-up histories.
func at(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }

// history is an observer's with a probe every 10 ms up to end, and answers of "a"
// and "b" to the probes of the given times.
func history(end int, a, b func(ms int) bool) sightings {
	var s sightings
	for ms := 0; ms < end; ms += 10 {
		s.probes = append(s.probes, at(ms))
		if a(ms) {
			s.answers = append(s.answers, sighting{at(ms), "a"})
		}
		if b(ms) {
			s.answers = append(s.answers, sighting{at(ms).Add(time.Millisecond), "b"})
		}
	}
	return s
}

func TestOwnersAreCounted(t *testing.T) {
	until := func(end int) func(int) bool { return func(ms int) bool { return ms < end } }
	from := func(start int) func(int) bool { return func(ms int) bool { return ms >= start } }
	tests := []struct {
		name      string
		a, b      func(int) bool
		dual, gap int
	}{
		{"one owner", until(1000), from(1000), 0, 0},
		{"a clean move", until(500), from(500), 0, 0},
		{"a gap", until(500), from(700), 0, 210},
		{"two owners", until(500), from(300), 200, 0},
		{"nobody at the end", until(500), from(5000), 0, 500},
		{"nobody at all", until(0), from(5000), 0, 990},
		{"a second one now and then", until(1000), func(ms int) bool { return ms%100 == 0 }, 100, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := history(1000, tt.a, tt.b)
			if got := s.dual(); got != time.Duration(tt.dual)*time.Millisecond {
				t.Errorf("two owners for %v, want %d ms", got, tt.dual)
			}
			if got := s.gap(); got != time.Duration(tt.gap)*time.Millisecond {
				t.Errorf("nobody for %v, want %d ms", got, tt.gap)
			}
		})
	}
}

func TestStandstillIsNoGap(t *testing.T) {
	s := history(1000, func(int) bool { return true }, func(int) bool { return false })
	s.probes = append(s.probes[:50:50], s.probes[90:]...)
	s.answers = append(s.answers[:50:50], s.answers[90:]...)
	if gap, stall := s.gap(), s.stall(); gap != 0 || stall != 410*time.Millisecond {
		t.Errorf("gap %v and stall %v, want 0 and 410ms", gap, stall)
	}
}

func TestSightingsSince(t *testing.T) {
	s := history(1000, func(int) bool { return true }, func(ms int) bool { return ms == 0 }).since(at(500))
	if len(s.probes) != 50 || len(s.answers) != 50 || !s.probes[0].Equal(at(500)) {
		t.Errorf("%d probes and %d answers, want 50 each", len(s.probes), len(s.answers))
	}
	if _, ok := s.firstOther("a"); ok {
		t.Error("b answered, but only before")
	}
}

func TestOverlapAndStay(t *testing.T) {
	a := []span{{at(0), at(100)}, {at(200), time.Time{}}}
	b := []span{{at(90), at(210)}}
	tests := []struct {
		name  string
		hosts [][]span
		from  int
		want  int
	}{
		{"alone", [][]span{a}, 0, 0},
		{"twice", [][]span{a, b}, 0, 20},
		{"the second time", [][]span{a, b}, 95, 15},
		{"one that goes on", [][]span{a, {{at(250), time.Time{}}}}, 0, 50},
		{"never", [][]span{a, {{at(100), at(200)}}}, 0, 0},
	}
	for _, tt := range tests {
		if got := overlap(tt.hosts, at(tt.from), at(300)); got != time.Duration(tt.want)*time.Millisecond {
			t.Errorf("%s: overlap is %v, want %d ms", tt.name, got, tt.want)
		}
	}
	for _, tt := range []struct{ from, want int }{{50, 50}, {150, 0}, {250, 50}, {100, 0}} {
		if got := stayed(a, at(tt.from), at(300)); got != time.Duration(tt.want)*time.Millisecond {
			t.Errorf("from %d: stayed %v, want %d ms", tt.from, got, tt.want)
		}
	}
}
