package owner

import (
	"fmt"
	"time"
)

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
		if p.name != h.name && !h.strange {
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
