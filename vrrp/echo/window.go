package echo

import "time"

// windowLen is how far datagrams may overtake each other: paths differ in delay,
// and a message leaves over all of them.
const windowLen = 1024

// window remembers which sequence numbers have come, as in RFC 4303, 3.4.3.
type window struct {
	top  uint64
	seen [windowLen / 64]uint64 // bit seq%windowLen, of those within windowLen below top
}

// take reports whether seq is new, and notes it.
func (w *window) take(seq uint64) bool {
	switch {
	case seq == 0 || seq <= w.top && w.top-seq >= windowLen:
		return false
	case seq > w.top && seq-w.top > windowLen:
		w.seen = [len(w.seen)]uint64{}
		w.top = seq
	case seq > w.top:
		for s := w.top + 1; s <= seq; s++ {
			w.seen[s%windowLen/64] &^= 1 << (s % 64)
		}
		w.top = seq
	}
	bit := uint64(1) << (seq % 64)
	word := &w.seen[seq%windowLen/64]
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

// How many datagrams of unknown boots are looked at in a second. A key has to be
// derived for each, some microseconds; a peer that starts needs one to get through.
const (
	floodRate  = 1000
	floodBurst = 200
)

// bucket fills with time and lets that many pass.
type bucket struct {
	full  bool // it was, at the first call
	level float64
	at    time.Duration
}

func (b *bucket) take(now time.Duration) bool {
	if !b.full {
		b.full, b.level, b.at = true, floodBurst, now
	}
	b.level = min(floodBurst, b.level+(now-b.at).Seconds()*floodRate)
	b.at = now
	if b.level < 1 {
		return false
	}
	b.level--
	return true
}
