package owner

import (
	"slices"
	"testing"
	"time"
)

// A scenario is one fault in a settled cluster, at a random moment.
type scenario struct {
	name  string
	nodes int
	arp   bool
	do    func(w *world, a, b *host) // a owns, b is the next
	watch time.Duration              // how long

	moves bool          // the address moves to another node; otherwise nothing happens
	takes time.Duration // at most, from the fault to the new holder
	gap   time.Duration // at most without any holder, 0 for no matter
	dual  time.Duration // at most with two
	calm  float64       // of runs in which nothing moves, at least; 0 for all
}

func (w *world) cutLAN(cut bool) {
	for _, h := range w.nodes {
		w.isolate(h, cut)
	}
}

func command(h *host, to string) {
	h.command(func(m *Machine, now time.Duration) []Action { return m.Move(now, to) })
}

var scenarios = []scenario{
	// Single faults that move the address.
	{name: "kill -9 of the main process", nodes: 2, moves: true, takes: 300 * ms,
		do: func(_ *world, a, _ *host) { a.killMain() }},
	{name: "kill -9 of the main process, three nodes", nodes: 3, moves: true, takes: 300 * ms,
		do: func(_ *world, a, _ *host) { a.killMain() }},
	{name: "power off", nodes: 2, moves: true, takes: 800 * ms,
		do: func(_ *world, a, _ *host) { a.powerOff() }},
	{name: "power off, three nodes", nodes: 3, moves: true, takes: 800 * ms,
		do: func(_ *world, a, _ *host) { a.powerOff() }},
	{name: "main process stopped", nodes: 2, moves: true, takes: 800 * ms,
		do: func(_ *world, a, _ *host) { a.main.stop(3 * time.Second) }},
	{name: "keeper stopped", nodes: 2, moves: true, takes: 800 * ms, dual: 300 * ms, calm: 0.001,
		do: func(_ *world, a, _ *host) { a.keeper.stop(3 * time.Second) }},
	{name: "both stopped", nodes: 2, moves: true, takes: 800 * ms, dual: 3500 * ms, watch: 5 * time.Second,
		do: func(_ *world, a, _ *host) { a.main.stop(9 * time.Second); a.keeper.stop(9 * time.Second) }},
	{name: "kill -9 of both", nodes: 2, moves: true, takes: 800 * ms, dual: 3500 * ms, watch: 5 * time.Second,
		do: func(_ *world, a, _ *host) { a.killKeeper(); a.killMain() }},
	{name: "owner cut off the LAN and etcd", nodes: 2, moves: true, takes: 850 * ms,
		do: func(w *world, a, _ *host) { w.cutLAN(true); a.setEtcd(false, false) }},
	{name: "the same, takeover by ARP", nodes: 2, arp: true, moves: true, takes: 850 * ms, watch: 8 * time.Second,
		do: func(w *world, a, _ *host) { w.cutLAN(true); a.setEtcd(false, false) }},
	{name: "owner cut off the LAN, then etcd", nodes: 2, moves: true, takes: 3 * time.Second, watch: 4 * time.Second,
		do: func(w *world, a, _ *host) {
			w.cutLAN(true)
			w.after(300*ms+w.upTo(300*ms), func() { a.setEtcd(false, false) })
		}},

	// Planned moves.
	{name: "planned move", nodes: 2, moves: true, takes: 150 * ms, gap: 50 * ms,
		do: func(_ *world, a, _ *host) { command(a, "*") }},
	{name: "planned move to one of three", nodes: 3, moves: true, takes: 150 * ms, gap: 50 * ms,
		do: func(_ *world, a, b *host) { command(a, b.name) }},
	{name: "planned move, owner without etcd", nodes: 2, moves: true, takes: 2300 * ms, gap: 50 * ms, watch: 3 * time.Second,
		do: func(w *world, a, _ *host) {
			a.setEtcd(false, false)
			w.after(1500*ms, func() { command(a, "*") })
		}},
	{name: "restart", nodes: 2, moves: true, takes: 200 * ms, gap: 50 * ms,
		do: func(_ *world, a, _ *host) { a.restart(time.Second) }},
	{name: "less fit", nodes: 2, moves: true, takes: 5200 * ms, gap: 50 * ms, watch: 8 * time.Second,
		do: func(_ *world, a, _ *host) { a.fit.Healthy = 1 }},
	{name: "fault", nodes: 3, moves: true, takes: 300 * ms, gap: 50 * ms,
		do: func(_ *world, a, _ *host) { a.fit.Fault = true }},
	{name: "two moves at once", nodes: 3, moves: true, takes: 150 * ms, gap: 50 * ms, calm: 0.001,
		do: func(_ *world, a, b *host) { command(a, b.name); b.fit.Fault = true; command(b, "*") }},

	// What moves nothing.
	{name: "kill -9 of the keeper", nodes: 2,
		do: func(_ *world, a, _ *host) { a.killKeeper() }},
	{name: "LAN cut, etcd there", nodes: 2, watch: 12 * time.Second,
		do: func(w *world, _, _ *host) { w.cutLAN(true); w.after(10*time.Second, func() { w.cutLAN(false) }) }},
	{name: "the same, three nodes", nodes: 3, watch: 12 * time.Second,
		do: func(w *world, _, _ *host) { w.cutLAN(true); w.after(10*time.Second, func() { w.cutLAN(false) }) }},
	{name: "one way, from the owner", nodes: 2, watch: 12 * time.Second,
		do: func(w *world, a, b *host) { w.setLAN(a, b, false) }},
	{name: "one way, to the owner", nodes: 2, watch: 12 * time.Second,
		do: func(w *world, a, b *host) { w.setLAN(b, a, false) }},
	{name: "backup isolated", nodes: 2, watch: 12 * time.Second,
		do: func(w *world, _, b *host) {
			w.isolate(b, true)
			b.setEtcd(false, false)
			w.after(10*time.Second, func() { w.isolate(b, false); b.setEtcd(true, true) })
		}},
	{name: "owner cut off etcd", nodes: 2, watch: 22 * time.Second,
		do: func(w *world, a, _ *host) {
			a.setEtcd(false, false)
			w.after(20*time.Second, func() { a.setEtcd(true, true) })
		}},
	{name: "etcd down for a minute", nodes: 2, watch: 62 * time.Second,
		do: func(w *world, _, _ *host) { w.etcd.set(false); w.after(time.Minute, func() { w.etcd.set(true) }) }},
	{name: "the same, three nodes, by ARP", nodes: 3, arp: true, watch: 62 * time.Second,
		do: func(w *world, _, _ *host) { w.etcd.set(false); w.after(time.Minute, func() { w.etcd.set(true) }) }},
	{name: "5 % loss and delays up to 50 ms", nodes: 2, watch: time.Minute,
		do: func(w *world, _, _ *host) { w.loss, w.slow = 0.05, 50*ms }},
	{name: "the same, owner cut off etcd", nodes: 2, watch: time.Minute, calm: 0.9,
		do: func(w *world, a, _ *host) { w.loss, w.slow = 0.05, 50*ms; a.setEtcd(false, false) }},
	{name: "slow etcd", nodes: 2, watch: 20 * time.Second,
		do: func(w *world, _, _ *host) { w.etcd.slow = 400 * ms }},
	{name: "less fit for a moment", nodes: 2, watch: 8 * time.Second,
		do: func(w *world, a, _ *host) {
			w.after(5*time.Second, func() { a.fit.Healthy = 1 })
			w.after(5600*ms, func() { a.fit.Healthy = 3 })
		}},

	// Two faults.
	{name: "backup dead, then an election in etcd", nodes: 2, watch: 8 * time.Second,
		do: func(w *world, _, b *host) {
			b.powerOff()
			w.after(3*time.Second, func() { w.etcd.set(false) })
			w.after(4500*ms, func() { w.etcd.set(true) })
		}},
	{name: "backup dead, then etcd down, by ARP", nodes: 2, arp: true, watch: 30 * time.Second,
		do: func(w *world, _, b *host) {
			b.powerOff()
			w.after(3*time.Second, func() { w.etcd.set(false) })
			w.after(25*time.Second, func() { w.etcd.set(true) })
		}},
	{name: "etcd down, then the backup dead, by ARP", nodes: 2, arp: true, watch: 30 * time.Second,
		do: func(w *world, _, b *host) {
			w.etcd.set(false)
			w.after(2*time.Second, b.powerOff)
			w.after(25*time.Second, func() { w.etcd.set(true) })
		}},
	{name: "owner dead, and an election in etcd", nodes: 2, moves: true, takes: 3500 * ms, watch: 6 * time.Second,
		do: func(w *world, a, _ *host) {
			a.powerOff()
			w.etcd.set(false)
			w.after(1500*ms, func() { w.etcd.set(true) })
		}},
	{name: "etcd down, then kill -9 of the main process", nodes: 2, moves: true, takes: 2300 * ms, watch: 4 * time.Second,
		do: func(w *world, a, _ *host) { w.etcd.set(false); w.after(2*time.Second, a.killMain) }},
	{name: "the same, three nodes", nodes: 3, moves: true, takes: 2500 * ms, watch: 4 * time.Second,
		do: func(w *world, a, _ *host) { w.etcd.set(false); w.after(2*time.Second, a.killMain) }},
	{name: "etcd down, then the owner dead, by ARP", nodes: 2, arp: true, moves: true, takes: 6 * time.Second, watch: 20 * time.Second,
		do: func(w *world, a, _ *host) {
			w.etcd.set(false)
			w.after(2*time.Second, a.powerOff)
			w.after(15*time.Second, func() { w.etcd.set(true) })
		}},
	{name: "the same, three nodes", nodes: 3, arp: true, moves: true, takes: 6 * time.Second, watch: 20 * time.Second,
		do: func(w *world, a, _ *host) {
			w.etcd.set(false)
			w.after(2*time.Second, a.powerOff)
			w.after(15*time.Second, func() { w.etcd.set(true) })
		}},
}

