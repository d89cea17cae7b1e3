package owner

import (
	"testing"
	"time"
)

// Clusters that are set up wrongly.

// TestTwoNodesOfOneName: they fight once, when the second one starts and takes the
// record for its own, and not for ever.
func TestTwoNodesOfOneName(t *testing.T) {
	for seed := range uint64(40) {
		w := newWorld(seed, setup{count: 3})
		twin := w.nodes[2]
		twin.name = w.nodes[1].name
		twin.off = time.Hour // its power is off
		w.nodes = w.nodes[:2]
		w.begin()
		w.nodes = append(w.nodes, twin)
		twin.off = w.now - 4*time.Second
		twin.fit = w.nodes[0].fit
		twin.powerOn()
		w.run(w.now + 20*time.Second)
		w.watch.close()
		if w.watch.dual[unexplained] > 50*ms || w.watch.holders != 1 {
			t.Errorf("seed %d: two holders for %v, in the end %d", seed, w.watch.dual[unexplained], w.watch.holders)
		}
		if n := len(w.watch.moves); n > 8 {
			t.Errorf("seed %d: the address came and went %d times", seed, n)
		}
	}
}

// TestPeersUnknownToOne: a node that knows no peers acknowledges nobody; etcd alone
// keeps the address with one.
func TestPeersUnknownToOne(t *testing.T) {
	for seed := range uint64(60) {
		w := newWorld(seed, setup{count: 2})
		w.nodes[seed%2].strange = true
		w.begin()
		w.random(faults()[3:16]) // links and etcd
		w.run(w.now + 5*time.Second)
		w.heal(nil)
		w.run(w.now + 3*time.Second)
		w.watch.close()
		if w.watch.episode[unexplained] > 0 || w.watch.holders != 1 {
			t.Errorf("seed %d: two holders for %v, in the end %d", seed, w.watch.dual[unexplained], w.watch.holders)
		}
	}
}

// TestSingleNode: without peers the address is held by etcd, and by ARP when that is
// gone.
func TestSingleNode(t *testing.T) {
	for _, tt := range []struct {
		name  string
		arp   bool
		holds int
	}{{"never", false, 0}, {"arp", true, 1}} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(1, setup{count: 1, arp: tt.arp})
			w.begin()
			w.run(w.now + time.Second)
			if w.watch.holders != 1 {
				t.Fatal("the only node does not hold the address")
			}
			w.etcd.set(false)
			w.run(w.now + 20*time.Second)
			if w.watch.holders != tt.holds {
				t.Errorf("%d holders without etcd, want %d", w.watch.holders, tt.holds)
			}
			w.etcd.set(true)
			w.run(w.now + 2*time.Second)
			if w.watch.holders != 1 {
				t.Error("nobody holds the address with etcd back")
			}
		})
	}
}
