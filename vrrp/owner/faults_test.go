package owner

import "time"

func (w *world) pick() *host { return w.nodes[w.rnd.IntN(len(w.nodes))] }

func (w *world) other(h *host) *host {
	return w.nodes[(h.id+1+w.rnd.IntN(len(w.nodes)-1))%len(w.nodes)]
}

// victim is the owner by preference: its faults matter most.
func (w *world) victim() *host {
	if w.chance(0.7) {
		for _, h := range w.nodes {
			if h.name == w.etcd.now.Record.Owner {
				return h
			}
		}
	}
	return w.pick()
}

func (w *world) setLAN(from, to *host, v bool) { w.lan[from.id][to.id] = v }

// isolate cuts a node off the LAN, or brings it back.
func (w *world) isolate(h *host, cut bool) {
	for _, p := range w.nodes {
		if p != h {
			w.setLAN(h, p, !cut)
			w.setLAN(p, h, !cut)
		}
	}
}

// setEtcd cuts or restores a node's ways to etcd and back. What was on its way may
// come out later.
func (h *host) setEtcd(requests, answers bool) {
	h.w.watch.look()
	h.requests, h.answers = requests, answers
	h.w.watch.look()
	if requests {
		releaseAll(h.w, &h.stuckRequests, 400*ms)
	}
	if answers {
		releaseAll(h.w, &h.stuckAnswers, 400*ms)
	}
}

// fault does something to the world for a time d. Each ends by itself, at the
// latest when all end.
type fault struct {
	name   string
	weight int
	do     func(w *world, h *host, d time.Duration)
}

func faults() []fault {
	return []fault{
		{"kill -9 of the main process", 4, func(w *world, h *host, d time.Duration) {
			h.killMain()
			w.after(max(d, 60*ms), h.powerOn)
		}},
		{"power off", 2, func(w *world, h *host, d time.Duration) {
			h.powerOff()
			w.after(max(d, 300*ms), h.powerOn)
		}},
		{"main process stopped", 4, func(w *world, h *host, d time.Duration) { h.main.stop(d) }},
		{"LAN cut between two nodes", 2, func(w *world, h *host, d time.Duration) {
			p := w.other(h)
			w.setLAN(h, p, false)
			w.setLAN(p, h, false)
			w.after(d, func() { w.setLAN(h, p, true); w.setLAN(p, h, true) })
		}},
		{"LAN cut one way", 3, func(w *world, h *host, d time.Duration) {
			from, to := h, w.other(h)
			if w.chance(0.5) {
				from, to = to, from
			}
			w.setLAN(from, to, false)
			w.after(d, func() { w.setLAN(from, to, true) })
		}},
		{"off the LAN", 2, func(w *world, h *host, d time.Duration) {
			w.isolate(h, true)
			w.after(d, func() { w.isolate(h, false) })
		}},
		{"loss", 2, func(w *world, _ *host, d time.Duration) {
			w.loss = 0.05 + 0.5*w.rnd.Float64()
			w.after(d, func() { w.loss = 0 })
		}},
		{"slow LAN", 2, func(w *world, _ *host, d time.Duration) {
			w.slow = 10*ms + w.upTo(90*ms)
			w.after(d, func() { w.slow = 0 })
		}},
		{"etcd down", 3, func(w *world, _ *host, d time.Duration) {
			w.etcd.set(false)
			w.after(d, func() {
				if !w.long {
					w.etcd.set(true)
				}
			})
		}},
		{"cut from etcd", 6, func(w *world, h *host, d time.Duration) {
			h.setEtcd(false, false)
			w.after(d, func() { h.setEtcd(true, true) })
		}},
		{"etcd one way", 3, func(w *world, h *host, d time.Duration) {
			requests := w.chance(0.5)
			h.setEtcd(requests, !requests)
			w.after(d, func() { h.setEtcd(true, true) })
		}},
		{"slow etcd", 2, func(w *world, _ *host, d time.Duration) {
			w.etcd.slow = 20*ms + w.upTo(400*ms)
			w.after(d, func() { w.etcd.slow = 0 })
		}},
		{"planned move", 3, func(w *world, h *host, d time.Duration) {
			to := "*"
			if w.chance(0.5) {
				to = w.other(h).name
			}
			h.command(func(m *Machine, now time.Duration) []Action { return m.Move(now, to) })
			w.after(d, func() {
				h.command(func(m *Machine, now time.Duration) []Action { return m.Move(now, "-") })
			})
		}},
		{"less fit", 2, func(w *world, h *host, d time.Duration) {
			h.fit.Healthy = w.rnd.IntN(3)
			w.after(d, func() { h.fit.Healthy = 3 })
		}},
		{"fault", 2, func(w *world, h *host, d time.Duration) {
			h.fit.Fault = true
			w.after(d, func() { h.fit.Fault = false })
		}},
		{"restart", 2, func(w *world, h *host, d time.Duration) { h.restart(d) }},
		{"kill -9 of the keeper", 2, func(_ *world, h *host, _ time.Duration) { h.killKeeper() }},
		{"keeper stopped", 2, func(w *world, h *host, d time.Duration) {
			if h.keeper == nil { // the main process has yet to start one
				return
			}
			h.keeper.stop(d)
			if w.chance(0.5) {
				h.main.stop(d)
			}
		}},
		{"paused", 1, func(w *world, h *host, d time.Duration) { h.pause(d, w.chance(0.5)) }},
		{"kill -9 of both", 1, func(w *world, h *host, d time.Duration) {
			h.killKeeper()
			h.killMain()
			w.after(max(d, 60*ms), h.powerOn)
		}},
	}
}

