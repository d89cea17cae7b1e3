package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/dcs"
	"github.com/pgvip/pgvip/health"
	"github.com/pgvip/pgvip/route"
)

// control joins what the keys say with what SQL says, and publishes the table
// that follows. It is the one place where a route is decided; everybody else
// reads the last table. Use newControl, then Run.
type control struct {
	// Immutable after newControl.
	source  dcs.Source
	monitor *health.Monitor
	publish func(*route.Table)
	log     *zap.Logger
	ready   chan struct{} // closed by Run after the first health round
	again   chan struct{} // holds one token when there is to be another decision; never closed
	// policy is what the configuration asks for by then. Set before Run; nil asks
	// for nothing.
	policy func(names []string) route.Policy
	// who tells of the cluster. Set before Run.
	who string
	// blind is the configuration's etcd_blind by then. Set before Run; nil is the
	// default.
	blind func() route.BlindRule
	// doubt is told what the last probe of each node came to. Set before Run; may be nil.
	doubt func(addr string, failing, dead bool)

	// Owned by Run.
	questions questions // its ask is set before Run
	snap      dcs.Snapshot
	table     *route.Table // last built; what was published may be an equal one
	shown     *route.Table // last published
	faults    map[string]string
	told      map[string]bool // errors logged since the last news; nil while there is news
	sayReady  sync.Once

	record record // of what was decided, for operators

	mu    sync.Mutex
	admin map[string]route.AdminState // guarded by mu; by member name; replaced, never changed
	known []string                    // guarded by mu; members of the last table
}

// newControl makes the control; Run closes monitor. publish is called with each
// new table from one goroutine and must not block.
func newControl(source dcs.Source, monitor *health.Monitor, publish func(*route.Table), log *zap.Logger) *control {
	return &control{
		source: source, monitor: monitor, publish: publish, log: log,
		ready: make(chan struct{}), faults: make(map[string]string),
		again:     make(chan struct{}, 1), // one token says "look again", however often
		who:       "etcd",
		questions: questions{said: make(chan said), busy: make(map[string]bool)},
	}
}

// Ready is closed once the keys have been read and each node has been probed
// once, whatever came of it. It may never be: a start must not wait for it
// without a limit.
func (c *control) Ready() <-chan struct{} { return c.ready }

// Run follows the cluster until ctx ends. When it returns, source and monitor
// have stopped.
func (c *control) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	snaps := make(chan dcs.Snapshot) // never closed: its sender ends with ctx
	var wg sync.WaitGroup
	wg.Go(func() { c.source.Run(ctx, forward(ctx, snaps)) })
	defer func() {
		cancel()
		wg.Wait()
		c.monitor.Close()
	}()

	// A first table, of nothing, so that its reason can be shown.
	c.decide()
	aging := time.NewTimer(time.Hour)
	defer aging.Stop()
	for {
		aging.Reset(c.untilNext(time.Now()))
		select {
		case <-ctx.Done():
			return
		case s := <-snaps:
			c.take(s)
		case <-c.monitor.Changed():
		case s := <-c.questions.said:
			c.questions.took(s)
		case <-c.again:
		case <-aging.C:
		}
		c.decide()
		c.questions.put(ctx, c.table.Asks, time.Now(), wg.Go)
	}
}

// forward gives a callback that hands snapshots over one by one: each may fence,
// none may be skipped.
func forward(ctx context.Context, snaps chan<- dcs.Snapshot) func(dcs.Snapshot) {
	return func(s dcs.Snapshot) {
		select {
		case snaps <- s:
		case <-ctx.Done():
		}
	}
}

// untilNext gives the time until something changes by itself: the grade of the
// news, or the table.
func (c *control) untilNext(now time.Time) time.Duration {
	wait := untilOlder(now.Sub(c.snap.At))
	if at := c.table.Wake; !at.IsZero() {
		wait = min(wait, max(at.Sub(now), 0))
	}
	return wait
}

// untilOlder gives the time until news of this age gets a worse grade.
func untilOlder(age time.Duration) time.Duration {
	switch route.FreshnessOf(age) {
	case route.Fresh:
		return route.StaleAfter - age
	case route.Stale:
		return route.BlindAfter - age + 1
	default:
		return time.Hour // only news changes that
	}
}

// take notes a snapshot, and logs what is wrong with it, once per change.
func (c *control) take(s dcs.Snapshot) {
	if s.Err != nil {
		c.tellTrouble(s.Err)
		return
	}
	if c.told != nil {
		c.log.Info("news from "+c.who+" again", zap.Int64("revision", s.Topology.Revision))
		c.told = nil
	}
	faults := make(map[string]string, len(s.Faults))
	for _, f := range s.Faults {
		faults[f.Key] = f.Err.Error()
		if c.faults[f.Key] != faults[f.Key] {
			c.log.Warn("key not understood", zap.String("key", f.Key), zap.Error(f.Err))
		}
	}
	c.faults = faults
	c.snap = s
}

