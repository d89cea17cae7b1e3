package main

import (
	"cmp"
	"sync"
	"time"

	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/vrrp/beat"
)

// fitness is how well this node could serve clients of the virtual IP now (rule
// 42). The supervisor asks for it with each beat.
func (v *vip) fitness() beat.Fitness {
	n, now := v.node, time.Now()
	f := beat.Fitness{
		Listening: n.accepting.Load() && !v.pressure.high(now, n.proxy.Counters().TurnedAway.Load()),
		Blind:     n.control.newsAge(now) > route.BlindAfter,
		Healthy:   n.control.healthy(),
		Fault:     v.fault(),
	}
	scripts := v.checks.verdict()
	f.Weight, f.Fault = scripts.Weight, cmp.Or(f.Fault, scripts.Fault)
	return f
}

// fault is why this node is to have no part in the election, "" when it is.
func (v *vip) fault() string {
	switch {
	case v.node.stopping.Load():
		return "" // the keeper has been told to leave, and says so itself
	case !v.node.accepting.Load():
		return "not ready: the ports are not open yet"
	case v.drained.Load():
		return "drained by an operator"
	}
	select {
	case <-v.node.control.Ready():
		return ""
	default:
		return "not ready: the cluster is not known yet"
	}
}

// newsAge is how old the last news of the cluster are; very old before the first.
func (c *control) newsAge(now time.Time) time.Duration {
	st := c.record.state()
	if st.newsAt.IsZero() {
		return time.Hour
	}
	return now.Sub(st.newsAt)
}

// healthy counts the servers that are up.
func (c *control) healthy() int {
	up := 0
	for _, h := range c.monitor.Health() {
		if h.State == route.Up {
			up++
		}
	}
	return up
}

const (
	// pressureFor is how long clients have to be turned away until another node is
	// the better one: a burst is no reason to move.
	pressureFor = 3 * time.Second
	// pressureCalm is how long nobody may be turned away until that is over.
	pressureCalm = 10 * time.Second
)

// pressure watches clients being turned away for want of descriptors. The zero
// value is ready.
type pressure struct {
	mu sync.Mutex
	// Guarded by mu.
	count uint64
	since time.Time // of this series; zero without one
	last  time.Time // turned away
	on    bool
}

// high reports whether this node cannot take clients, and has not been able to for
// a while. count are those turned away so far.
func (p *pressure) high(now time.Time, count uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if count != p.count {
		p.count, p.last = count, now
		if p.since.IsZero() {
			p.since = now
		}
	}
	switch quiet := now.Sub(p.last); {
	case p.since.IsZero():
	case quiet >= pressureCalm, !p.on && quiet >= pressureFor:
		p.since, p.on = time.Time{}, false
	case p.last.Sub(p.since) >= pressureFor:
		p.on = true
	}
	return p.on
}
