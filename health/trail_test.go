package health

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestTrail: how far a position is behind a primary that was at 0 at 0 s, at 1000
// at 10 s, idle until 100 s, at 2000 at 101 s.
func TestTrail(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	var tr trail
	for s := range 11 {
		tr.note(at(float64(s)), uint64(s*100))
	}
	for s := 11; s <= 100; s++ {
		tr.note(at(float64(s)), 1000)
	}
	tr.note(at(101), 2000)
	if len(tr.samples) > 15 {
		t.Errorf("%d samples: idleness takes room", len(tr.samples))
	}
	const patience = 3 * time.Second
	rows := []struct {
		name  string
		at    float64
		lsn   uint64
		bytes uint64
		lag   float64
		ok    bool
	}{
		{"level", 101, 2000, 0, 0, true},
		{"ahead of the last word", 101.5, 2100, 0, 0, true},
		{"in the last second", 101, 1500, 500, 0.5, true},
		{"idle until a second ago", 101, 1000, 1000, 1, true},
		{"before the idleness", 101, 950, 1050, 91.5, true},
		{"older than all", 101, 0, 2000, 101, true},
		{"asked before it moved on", 100.5, 1000, 0, 0, true},
		{"primary silent for long", 105, 2000, 0, 0, false},
		{"primary silent for a little", 103, 1500, 500, 0.5, true},
		{"before all news", -1, 0, 0, 0, false},
	}
	for _, row := range rows {
		bytes, lag, ok := tr.behind(at(row.at), row.lsn, patience)
		if bytes != row.bytes || lag.Seconds() != row.lag || ok != row.ok {
			t.Errorf("%s: %d bytes, %v, %v; want %d, %vs, %v", row.name, bytes, lag, ok, row.bytes, row.lag, row.ok)
		}
	}
	tr.note(at(102), 500)
	if _, _, ok := tr.behind(at(101), 500, patience); ok || len(tr.samples) != 1 {
		t.Errorf("a position that went back has left %v", tr.samples)
	}
}

// TestTrailIsALowerBound: whatever the primary writes and whenever it is asked,
// neither number says more than is true, and time is never far off where the trail
// is dense.
func TestTrailIsALowerBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const second = 100 // ticks
		start := time.Unix(1000, 0)
		at := func(tick int) time.Time { return start.Add(time.Duration(tick) * time.Second / second) }
		var tr trail
		lsn, truth := uint64(0), []uint64{} // position at each tick
		rate, asked := 0, 0
		for now := range 60 * second {
			if now%(5*second) == 0 {
				rate = rapid.SampledFrom([]int{0, 0, 1, 7, 1000}).Draw(t, "rate")
			}
			lsn += uint64(rate)
			truth = append(truth, lsn)
			if now == asked {
				tr.note(at(now), lsn)
				asked += rapid.IntRange(second/2, 2*second).Draw(t, "pause")
			}
			if now%(3*second) > 0 {
				continue
			}
			then := rapid.IntRange(0, now).Draw(t, "replica is at the primary of")
			bytes, lag, ok := tr.behind(at(now), truth[then], 5*time.Second)
			if !ok {
				t.Fatalf("at %d: unknown", now)
			}
			if most := truth[now] - truth[then]; bytes > most {
				t.Fatalf("%d bytes behind, true are %d", bytes, most)
			}
			// The primary was at that position until it moved on.
			left := then
			for left < now && truth[left+1] == truth[then] {
				left++
			}
			first := then
			for first > 0 && truth[first-1] == truth[then] {
				first--
			}
			// A sample is 2 s apart from the next at most.
			if most := at(now).Sub(at(first)); lag > most+2*time.Second {
				t.Fatalf("%v behind, true are %v at most", lag, most)
			}
			if least := at(now).Sub(at(left)); bytes > 0 && lag < least-4*time.Second {
				t.Fatalf("%v behind, true are %v at least", lag, least)
			}
		}
	})
}

// TestTrailIsBounded: a day of writing fits, and still knows how long ago morning
// was.
func TestTrailIsBounded(t *testing.T) {
	var tr trail
	start := time.Unix(1000, 0)
	for s := range 86400 {
		tr.note(start.Add(time.Duration(s)*time.Second), uint64(s)*1000)
	}
	if len(tr.samples) > maxSamples {
		t.Errorf("%d samples", len(tr.samples))
	}
	now := start.Add(86399 * time.Second)
	for _, ago := range []int{1, 60, 500, 3600, 40000} {
		_, lag, ok := tr.behind(now, uint64(86399-ago)*1000, time.Second)
		if want := time.Duration(ago) * time.Second; !ok || (lag-want).Abs() > want/100+time.Millisecond {
			t.Errorf("%d s ago: lag %v, %v", ago, lag, ok)
		}
	}
}

// TestTrailAnswersWhileIdle: a replica asked just before the last word of an idle
// primary is not unknown.
func TestTrailAnswersWhileIdle(t *testing.T) {
	var tr trail
	start := time.Unix(1000, 0)
	for s := range 100 {
		tr.note(start.Add(time.Duration(s)*time.Second), 1000)
	}
	if bytes, lag, ok := tr.behind(start.Add(98500*time.Millisecond), 1000, time.Second); bytes != 0 || lag != 0 || !ok {
		t.Errorf("%d bytes, %v, %v", bytes, lag, ok)
	}
}