// tellTrouble logs an error of the source, and what it means for clients. While
// the members of etcd are tried in turn, each one's error comes again and again:
// it is logged once.
func (c *control) tellTrouble(err error) {
	if c.told[err.Error()] {
		return
	}
	if c.told == nil {
		c.told = make(map[string]bool)
	}
	c.told[err.Error()] = true
	if c.snap.At.IsZero() {
		c.log.Warn("no news from "+c.who+" yet: clients wait", zap.Error(err))
		return
	}
	c.log.Warn("no news from "+c.who+": the routes stay as they are", zap.Error(err), zap.Duration("age", time.Since(c.snap.At)))
}

// decide builds the next table, publishes it when it says anything new, and
// sets the probes to what it needs to know next.
func (c *control) decide() {
	now := time.Now()
	fresh := route.Blind
	if !c.snap.At.IsZero() {
		fresh = route.FreshnessOf(now.Sub(c.snap.At))
	}
	probes := c.monitor.Health()
	in := route.Input{
		Now: now, Topology: c.snap.Topology, Freshness: fresh, Health: probes, Admin: c.Admin(), REST: c.questions.answers,
	}
	if c.blind != nil {
		in.EtcdBlind = c.blind()
	}
	if c.policy != nil {
		in.Policy = c.policy(memberNames(&c.snap.Topology))
	}
	next, events := route.Build(c.table, in)
	c.table = next
	c.remember(next)
	// Publish before anything else: a fence is urgent, a log line is not.
	if c.shown == nil || !c.shown.Same(next) {
		c.shown = next
		c.publish(next)
	}
	c.record.note(now, next, &c.snap, probes, events)
	c.monitor.Watch(targets(next, &c.snap.Topology, now))
	c.tellDoubts(next, probes)
	c.tell(next, events)
	if !c.snap.At.IsZero() && probed(next, probes) {
		c.sayReady.Do(func() { close(c.ready) })
	}
}

// tellDoubts passes on which probes fail: somebody may look at the sockets then.
func (c *control) tellDoubts(t *route.Table, probes route.Health) {
	if c.doubt == nil {
		return
	}
	for _, n := range t.Nodes {
		if h := probes[n.Name]; h.Addr == n.Addr {
			c.doubt(n.Addr, h.Err != "" && !h.CheckError, h.State == route.Down && h.Dead)
		}
	}
}

// targets says whom to probe, and how closely.
func targets(t *route.Table, topo *route.Topology, now time.Time) []health.Target {
	urgent := route.Urgent(t, topo, now)
	list := make([]health.Target, 0, len(t.Nodes))
	for _, n := range t.Nodes {
		target := health.Target{Name: n.Name, Addr: n.Addr, Pace: health.Steady}
		if m := topo.Member(n.Name); m != nil {
			target.API = m.APIURL
		}
		switch {
		case slices.Contains(urgent, n.Name):
			target.Pace = health.Urgent
		case n == t.Primary:
			target.Pace = health.Leader
		case t.Standing(n).Admin == route.Maint:
			continue // no checks; but who leads must be known, or a fence would be missed
		}
		list = append(list, target)
	}
	return list
}

// probed reports whether every node has been asked at least once.
func probed(t *route.Table, probes route.Health) bool {
	for _, n := range t.Nodes {
		if probes[n.Name].LastCheck.IsZero() && t.Standing(n).Admin != route.Maint {
			return false
		}
	}
	return true
}

// tell logs each decision.
func (c *control) tell(t *route.Table, events []route.Event) {
	if len(events) == 0 {
		return
	}
	for _, ev := range events {
		fields := []zap.Field{zap.String("reason", ev.Reason), zap.Uint64("epoch", ev.Epoch)}
		if n := t.Lookup(ev.Node); n != nil {
			fields = append(fields, zap.Stringer("server", n))
		} else if ev.Node != "" {
			fields = append(fields, zap.String("server", ev.Node))
		}
		if ev.Took > 0 {
			fields = append(fields, zap.Duration("took", ev.Took))
		}
		if needsEyes(ev.Kind) {
			c.log.Warn(ev.Kind.String(), fields...)
			continue
		}
		c.log.Info(ev.Kind.String(), fields...)
	}
}

// needsEyes reports that somebody may have to act.
func needsEyes(k route.EventKind) bool {
	return k == route.PrimaryLost || k == route.PrimaryFenced || k == route.ReplicaOut || k == route.ReadsMoved || k == route.AlarmRaised
}
