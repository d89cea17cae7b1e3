package failover

import (
	"slices"
	"sync"
	"time"
)

// track is a series of moments at which something went well. Its methods may be
// called by any goroutine.
type track struct {
	mu    sync.Mutex
	times []time.Time
}

func (t *track) mark(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.times = append(t.times, at)
}

func (t *track) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.times = nil
}

// all gives the moments in their order.
func (t *track) all() []time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	times := slices.Clone(t.times)
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// after reports whether there is a moment after at.
func (t *track) after(at time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.times, at.Before)
}

// gap is a stretch of time without a moment.
type gap struct{ from, to time.Time }

func (g gap) length() time.Duration { return g.to.Sub(g.from) }

// longestGap gives the longest stretch of [from, to] without any of the times,
// which are in order. The ends of the window count as moments: a series that
// stops is a gap up to the end.
func longestGap(times []time.Time, from, to time.Time) gap {
	longest, last := gap{from, from}, from
	for _, t := range append(slices.Clone(times), to) {
		if t.Before(from) {
			continue
		}
		if t.After(to) {
			t = to
		}
		if g := (gap{last, t}); g.length() > longest.length() {
			longest = g
		}
		last = t
	}
	return longest
}
