package cluster

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var testVIP = netip.MustParseAddrPort("10.0.0.100:5000")

// flow is the n-th client of a test.
func flow(n int) Flow {
	ip := netip.AddrFrom4([4]byte{10, 1, byte(n >> 16), byte(n >> 8)})
	if n%5 == 0 {
		ip = netip.MustParseAddr(fmt.Sprintf("fd00::%x", n>>8))
	}
	return Flow{Client: netip.AddrPortFrom(ip, uint16(1024+n%256)), VIP: testVIP}
}

func flowSet(list []Flow) map[Flow]struct{} {
	set := make(map[Flow]struct{}, len(list))
	for _, f := range list {
		set[f] = struct{}{}
	}
	return set
}

// TestFlows: the clients of a node are known to the other, as they come and go, at
// joining, and after it has died and started anew.
func TestFlows(t *testing.T) {
	t.Parallel()
	l := newLAN(t, "lb1", "lb2")
	a := l.run("lb1")
	want := map[Flow]struct{}{}
	publish := func(opened, closed []Flow) {
		a.Publish(opened, closed)
		for _, f := range opened {
			want[f] = struct{}{}
		}
		for _, f := range closed {
			delete(want, f)
		}
	}
	var many []Flow
	for n := range 3000 {
		many = append(many, flow(n))
	}
	publish(many[:2000], nil)
	b := l.run("lb2")
	same := func() bool { return maps.Equal(flowSet(b.FlowsOf("lb1")), want) }
	eventually(t, "all of them", same)
	publish([]Flow{flow(5000)}, many[:1])
	eventually(t, "one came, one went", same)
	publish(many[2000:], many[1:1500])
	eventually(t, "many at once", same)
	if n := b.node("lb1").Flows; n != len(want) {
		t.Errorf("the view has %d", n)
	}

	l.part("lb1", "lb2", true)
	publish([]Flow{flow(6000)}, many[2000:2500])
	eventually(t, "parted", func() bool { return b.sees("lb1", Unreachable) })
	if same() {
		t.Error("news came through a cut")
	}
	l.part("lb1", "lb2", false)
	eventually(t, "what was missed", same)

	a.kill()
	eventually(t, "its death", func() bool { return b.sees("lb1", Unreachable) })
	if !same() {
		t.Error("they are forgotten at once")
	}
	a = l.run("lb1")
	together(t, a, b)
	a.Publish([]Flow{flow(7000)}, nil)
	want[flow(7000)] = struct{}{}
	eventually(t, "those of both processes", same)
}

// TestFlowsThroughLosses: whatever is lost, late or out of order, the last image
// puts it right, and a delta never makes a flow out of nothing.
func TestFlowsThroughLosses(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var p published
		var k known
		k.begin("boot", 0)
		truth := map[uint64]map[Flow]struct{}{0: {}}
		var late []flowDelta
		for range 60 {
			var opened, closed []Flow
			for range rng.IntN(4) {
				opened = append(opened, flow(rng.IntN(40)))
			}
			for range rng.IntN(4) {
				closed = append(closed, flow(rng.IntN(40)))
			}
			p.change(opened, closed)
			if rng.IntN(3) == 0 {
				continue
			}
			if d, ok := p.delta(); ok {
				truth[p.seq] = maps.Clone(p.set)
				switch rng.IntN(4) {
				case 0: // lost
					k.heard(d.seq)
				case 1:
					late = append(late, d)
				default:
					k.apply(d)
				}
			}
			if len(late) > 0 && rng.IntN(3) == 0 {
				n := rng.IntN(len(late))
				k.apply(late[n])
				late = slices.Delete(late, n, n+1)
			}
			if k.behind() && rng.IntN(5) == 0 {
				k.replace(p.image())
			}
			if !maps.Equal(k.set, truth[k.seq]) && len(k.set)+len(truth[k.seq]) > 0 {
				t.Fatalf("seed %d: version %d is not what it was", seed, k.seq)
			}
		}
		p.delta()
		k.heard(p.seq)
		if k.behind() {
			k.replace(p.image())
		}
		if k.behind() || len(k.set) != len(p.set) {
			t.Fatalf("seed %d: %d flows of %d at the end", seed, len(k.set), len(p.set))
		}
	}
}

// TestFlowsImageInBetween: an image is that of the last delta, for the next delta
// counts from there.
func TestFlowsImageInBetween(t *testing.T) {
	var p published
	p.change([]Flow{flow(1), flow(2)}, nil)
	p.delta()
	p.change([]Flow{flow(3)}, []Flow{flow(1)})
	if got := flowSet(p.image().flows); !maps.Equal(got, flowSet([]Flow{flow(1), flow(2)})) {
		t.Errorf("image %v", got)
	}
	p.change([]Flow{flow(1)}, []Flow{flow(3)})
	if d, ok := p.delta(); ok {
		t.Errorf("delta %v of nothing", d)
	}
}

// TestFlowsAreBounded: what is beyond the bound is counted; places that come free
// are used.
func TestFlowsAreBounded(t *testing.T) {
	var p published
	var k known
	k.begin("boot", 0)
	var all []Flow
	for n := range MaxFlows + 10 {
		all = append(all, flow(n))
	}
	p.change(all, nil)
	if len(p.set) != MaxFlows || p.dropped != 10 {
		t.Fatalf("%d flows, %d dropped", len(p.set), p.dropped)
	}
	d, _ := p.delta()
	k.apply(d)
	p.change(nil, all[:5])
	p.change(all[MaxFlows:], nil)
	d, _ = p.delta()
	k.apply(d)
	if !maps.Equal(k.set, p.set) || p.dropped != 15 {
		t.Errorf("%d flows of %d, %d dropped", len(k.set), len(p.set), p.dropped)
	}
	b := p.image().append(nil)
	if len(b) > 9*MaxFlows {
		t.Errorf("an image has %d bytes", len(b))
	}
	if got, err := parseFlowImage(&decoder{b: b}); err != nil || !maps.Equal(flowSet(got.flows), p.set) {
		t.Errorf("decoded %d flows, %v", len(got.flows), err)
	}
}

// TestFlowsForgotten: for a minute they are remembered, not longer.
func TestFlowsForgotten(t *testing.T) {
	var k known
	k.begin("one", 0)
	k.apply(flowDelta{seq: 1, opened: []Flow{flow(1)}})
	k.begin("two", time.Second)
	k.apply(flowDelta{seq: 1, opened: []Flow{flow(2)}})
	if got := flowSet(k.all()); len(got) != 2 {
		t.Errorf("%v", got)
	}
	k.forget(time.Second+flowMemory, -1)
	if len(k.all()) != 2 {
		t.Error("forgotten too early")
	}
	k.forget(time.Second+flowMemory+1, -1)
	if got := k.all(); len(got) != 1 || got[0] != flow(2) {
		t.Errorf("%v after a minute", got)
	}
	k.forget(2*time.Minute, time.Minute-1)
	if len(k.all()) != 0 {
		t.Error("remembered for ever")
	}
}
