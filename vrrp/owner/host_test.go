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

// keeper is the process that runs the machine.
type keeper struct {
	process
	m     *Machine
	spoke time.Duration // its last beat, on the world's clock
	heard time.Duration // the main process's
	tick  int
	until time.Duration // of the last Hold
	gone  bool
	truth bool // when it believed in an outage, there was one
}

func (h *host) startKeeper(boot string) {
	w := h.w
	cfg := Config{Node: h.name, Boot: boot, Priority: h.priority, Resume: h.address, Promised: h.promised.Until, PromisedTerm: h.promised.Term,
		ARP: w.arp, Preempt: w.preempt}
	if w.without&rememberPromise != 0 {
		cfg.Promised, cfg.PromisedTerm = 0, 0
	}
	for _, p := range w.nodes {
		if p != h {
			cfg.Peers = append(cfg.Peers, p.name)
		}
	}
	m, err := New(cfg, h.clock())
	if err != nil {
		panic(err)
	}
	m.off = w.without
	if w.without&startWait != 0 {
		m.born = 0
	}
	k := &keeper{process: process{h: h, alive: true}, m: m, spoke: w.now, heard: w.now}
	h.keeper = k
	w.tracef("%s keeper started, resumes: %v", h.name, cfg.Resume)
	k.schedule()
	k.serve()
}

// serve is the part of the keeper's loop that goes by time.
func (k *keeper) serve() {
	w := k.h.w
	k.spoke = w.now
	if w.now-k.heard > beatSilence && !k.gone {
		k.gone = true
		w.tracef("%s the keeper hears nothing of its main process", k.h.name)
		k.do(k.m.MainGone(k.h.clock()))
	}
	if w.adverts && k.h.address && k.m.own != nil {
		k.advert(uint8(k.m.priority()))
	}
	k.later(beatEvery, k.serve)
}

func (k *keeper) beat() {
	if !k.h.main.exists() {
		return
	}
	k.heard, k.gone = k.h.w.now, false
	k.do(k.m.Fit(k.h.clock(), k.h.fit))
}

func (k *keeper) orphaned() {
	k.gone = true
	k.do(k.m.MainGone(k.h.clock()))
	k.exit()
}

// exit ends an orphaned keeper once it has told the peers.
func (k *keeper) exit() {
	if !k.m.Status(k.h.clock()).Left {
		k.later(10*ms, k.exit)
		return
	}
	k.later(k.h.w.linger, func() {
		k.alive = false
		k.h.w.watch.look()
	})
}

func (k *keeper) advert(priority uint8) {
	for _, p := range k.h.w.nodes {
		if p != k.h && p.keeper != nil {
			k.h.w.send(k.h, p, func() { p.keeper.do(p.keeper.m.Heard(p.clock(), k.h.name, priority)) })
		}
	}
}

func (k *keeper) answer(id uint64, reply Reply) { k.do(k.m.Answer(k.h.clock(), id, reply)) }

func (k *keeper) schedule() {
	k.tick++
	tick := k.tick
	k.later(k.m.Next()-k.h.clock(), func() {
		if k.tick == tick {
			k.do(k.m.Tick(k.h.clock()))
		}
	})
}

// do carries the actions out and sets the alarm anew.
func (k *keeper) do(actions []Action) {
	h, w := k.h, k.h.w
	if w.darkness() {
		w.dark = w.now
	}
	for _, a := range actions {
		switch a := a.(type) {
		case Send:
			k.send(a)
		case Request:
			w.etcd.request(h, a)
		case Hold:
			k.until = a.Until
			if !h.address || w.now-h.refreshed > 400*ms {
				if h.clock() < a.Until {
					h.add(fmt.Sprint("term ", a.Term))
				}
			}
		case Drop:
			k.until = 0
			h.remove(a.Why)
			if w.adverts {
				k.advert(0)
			}
			k.later(100*time.Microsecond, func() { k.do(k.m.Dropped(h.clock())) })
		case Probe:
			k.probe(a.ID)
		case Persist:
			h.promised = a
		case Note:
			w.tracef("%s %s: %s", h.name, a.Kind, a.Text)
			if a.Kind == "outage" {
				k.truth = w.now-w.dark < 500*ms
			}
		}
	}
	k.schedule()
}

func (k *keeper) send(a Send) {
	w := k.h.w
	for _, p := range w.nodes {
		if p.name != a.To || p.keeper == nil {
			continue
		}
		deliver := func() {
			p.keeper.do(p.keeper.m.Receive(p.clock(), k.h.name, a.Message))
		}
		w.send(k.h, p, deliver)
		if w.chance(0.02) { // a second path, or the network's own copy
			w.send(k.h, p, deliver)
		}
	}
}

// probe asks three times whether another host has the address; kernels answer.
func (k *keeper) probe(id uint64) {
	h, w := k.h, k.h.w
	answered := false
	for i := range 3 {
		w.after(time.Duration(i)*150*ms, func() {
			for _, p := range w.nodes {
				if p != h && p.address && p.up && !p.paused && w.lan[h.id][p.id] && w.lan[p.id][h.id] && !w.chance(w.loss) && !w.chance(w.loss) {
					answered = true
				}
			}
		})
	}
	k.later(450*ms, func() { k.do(k.m.Probed(h.clock(), id, answered)) })
}

// darkness says whether no living node has an answer of etcd.
func (w *world) darkness() bool {
	for _, h := range w.nodes {
		if k := h.keeper; k != nil && h.up && !h.paused && k.alive && k.m.etcdOK+k.m.cfg.EtcdStale > h.clock() {
			return false
		}
	}
	return true
}
