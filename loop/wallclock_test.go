package loop

import (
	"testing"
	"time"
	"unsafe"
)

// stepped is a time as time.Now would give it after the wall clock has been set by a
// number of seconds: package time keeps those in a word beside the monotonic reading.
func stepped(t time.Time, seconds int64) time.Time {
	word := (*uint64)(unsafe.Pointer(&t))
	*word = uint64(int64(*word) + seconds<<30)
	return t
}

// TestTimersIgnoreTheWallClock: one that is set forward fires nothing before its
// time, and one that is set back keeps nothing from firing.
func TestTimersIgnoreTheWallClock(t *testing.T) {
	now := time.Now()
	if s := stepped(now, 3600); s.Unix()-now.Unix() != 3600 || s.Sub(now) != 0 {
		t.Fatalf("the wall clock says %v, the monotonic one %v", s.Unix()-now.Unix(), s.Sub(now))
	}
	for _, step := range []int64{86400, -86400} {
		l := &Loop{now: now}
		fired := 0
		l.After(time.Second, func() { fired++ })
		l.timers.fire(stepped(now.Add(time.Second-1), step))
		if fired != 0 {
			t.Errorf("set by %d s, a timer fired early", step)
		}
		l.timers.fire(stepped(now.Add(time.Second), step))
		if fired != 1 {
			t.Errorf("set by %d s, a timer did not fire", step)
		}
	}
}
