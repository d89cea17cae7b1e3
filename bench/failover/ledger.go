package failover

import "sync"

// ledger is the history of the writes of one front: each has a number of its
// own, and is acknowledged or not. Its methods may be called by any goroutine.
type ledger struct {
	mu    sync.Mutex
	first int64          // of the scenario
	last  int64          // given out
	acked map[int64]bool // since first
}

// next gives a write its number.
func (l *ledger) next() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	return l.last
}

// ack notes that the client was told that a write is done.
func (l *ledger) ack(id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[id] = true
}

// begin starts a new scenario; numbers go on.
func (l *ledger) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first, l.acked = l.last+1, map[int64]bool{}
}

// span is the first and the last number of the scenario.
func (l *ledger) span() (first, last int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first, l.last
}

// compare holds the history against what the database has: how many times each
// number stands there. A write whose client got an error may be there or not.
// Lost is what was acknowledged and is not there, duplicated what is there
// more than once, or has a number that was not given out.
func (l *ledger) compare(stored map[int64]int) (lost, duplicated int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.acked {
		if stored[id] == 0 {
			lost++
		}
	}
	for id, times := range stored {
		switch {
		case id < l.first || id > l.last:
			duplicated += times
		case times > 1:
			duplicated += times - 1
		}
	}
	return lost, duplicated
}
