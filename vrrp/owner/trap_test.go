package owner

import (
	"testing"
	"time"
)

// A trap is a sequence of faults that is safe by one rule alone: with the rule
// there are never two owners, without it there are.
//
// Other rules do not stand alone and so have no trap: who claims acknowledges
// nobody, and reads before it claims again (keepPromise stands behind that, and
// step_test.go holds them); answers out of order (all that they could confirm is
// counted from the request's start).
type trap struct {
	rule  repair
	name  string
	nodes int
	arp   bool
	do    func(w *world, a, b *host) // a owns, b is the next
}

// isolated cuts a node off the LAN and etcd.
func (w *world) isolated(h *host) {
	w.isolate(h, true)
	h.setEtcd(false, false)
}

// during waits for some moment of [from, to).
func (w *world) during(from, to time.Duration, do func()) { w.after(from+w.upTo(to-from), do) }

var traps = []trap{
	{windowOfPromise, "an owner with a long promise is cut off", 2, false, func(w *world, a, _ *host) {
		w.cutLAN(true)
		w.during(1200*ms, 2500*ms, func() { a.setEtcd(false, false) })
	}},
	{claimBlocks, "an owner can read etcd but not write", 2, false, func(w *world, a, _ *host) {
		w.etcd.deaf = func(h *host, r Request) bool { return h == a && r.writes() }
		w.during(0, 200*ms, func() { w.cutLAN(true) })
	}},
	{keepPromise, "a backup has acknowledged in an outage, and then has etcd alone", 2, false, func(w *world, a, b *host) {
		w.etcd.set(false)
		w.during(1000*ms, 2000*ms, func() {
			w.cutLAN(true)
			a.setEtcd(false, false)
			w.etcd.set(true)
		})
	}},
	{everyPeer, "an owner without etcd is heard by one peer only", 3, false, func(w *world, a, b *host) {
		a.setEtcd(false, false)
		w.nodes[(b.id+1)%3].setEtcd(false, false) // and cannot refute for it
		w.during(1000*ms, 1500*ms, func() { w.setLAN(a, b, false); w.setLAN(b, a, false) })
	}},
	{promiseInRecord, "an owner is cut off before its longer promise stands in the record", 2, false, func(w *world, a, _ *host) {
		w.etcd.deaf = func(h *host, r Request) bool { return h == a && r.What == "promise" }
		w.cutLAN(true)
		w.during(610*ms, 1000*ms, func() { a.setEtcd(false, false) })
	}},
	{capWhileShortening, "an owner is cut off just after its promise became short", 2, false, func(w *world, a, _ *host) {
		w.cutLAN(true)
		w.during(1000*ms, 1500*ms, func() {
			w.cutLAN(false)
			w.during(0, 300*ms, func() { w.isolated(a) })
		})
	}},
	{shortGrants, "an owner is cut off just after an outage", 2, false, func(w *world, a, b *host) {
		w.etcd.set(false)
		w.during(1200*ms, 2000*ms, func() {
			w.etcd.set(true)
			w.setLAN(b, a, false)
			w.during(100*ms, 400*ms, func() { w.isolated(a) })
		})
	}},
	{startWait, "a backup is restarted after it has acknowledged an owner without etcd", 2, false, func(w *world, a, b *host) {
		w.etcd.set(false)
		w.after(1000*ms, a.killMain) // b takes over with a's consent
		w.after(1300*ms, a.powerOn)
		w.during(2200*ms, 2500*ms, func() { // a has etcd, and grants less than in an outage
			b.setEtcd(false, false)
			w.etcd.set(true)
		})
		w.during(5800*ms, 6000*ms, func() {
			w.cutLAN(true)
			a.killMain()
			w.after(60*ms, a.powerOn)
		})
	}},
	{rememberPromise, "the same in an outage", 2, false, func(w *world, a, b *host) {
		w.etcd.set(false)
		w.after(1000*ms, a.killMain)
		w.after(1300*ms, a.powerOn)
		w.during(2500*ms, 3000*ms, func() {
			w.cutLAN(true)
			a.killMain()
			w.after(60*ms, a.powerOn)
			b.setEtcd(false, false)
			w.etcd.set(true)
		})
	}},
	{transferWait, "an owner with a long promise is cut off when its offer is taken", 3, false, func(w *world, a, b *host) {
		w.nodes[(b.id+1)%3].powerOff()
		w.after(1500*ms, func() { command(a, b.name); w.during(0, 20*ms, func() { w.isolated(a) }) })
	}},
	{inheritWait, "the same, and who took it is restarted", 3, false, func(w *world, a, b *host) {
		w.nodes[(b.id+1)%3].powerOff()
		w.after(1500*ms, func() {
			command(a, b.name)
			w.during(0, 20*ms, func() { w.isolated(a) })
			w.after(60*ms, func() { b.killMain(); w.after(60*ms, b.powerOn) })
		})
	}},
	{askAll, "two backups that do not hear each other, in an outage", 3, false, func(w *world, a, b *host) {
		c := w.nodes[(b.id+1)%3]
		w.etcd.set(false)
		w.after(1500*ms, func() { w.setLAN(b, c, false); w.setLAN(c, b, false) })
		w.after(1600*ms, a.killMain)
	}},
	{outageEvidence, "an owner is cut off, takeover by ARP", 2, true, func(w *world, a, _ *host) { w.isolated(a) }},
}

// sprung counts the runs in which the trap has shown two owners.
func (tr trap) sprung(runs int, without repair) (found int, first uint64) {
	for seed := range uint64(runs) {
		w := newWorld(seed, setup{count: tr.nodes, arp: tr.arp, without: without, linger: 3 * time.Second})
		w.begin()
		var a *host
		for _, h := range w.nodes {
			if h.address {
				a = h
			}
		}
		tr.do(w, a, w.nodes[(a.id+1)%tr.nodes])
		w.run(w.now + 10*time.Second)
		w.watch.close()
		if w.watch.episode[unexplained] > 0 {
			if found == 0 {
				first = seed
			}
			found++
		}
	}
	return found, first
}

func TestTraps(t *testing.T) {
	for _, tr := range traps {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			const runs = 40
			with, seed := tr.sprung(runs, 0)
			without, _ := tr.sprung(runs, tr.rule)
			t.Logf("two owners in %d of %d runs without the rule", without, runs)
			if with > 0 {
				t.Errorf("two owners in %d of %d runs, first with seed %d", with, runs, seed)
			}
			if without == 0 {
				t.Error("without the rule there are not two owners either: the trap proves nothing")
			}
		})
	}
}
