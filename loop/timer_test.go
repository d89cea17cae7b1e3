package loop

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// ticking is a loop without sockets whose clock the test turns.
func ticking() *Loop { return &Loop{now: time.Unix(1000, 0)} }

// pass lets d go by and fires what is due.
func (l *Loop) pass(d time.Duration) {
	l.now = l.now.Add(d)
	l.timers.fire(l.now)
}

func TestTimersFireInOrderOfTimeThenOfArming(t *testing.T) {
	l := ticking()
	var fired []string
	for _, timer := range []struct {
		name string
		d    time.Duration
	}{
		{"b1", 2}, {"a1", 1}, {"b2", 2}, {"c", 3}, {"a2", 1}, {"past", -5}, {"b3", 2}, {"zero", 0},
	} {
		l.After(timer.d, func() { fired = append(fired, timer.name) })
	}
	l.pass(2)
	if want := []string{"past", "zero", "a1", "a2", "b1", "b2", "b3"}; !slices.Equal(fired, want) {
		t.Errorf("fired %q, want %q", fired, want)
	}
	l.pass(1)
	if len(fired) != 8 {
		t.Errorf("fired %q, want c too", fired)
	}
}

// Whoever arms a timer for no time at all gets it in the next turn: the sockets
// come first.
func TestTimerArmedInsideOneFiresInALaterTurn(t *testing.T) {
	for _, d := range []time.Duration{0, -time.Second} {
		l := ticking()
		fired := 0
		var again func()
		again = func() {
			if fired++; fired > 100 {
				t.Fatal("a timer kept the turn to itself")
			}
			l.After(d, again)
		}
		l.After(0, again)
		other := l.After(0, func() {})
		for turn := 1; turn <= 3; turn++ {
			l.pass(0)
			if fired != turn {
				t.Errorf("After(%v) fired %d times in %d turns", d, fired, turn)
			}
			if other.Pending() {
				t.Errorf("After(%v) kept another timer from its turn", d)
			}
		}
	}
}

func TestStopInsideATimer(t *testing.T) {
	l := ticking()
	var self, other *Timer
	fired := 0
	self = l.After(1, func() {
		fired++
		self.Stop()
		other.Stop()
		if self.Pending() || other.Pending() {
			t.Error("a timer is pending after Stop")
		}
	})
	other = l.After(1, func() { t.Error("fired after Stop") })
	last := l.After(2, func() { fired++ })
	l.pass(2)
	if fired != 2 || last.Pending() {
		t.Errorf("fired %d, want 2", fired)
	}
	var none *Timer
	none.Stop()
	if none.Pending() {
		t.Error("no timer is pending")
	}
}

// A timer that has fired or was stopped keeps nothing alive.
func TestTimerLetsGoOfItsFunction(t *testing.T) {
	l := ticking()
	fired, stopped := l.After(1, func() {}), l.After(1, func() {})
	stopped.Stop()
	l.pass(1)
	if fired.call != nil || stopped.call != nil {
		t.Error("a timer that is over holds its function")
	}
}

func TestNextIsTheFirstTimerDue(t *testing.T) {
	l := ticking()
	if got := l.timers.next(); !got.IsZero() {
		t.Errorf("next without timers = %v, want the zero time", got)
	}
	l.After(time.Hour, func() {})
	first := l.After(time.Minute, func() {})
	if got, want := l.timers.next(), l.now.Add(time.Minute); !got.Equal(want) {
		t.Errorf("next = %v, want %v", got, want)
	}
	first.Stop()
	if got, want := l.timers.next(), l.now.Add(time.Hour); !got.Equal(want) {
		t.Errorf("next = %v, want %v", got, want)
	}
}

// The heap against the obvious model: a sorted list.
func TestTimersAgainstAModel(t *testing.T) {
	type entry struct {
		at, id int
		timer  *Timer
	}
	rapid.Check(t, func(t *rapid.T) {
		l := ticking()
		var model []entry
		var got, want []int
		now := 0
		for id := range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"arm", "arm", "stop", "pass"}).Draw(t, "what") {
			case "arm":
				d := rapid.IntRange(0, 5).Draw(t, "d")
				model = append(model, entry{now + d, id, l.After(time.Duration(d), func() { got = append(got, id) })})
			case "stop":
				if len(model) > 0 {
					i := rapid.IntRange(0, len(model)-1).Draw(t, "which")
					model[i].timer.Stop()
					model = slices.Delete(model, i, i+1)
				}
			case "pass":
				d := rapid.IntRange(0, 3).Draw(t, "time")
				now += d
				l.pass(time.Duration(d))
				slices.SortStableFunc(model, func(a, b entry) int { return a.at - b.at })
				for len(model) > 0 && model[0].at <= now {
					want = append(want, model[0].id)
					model = model[1:]
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("fired %v, want %v", got, want)
			}
		}
	})
}
