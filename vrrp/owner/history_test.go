package owner

import (
	"time"
)

// outcome is what a history has shown.
type outcome struct {
	setup
	seed    uint64
	dual    [classes]time.Duration
	episode [classes]int
	within  time.Duration // of two holders in an outage, after etcd was back for both
	settled time.Duration // from the end of the faults to one holder; -1 for never
	stays   bool          // a node stayed off for good
	log     []string
}

// setupOf makes a history's circumstances out of its seed.
func setupOf(seed uint64) setup {
	s := setup{count: 2, arp: seed%2 == 0, adverts: seed/2%3 == 0, preempt: seed/6%5 == 0}
	if seed/30%9 < 4 {
		s.count = 3
	}
	s.chaos = seed/7%2 == 0
	s.long = seed/540%4 == 0
	if seed/270%2 == 0 {
		s.linger = 3 * time.Second
	}
	return s
}

// history runs one.
func history(seed uint64, s setup) outcome {
	w := newWorld(seed, s)
	w.begin()
	start := w.now
	w.plan(faults())
	length := 4500 * ms
	if s.long {
		length += 5 * time.Second
	}
	w.run(start + length)
	var stay *host
	if w.chance(0.1) {
		stay = w.pick()
	}
	ended := w.heal(stay)
	if stay == nil {
		w.run(ended + 2*boundSettled)
	} else {
		w.run(ended + boundStay + time.Second)
	}
	for range 5 { // a planned move may be under way
		if w.watch.holders != 1 {
			w.run(w.now + gapOfMove)
		}
	}
	w.watch.close()
	o := outcome{setup: s, seed: seed, dual: w.watch.dual, episode: w.watch.episode, within: w.watch.within,
		settled: max(0, w.watch.settled-ended), stays: stay != nil, log: w.log}
	if w.watch.holders != 1 {
		o.settled = -1
	}
	return o
}

// plan sets one to six faults, close together by preference, and in some histories
// an outage of etcd that outlasts every promise.
func (w *world) plan(all []fault) {
	if w.long {
		down := w.upTo(2500 * ms)
		w.after(down, func() { w.tracef("FAULT etcd down for long"); w.etcd.set(false) })
		for range 1 + w.rnd.IntN(3) {
			w.after(down+ms+w.upTo(6*time.Second), func() { w.random(all) })
		}
	}
	center := 200*ms + w.upTo(2800*ms)
	if w.chaos {
		w.chaosFor(2*time.Second + w.upTo(2*time.Second))
		return
	}
	for range 1 + w.rnd.IntN(6) {
		at := center - 600*ms + w.upTo(1200*ms)
		if w.chance(0.3) {
			at = w.upTo(4 * time.Second)
		}
		w.after(at, func() { w.random(all) })
	}
}
