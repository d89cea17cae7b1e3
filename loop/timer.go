package loop

import "time"

// Timer is a function that a loop will call once. It belongs to its loop.
type Timer struct {
	at    time.Time
	index int // in the heap, plus one; 0 when not pending
	call  func()
	heap  *timerHeap
}

// After calls f on the loop once d has passed; only for code on the loop.
func (l *Loop) After(d time.Duration, f func()) *Timer {
	t := &Timer{at: l.now.Add(d), call: f, heap: &l.timers}
	l.timers.push(t)
	return t
}

// Stop makes sure that the timer does not fire any more. Stopping nil, or a
// timer that has fired, does nothing.
func (t *Timer) Stop() {
	if t != nil && t.index != 0 {
		t.heap.remove(t.index - 1)
	}
}

// Pending reports whether the timer is still to fire.
func (t *Timer) Pending() bool { return t != nil && t.index != 0 }

// timerHeap is a binary heap by time. A loop has few timers: queues and pools
// arm one for their oldest member instead of one each.
type timerHeap []*Timer

// timeout is the time to wait for the first timer in milliseconds, rounded up
// so that it is due on return; -1 without one.
func (h timerHeap) timeout(now time.Time) int {
	if len(h) == 0 {
		return -1
	}
	d := h[0].at.Sub(now)
	if d <= 0 {
		return 0
	}
	return int(min((d+time.Millisecond-1)/time.Millisecond, 1<<30))
}

func (h *timerHeap) fire(now time.Time) {
	for len(*h) > 0 && !(*h)[0].at.After(now) {
		t := (*h)[0]
		h.remove(0)
		t.call()
	}
}

func (h *timerHeap) push(t *Timer) {
	*h = append(*h, t)
	h.up(len(*h) - 1)
}

func (h *timerHeap) remove(i int) {
	s := *h
	last := len(s) - 1
	s[i].index = 0
	if i != last {
		s[i] = s[last]
		s[i].index = i + 1
	}
	s[last] = nil
	*h = s[:last]
	if i != last {
		h.down(i)
		h.up(i)
	}
}

func (h *timerHeap) up(i int) {
	s := *h
	t := s[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !t.at.Before(s[parent].at) {
			break
		}
		s[i] = s[parent]
		s[i].index = i + 1
		i = parent
	}
	s[i] = t
	t.index = i + 1
}

func (h *timerHeap) down(i int) {
	s := *h
	t := s[i]
	for {
		child := 2*i + 1
		if child >= len(s) {
			break
		}
		if child+1 < len(s) && s[child+1].at.Before(s[child].at) {
			child++
		}
		if !s[child].at.Before(t.at) {
			break
		}
		s[i] = s[child]
		s[i].index = i + 1
		i = child
	}
	s[i] = t
	t.index = i + 1
}