// command is what the main process tells its keeper.
func (h *host) command(do func(m *Machine, now time.Duration) []Action) {
	if k := h.keeper; h.up && h.main.awake() && k != nil {
		k.run(func() { k.do(do(k.m, h.clock())) })
	}
}

// restart is SIGTERM: the main process has the keeper leave, exits, and comes back.
func (h *host) restart(d time.Duration) {
	if !h.up || !h.main.awake() || h.keeper == nil || !h.keeper.alive {
		return
	}
	p, k := h.main, h.keeper
	h.command((*Machine).Leave)
	patience := h.w.now + 2*time.Second
	var wait func()
	wait = func() {
		if k.alive && !k.m.Status(h.clock()).Left && h.w.now < patience {
			p.later(10*ms, wait)
			return
		}
		h.w.tracef("%s has left and exits", h.name)
		p.alive = false
		k.run(k.orphaned)
		h.w.after(max(d, 60*ms), h.powerOn)
	}
	p.later(0, wait)
}

// random lets one random fault happen.
func (w *world) random(all []fault) {
	d := 30*ms + w.upTo(600*ms)
	if w.chance(0.5) {
		d = 200*ms + w.upTo(3*time.Second)
	}
	sum := 0
	for _, f := range all {
		sum += f.weight
	}
	n := w.rnd.IntN(sum)
	for _, f := range all {
		if n -= f.weight; n < 0 {
			h := w.victim()
			w.tracef("FAULT %s: %s, %v", h.name, f.name, d)
			f.do(w, h, d)
			return
		}
	}
}

// chaosFor turns something on or off every moment for a while: single links, etcd,
// processes.
func (w *world) chaosFor(d time.Duration) {
	end := w.now + d
	pace := 30*ms + w.upTo(500*ms)
	kinds := 3 + w.rnd.IntN(6) // not every history has all
	var next func()
	next = func() {
		if w.now > end {
			return
		}
		h := w.victim()
		switch p := w.other(h); w.rnd.IntN(kinds) {
		case 0:
			w.setLAN(h, p, !w.lan[h.id][p.id])
		case 1:
			w.setLAN(p, h, !w.lan[p.id][h.id])
		case 2:
			h.setEtcd(!h.requests, h.answers)
		case 3:
			h.setEtcd(h.requests, !h.answers)
		case 4:
			w.isolate(h, w.lan[h.id][p.id])
		case 5:
			w.etcd.set(!w.etcd.up)
		case 6:
			h.main.stop(w.upTo(time.Second))
		case 7:
			h.killMain()
			w.after(60*ms+w.upTo(time.Second), h.powerOn)
		case 8:
			command(h, "*")
		}
		w.tracef("chaos: lan %v, etcd %v, %s requests %v answers %v", w.lan, w.etcd.up, h.name, h.requests, h.answers)
		w.after(pace/4+w.upTo(pace), next)
	}
	next()
}

// heal ends all faults; stay stays off for good. It returns when the last node is
// there again.
func (w *world) heal(stay *host) time.Duration {
	w.tracef("---- all faults end ----")
	w.etcd.set(true)
	w.loss, w.slow, w.etcd.slow = 0, 0, 0
	last := w.now
	for _, h := range w.nodes {
		h.setEtcd(true, true)
		w.isolate(h, false)
		h.fit = Fitness{Listening: true, Healthy: 3}
		if h == stay {
			h.powerOff()
			h.stay = true
			continue
		}
		if !h.up {
			last = max(last, h.off+3*time.Second)
		}
		h.unpause(false)
		h.main.cont()
		h.keeper.cont()
		h.command(func(m *Machine, now time.Duration) []Action { return m.Move(now, "-") })
		h.powerOn()
	}
	return last
}
