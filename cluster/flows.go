package cluster

import (
	"maps"
	"slices"
	"time"
)

const (
	// flowMemory is how long the flows of a node are remembered after it has gone,
	// or after it has started anew: longer than any takeover lasts.
	flowMemory = time.Minute
	// maxAhead bounds the deltas that are kept until the one before them comes.
	maxAhead = 16
)

// published are this node's own flows. The zero value is ready. The caller locks.
type published struct {
	set     map[Flow]struct{}
	seq     uint64        // of the last delta
	changed map[Flow]bool // since then: true is opened
	dropped uint64        // flows that found no room
}

// change notes flows that began and ended, in that order.
func (p *published) change(opened, closed []Flow) {
	if p.set == nil {
		p.set, p.changed = make(map[Flow]struct{}), make(map[Flow]bool)
	}
	for _, f := range opened {
		f, ok := f.normal()
		if _, has := p.set[f]; has || !ok {
			continue
		}
		if len(p.set) >= MaxFlows {
			p.dropped++
			continue
		}
		p.set[f] = struct{}{}
		p.note(f, true)
	}
	for _, f := range closed {
		f, _ := f.normal()
		if _, has := p.set[f]; has {
			delete(p.set, f)
			p.note(f, false)
		}
	}
}

// note keeps what has become of a flow since the last delta: what began and ended
// in between is nobody's concern.
func (p *published) note(f Flow, open bool) {
	if before, noted := p.changed[f]; noted && before != open {
		delete(p.changed, f)
		return
	}
	p.changed[f] = open
}

// delta gives what has changed since it was last asked, and false for nothing.
func (p *published) delta() (flowDelta, bool) {
	if len(p.changed) == 0 {
		return flowDelta{}, false
	}
	p.seq++
	d := flowDelta{seq: p.seq}
	for f, open := range p.changed {
		if open {
			d.opened = append(d.opened, f)
		} else {
			d.closed = append(d.closed, f)
		}
	}
	clear(p.changed)
	return d, true
}

// image gives the flows as of the last delta.
func (p *published) image() flowImage {
	i := flowImage{seq: p.seq, flows: make([]Flow, 0, len(p.set))}
	for f := range p.set {
		if open, noted := p.changed[f]; !noted || !open {
			i.flows = append(i.flows, f)
		}
	}
	for f, open := range p.changed {
		if !open {
			i.flows = append(i.flows, f)
		}
	}
	return i
}

// known are the flows of another node. The zero value is ready. The caller locks.
type known struct {
	boot string // of the process whose flows these are; "" for none yet
	seq  uint64
	set  map[Flow]struct{}
	// ahead are deltas whose predecessors have not come, by seq.
	ahead map[uint64]flowDelta
	// newest is the highest version heard of.
	newest uint64

	// Those of the process before: its clients do not know yet that it is gone.
	former      map[Flow]struct{}
	formerSince time.Duration
}

// begin follows a new process of the node.
func (k *known) begin(boot string, now time.Duration) {
	if k.boot == boot {
		return
	}
	if len(k.set) > 0 {
		k.former, k.formerSince = k.set, now
	}
	k.boot, k.seq, k.newest, k.set, k.ahead = boot, 0, 0, nil, nil
}

// heard notes that there is a version.
func (k *known) heard(seq uint64) { k.newest = max(k.newest, seq) }

// behind reports that something is missing.
func (k *known) behind() bool { return k.seq < k.newest }

// apply takes a delta.
func (k *known) apply(d flowDelta) {
	k.heard(d.seq)
	if d.seq <= k.seq {
		return
	}
	if d.seq != k.seq+1 {
		if k.ahead == nil {
			k.ahead = make(map[uint64]flowDelta)
		}
		if len(k.ahead) < maxAhead {
			k.ahead[d.seq] = d
		}
		return
	}
	if k.set == nil {
		k.set = make(map[Flow]struct{})
	}
	for ok := true; ok; d, ok = k.ahead[k.seq+1] {
		k.seq = d.seq
		for _, f := range d.closed { // first: they make room
			delete(k.set, f)
		}
		for _, f := range d.opened {
			if len(k.set) < MaxFlows {
				k.set[f] = struct{}{}
			}
		}
		delete(k.ahead, d.seq)
	}
}

// replace takes an image.
func (k *known) replace(i flowImage) {
	k.heard(i.seq)
	if i.seq < k.seq {
		return
	}
	k.seq = i.seq
	k.set = make(map[Flow]struct{}, len(i.flows))
	for _, f := range i.flows {
		k.set[f] = struct{}{}
	}
	for seq := range k.ahead {
		if seq <= k.seq {
			delete(k.ahead, seq)
		}
	}
	if next, ok := k.ahead[k.seq+1]; ok {
		k.apply(next)
	}
}

// forget drops what has been remembered for long enough; gone is when the node
// went, negative while it is here.
func (k *known) forget(now, gone time.Duration) {
	if k.former != nil && now-k.formerSince > flowMemory {
		k.former = nil
	}
	if gone >= 0 && now-gone > flowMemory {
		k.set, k.ahead, k.seq, k.newest, k.former = nil, nil, 0, 0, nil
		k.boot = ""
	}
}

// all are the flows of this process and of the one before.
func (k *known) all() []Flow {
	list := slices.Collect(maps.Keys(k.set))
	for f := range k.former {
		if _, again := k.set[f]; !again {
			list = append(list, f)
		}
	}
	return list
}
