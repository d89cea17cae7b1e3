package owner

import (
	"fmt"
	"time"
)

// host is one node: its kernel, its main process and its keeper.
type host struct {
	w        *world
	id       int
	name     string
	priority int
	drift    float64

	up      bool
	off     time.Duration // when it went off; its clock counts from then at the latest
	paused  bool          // the whole virtual machine
	since   time.Duration // of the pause
	resumed time.Duration // end of the last pause
	stopped time.Duration // by how much pauses have stopped its clock
	strange bool          // it knows no peers
	stay    bool          // it stays off for good

	address   bool
	refreshed time.Duration
	lifetime  int
	promised  Persist // what keepers have stored

	main   *process
	keeper *keeper
	fit    Fitness

	requests, answers           bool // the ways to etcd and back
	stuckRequests, stuckAnswers []func()
}

func (h *host) clock() time.Duration {
	d := h.w.now - h.off
	return d + time.Duration(float64(d)*h.drift) - h.stopped
}

// process is a program on a host: what happens to it while it is stopped happens
// when it goes on.
type process struct {
	h              *host
	alive, stopped bool
	deferred       []func()
}

func (p *process) awake() bool { return p != nil && p.alive && !p.stopped }

func (p *process) run(do func()) {
	switch {
	case p == nil || !p.alive || !p.h.up:
	case p.stopped || p.h.paused:
		p.deferred = append(p.deferred, func() { p.run(do) })
	default:
		do()
	}
}

func (p *process) later(d time.Duration, do func()) {
	p.h.w.after(d+p.h.w.lateness(), func() { p.run(do) })
}

func (p *process) flush() {
	w := p.h.w
	w.rnd.Shuffle(len(p.deferred), func(i, j int) { p.deferred[i], p.deferred[j] = p.deferred[j], p.deferred[i] })
	releaseAll(w, &p.deferred, 4*ms)
}

func (p *process) stop(d time.Duration) {
	if !p.awake() || !p.h.up {
		return
	}
	p.stopped = true
	p.h.w.watch.look()
	p.h.w.after(d, p.cont)
}

func (p *process) cont() {
	if p != nil && p.alive && p.stopped {
		p.stopped = false
		p.flush()
		p.h.w.watch.look()
	}
}

// The kernel.

func (h *host) add(why string) {
	w := h.w
	h.refreshed = w.now
	h.lifetime++
	life := h.lifetime
	w.after(3*time.Second+w.upTo(350*ms), func() {
		if h.lifetime == life {
			h.remove("it expires")
		}
	})
	if !h.address {
		h.address = true
		w.tracef("%s ADDRESS ADDED (%s)", h.name, why)
		w.watch.moved(h, true)
	}
}

func (h *host) remove(why string) {
	if h.address {
		h.address = false
		h.w.tracef("%s ADDRESS REMOVED (%s)", h.name, why)
		h.w.watch.moved(h, false)
	}
}

// The power.

func (h *host) powerOn() {
	w := h.w
	if h.stay || h.main.exists() && h.up {
		return
	}
	if wait := h.off + 3*time.Second - w.now; !h.up && wait > 0 { // no host boots faster
		w.after(wait, h.powerOn)
		return
	}
	h.up = true
	h.startMain()
}

func (p *process) exists() bool { return p != nil && p.alive }

func (h *host) powerOff() {
	if !h.up {
		return
	}
	h.w.tracef("FAULT %s power off", h.name)
	h.up, h.paused, h.stopped, h.promised = false, false, 0, Persist{}
	h.main.alive, h.keeper.alive = false, false
	h.remove("no power")
	h.off = h.w.now
	h.w.watch.look()
}

func (h *host) pause(d time.Duration, clockStops bool) {
	if !h.up || h.paused {
		return
	}
	h.w.tracef("FAULT %s paused for %v, clock stops: %v", h.name, d, clockStops)
	h.paused, h.since = true, h.w.now
	h.w.watch.look()
	off := h.off
	h.w.after(d, func() {
		if h.off == off {
			h.unpause(clockStops)
		}
	})
}

func (h *host) unpause(clockStops bool) {
	if !h.paused {
		return
	}
	h.w.tracef("%s goes on after its pause", h.name)
	h.paused, h.resumed = false, h.w.now
	if clockStops {
		h.stopped += h.w.now - h.since
	}
	h.main.flush()
	h.keeper.flush()
	h.w.watch.look()
}

// The main process.

const beatEvery, beatSilence = 100 * ms, 600 * ms

func (h *host) startMain() {
	w := h.w
	w.boots++
	boot := fmt.Sprint("boot", w.boots)
	if h.keeper != nil {
		h.keeper.alive = false
	}
	h.remove("left over")
	p := &process{h: h, alive: true}
	h.main = p
	w.tracef("%s main process started: %s", h.name, boot)
	h.startKeeper(boot)
	h.superviseFrom(p, boot)
}

// superviseFrom is the main process's loop: it gives beats, and replaces a keeper
// that is dead or silent.
func (h *host) superviseFrom(p *process, boot string) {
	var loop func()
	loop = func() {
		k := h.keeper
		if !k.alive || h.w.now-k.spoke > beatSilence && h.w.now-p.h.resumed > beatSilence {
			if k.alive {
				h.w.tracef("%s the main process kills its silent keeper", h.name)
				k.alive = false
				h.w.watch.look()
			}
			p.later(5*ms+h.w.upTo(35*ms), func() {
				if h.keeper == k {
					h.startKeeper(boot)
					h.w.watch.look()
				}
				loop()
			})
			return
		}
		h.w.after(h.w.upTo(ms), func() { k.run(k.beat) })
		p.later(beatEvery, loop)
	}
	p.later(0, loop)
}

func (h *host) killMain() {
	if h.main == nil || !h.main.alive || !h.up {
		return
	}
	h.w.tracef("FAULT %s kill -9 of the main process", h.name)
	h.main.alive = false
	k := h.keeper
	h.w.after(500*time.Microsecond+h.w.upTo(4*ms), func() { k.run(k.orphaned) })
	h.w.watch.look()
}

func (h *host) killKeeper() {
	if h.keeper == nil || !h.keeper.alive || !h.up {
		return
	}
	h.w.tracef("FAULT %s kill -9 of the keeper", h.name)
	k, p, boot := h.keeper, h.main, h.keeper.m.cfg.Boot
	k.alive = false
	h.w.watch.look()
	// The end of the pair is noticed before the next beat.
	h.w.after(500*time.Microsecond+h.w.upTo(4*ms), func() {
		p.run(func() {
			p.later(5*ms+h.w.upTo(35*ms), func() {
				if h.keeper == k {
					h.startKeeper(boot)
					h.w.watch.look()
				}
			})
		})
	})
}