// ran is what one run of a scenario has shown.
type ran struct {
	took, gap, dual time.Duration
	moved, calm     bool
	log             []string
}

func (s scenario) run(seed uint64, trace bool) ran {
	w := newWorld(seed, setup{count: s.nodes, arp: s.arp, trace: trace, linger: 3 * time.Second})
	w.begin()
	w.run(w.now + w.upTo(200*ms))
	var a *host
	for _, h := range w.nodes {
		if h.address {
			a = h
		}
	}
	w.tracef("---- %s", s.name)
	w.watch.moves, w.watch.none, w.watch.dual = nil, 0, [classes]time.Duration{}
	start := w.now
	s.do(w, a, w.nodes[(a.id+1)%s.nodes])
	w.run(start + max(s.watch, 2500*ms))
	r := ran{gap: w.watch.none, dual: slices.Max(w.watch.dual[:]), calm: len(w.watch.moves) == 0, log: w.log}
	for _, m := range w.watch.moves {
		if m.add && m.host != a {
			r.moved, r.took = true, m.at-start
			break
		}
	}
	return r
}

// runs is how often each scenario is run.
const runs = 20

func TestScenarios(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			var took, gap, dual []time.Duration
			calm, moved := 0, 0
			for seed := range uint64(runs) {
				r := s.run(seed, false)
				if r.calm {
					calm++
				}
				if r.moved {
					moved++
					took, gap = append(took, r.took), append(gap, r.gap)
				}
				dual = append(dual, r.dual)
			}
			slices.Sort(took)
			slices.Sort(gap)
			t.Logf("moved %d/%d, undisturbed %d, takeover p50 %d max %d ms, nobody p50 %d max %d ms, two max %d ms", moved, runs, calm,
				quantile(took, 0.5), quantile(took, 1), quantile(gap, 0.5), quantile(gap, 1), slices.Max(dual).Milliseconds())
			s.judge(t, moved, calm, took, gap, slices.Max(dual))
		})
	}
}

func (s scenario) judge(t *testing.T, moved, calm int, took, gap []time.Duration, dual time.Duration) {
	t.Helper()
	if dual > s.dual {
		t.Errorf("two holders for %v, want at most %v", dual, s.dual)
	}
	if !s.moves {
		if want := int(runs * max(s.calm, 0)); calm < want || s.calm == 0 && calm < runs {
			t.Errorf("undisturbed in %d of %d runs", calm, runs)
		}
		return
	}
	if moved < runs && s.calm == 0 {
		t.Errorf("moved in %d of %d runs", moved, runs)
	}
	if len(took) > 0 && took[len(took)-1] > s.takes {
		t.Errorf("took %v, want at most %v", took[len(took)-1], s.takes)
	}
	if len(gap) > 0 && s.gap > 0 && gap[len(gap)-1] > s.gap {
		t.Errorf("nobody had it for %v, want at most %v", gap[len(gap)-1], s.gap)
	}
}
