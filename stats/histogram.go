package stats

import (
	"math/bits"
	"time"
)

const (
	// splits is how many buckets there are for each doubling: a quantile is off
	// by at most a quarter of its value.
	splits = 4
	// doublings reach from 1 µs to 2^36 µs, 19 hours.
	doublings = 36
	buckets   = splits * doublings
)

// Histogram counts durations by their size, finely enough for quantiles. The
// zero value is ready; a copy is a reading.
type Histogram struct {
	counts [buckets]uint32
}

// Observe counts one duration.
func (h *Histogram) Observe(d time.Duration) {
	if c := &h.counts[bucket(d)]; *c < 1<<32-1 {
		*c++
	}
}

// Add adds what another histogram has counted.
func (h *Histogram) Add(o *Histogram) {
	for i, n := range o.counts {
		h.counts[i] += min(n, 1<<32-1-h.counts[i])
	}
}

// Count is the number of durations.
func (h *Histogram) Count() uint64 {
	var n uint64
	for _, c := range h.counts {
		n += uint64(c)
	}
	return n
}

// Quantile gives a duration that the share q of all durations does not exceed;
// 0 when nothing was counted.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := uint64(q * float64(h.Count()))
	var seen uint64
	last := time.Duration(0)
	for i, c := range h.counts {
		if c == 0 {
			continue
		}
		seen += uint64(c)
		last = upper(i)
		if seen > rank {
			break
		}
	}
	return last
}

// Below is the number of durations that are shorter than d, to a bucket: exact
// where d is a power of two of microseconds.
func (h *Histogram) Below(d time.Duration) uint64 {
	var n uint64
	for _, c := range h.counts[:bucket(d)] {
		n += uint64(c)
	}
	return n
}

// bucket gives the number of the bucket for d: the position of its highest bit
// in µs, then the two bits below that.
func bucket(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	if us < splits {
		return int(us)
	}
	high := bits.Len64(us) - 1 // at least 2
	return min((high-1)*splits+int(us>>(high-2)&(splits-1)), buckets-1)
}

// upper is the first duration beyond a bucket.
func upper(i int) time.Duration {
	us := uint64(i + 1)
	if i >= splits {
		high := i/splits + 1
		us = uint64(splits+i%splits+1) << (high - 2)
	}
	return time.Duration(us) * time.Microsecond
}
