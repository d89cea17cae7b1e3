package loop

import "time"

// Timer is a function that a loop will call once. It belongs to its loop.
type Timer struct {
	at    time.Time
	seq   uint64 // in the order of arming
	index int    // in the heap, plus one; 0 when not pending
	call  func() // nil when not pending, so that a timer kept keeps nothing alive
	heap  *timers
}

// After calls f on the loop once d has passed since the beginning of this turn,
// and never in the firing that is going on: who asks for no time at all comes
// after the sockets' next turn. Timers due at the same time fire in the order of
// arming. Only for code on the loop.
func (l *Loop) After(d time.Duration, f func()) *Timer {
	l.timers.armed++
	t := &Timer{at: l.now.Add(max(d, 0)), seq: l.timers.armed, call: f, heap: &l.timers}
	l.timers.push(t)
	return t
}

// Stop makes sure that the timer does not fire any more. Stopping nil, or a
// timer that has fired, does nothing.
func (t *Timer) Stop() {
	if t.Pending() {
		t.heap.remove(t.index - 1)
		t.call = nil
	}
}

// Pending reports whether the timer is still to fire.
func (t *Timer) Pending() bool { return t != nil && t.index != 0 }

// timers is a binary heap by time. A loop has few timers: queues and pools arm
// one for their oldest member instead of one each.
type timers struct {
	heap  []*Timer
	armed uint64 // how many there have been
}

// next is when the first timer is due, the zero time without one.
func (h *timers) next() time.Time {
	if len(h.heap) == 0 {
		return time.Time{}
	}
	return h.heap[0].at
}

// fire calls what is due, except what is armed meanwhile.
func (h *timers) fire(now time.Time) {
	last := h.armed
	for len(h.heap) > 0 {
		t := h.heap[0]
		if t.at.After(now) || t.seq > last {
			return
		}
		call := t.call
		t.Stop()
		call()
	}
}

// before is the order of firing.
func (t *Timer) before(other *Timer) bool {
	if t.at.Equal(other.at) {
		return t.seq < other.seq
	}
	return t.at.Before(other.at)
}

func (h *timers) push(t *Timer) {
	h.heap = append(h.heap, t)
	h.up(len(h.heap) - 1)
}

func (h *timers) remove(i int) {
	s := h.heap
	last := len(s) - 1
	s[i].index = 0
	if i != last {
		s[i] = s[last]
		s[i].index = i + 1
	}
	s[last] = nil
	h.heap = s[:last]
	if i != last {
		h.down(i)
		h.up(i)
	}
}

func (h *timers) up(i int) {
	s := h.heap
	t := s[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !t.before(s[parent]) {
			break
		}
		s[i] = s[parent]
		s[i].index = i + 1
		i = parent
	}
	s[i] = t
	t.index = i + 1
}

func (h *timers) down(i int) {
	s := h.heap
	t := s[i]
	for {
		child := 2*i + 1
		if child >= len(s) {
			break
		}
		if child+1 < len(s) && s[child+1].before(s[child]) {
			child++
		}
		if !s[child].before(t) {
			break
		}
		s[i] = s[child]
		s[i].index = i + 1
		i = child
	}
	s[i] = t
	t.index = i + 1
}
