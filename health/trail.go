package health

import (
	"sort"
	"time"
)

// trail remembers where the primary's WAL was and when, so that a replica's
// replay position can be told as a time. It takes no clock of its own. Unlike the
// time of the last replayed commit, it is right while the primary is idle.
//
//	LSN |            ____o now          A replica at R has what the primary had
//	  R |- - - - __o                    at the time below the point where the
//	    |   ___o   .                    trail passes R.
//	    +----------.------------ time
type trail struct {
	samples []sample // rising in time and position
}

// sample says that the primary's WAL had got to lsn at the latest by at.
type sample struct {
	at  time.Time
	lsn uint64
}

// maxSamples bounds a trail: ten minutes of one sample a second are kept as they
// are, older ones ever more coarsely.
const maxSamples = 1200

// note adds a sample. A position that goes back is another history's: what was
// before says nothing about it.
func (t *trail) note(at time.Time, lsn uint64) {
	n := len(t.samples)
	if n > 0 && lsn < t.samples[n-1].lsn {
		t.samples, n = t.samples[:0], 0
	}
	if n > 0 && !at.After(t.samples[n-1].at) {
		return
	}
	if n > 2 && t.samples[n-3].lsn == lsn {
		// An idle primary takes no room. Of the idleness the beginning is kept, and
		// the last two words, for whoever asks about the time between these.
		t.samples[n-2], t.samples[n-1].at = t.samples[n-1], at
		return
	}
	t.samples = append(t.samples, sample{at, lsn})
	if len(t.samples) > maxSamples {
		t.thin()
	}
}

// thin drops every other sample of the older half.
func (t *trail) thin() {
	half := len(t.samples) / 2
	kept := t.samples[:0]
	for i, s := range t.samples {
		if i >= half || i%2 == 0 {
			kept = append(kept, s)
		}
	}
	t.samples = kept
}

// behind tells how far a position is behind the primary, as it was by at. Both
// numbers are lower bounds. ok is false when the primary was not heard of within
// patience before at.
func (t *trail) behind(at time.Time, lsn uint64, patience time.Duration) (bytes uint64, lag time.Duration, ok bool) {
	known := t.samples[:sort.Search(len(t.samples), func(i int) bool { return t.samples[i].at.After(at) })]
	if len(known) == 0 {
		return 0, 0, false
	}
	last := known[len(known)-1]
	if at.Sub(last.at) > patience {
		return 0, 0, false
	}
	if lsn >= last.lsn {
		return 0, 0, true
	}
	return last.lsn - lsn, last.at.Sub(passed(known, lsn)), true
}

// passed is when the trail left the position lsn behind, which is below its end.
func passed(known []sample, lsn uint64) time.Time {
	i := sort.Search(len(known), func(i int) bool { return known[i].lsn > lsn })
	if i == 0 {
		return known[0].at // before that; nobody knows
	}
	from, to := known[i-1], known[i]
	share := float64(lsn-from.lsn) / float64(to.lsn-from.lsn)
	return from.at.Add(time.Duration(share * float64(to.at.Sub(from.at))))
}
