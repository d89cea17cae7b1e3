package main

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/cluster"
	"github.com/pgvip/pgvip/proxy"
	"github.com/pgvip/pgvip/vrrp/beat"
)

// Who is connected to the virtual IP, and what becomes of those clients when it
// moves. Two moves that look alike on the wire:
//
//	node dies      its clients wait for an answer that never comes
//	planned move   its sockets live on, but what clients send reaches the new
//	               owner, and without the address the old one can send nothing
//
// So in both the new owner resets every client that another node had, which then
// connects again, once. A planned move does better than that:
//
//	old owner   new transactions wait, those that run come to their end; the address
//	            goes; a moment later all sessions end with 57P01, which still leaves,
//	            from an address that is not here any more: see setTransparent
//	new owner   has the address and announces it; resets who is left, a moment later
//
// Sessions end in any case, lest they keep locks that the next attempt waits for.

const (
	// flowTick is how often the other nodes hear of clients.
	flowTick = 100 * time.Millisecond
	// flowMemory is how long the ends of clients are kept from the others once the
	// address is gone: most of them are our own doing, and the new owner has yet
	// to reset them.
	flowMemory = 3 * time.Second
	// moveGrace is how long sessions are kept when the address has gone and nobody
	// is known to have it: it may come back here.
	moveGrace = time.Second
	// tellDelay is when sessions that wait are ended after the address has gone to
	// another node: who connects again at once is to find that one, whose announcement
	// is under way.
	tellDelay = 20 * time.Millisecond
	// tickleDelay is how long a new owner lets the last one speak first that has
	// offered it the address. One that had to claim it waits for nobody.
	tickleDelay = 250 * time.Millisecond
	// claimMemory is how long after a claim an ownership still comes of that.
	claimMemory = 3 * time.Second
	// settleLimit bounds how long a planned move waits for transactions.
	settleLimit = 300 * time.Millisecond
	// tickleWindow is how long after a takeover news of the last owner's clients
	// still count: the last may have been under way.
	tickleWindow = 2 * time.Second
)

// vipClients keeps the clients of the virtual IP for a node. One goroutine runs it.
type vipClients struct {
	self  string
	log   *zap.Logger
	take  func() (opened, closed []proxy.Flow)
	end   func(gone func(netip.Addr) bool, resting bool) int
	isVIP func(netip.Addr) bool
	// status gives the keeper's, tickle speaks to it; there is a virtual IP.
	status func() beat.Status
	tickle func([]beat.Flow)
	// publish, flowsOf and tookOver are the cluster's; peers are the names of the others.
	publish  func(opened, closed []cluster.Flow)
	flowsOf  func(node string) []cluster.Flow
	tookOver func()
	peers    func() []string

	wake chan struct{} // one token: the owner may have changed; never closed

	planned atomic.Bool  // this node is about to give the address away: settle
	claimed atomic.Int64 // when the keeper last claimed it, by bootTime; 0 for never

	// Owned by run.
	held     bool // as of the last look
	lostAt   time.Time
	rested   bool // the sessions at rest were ended, of the address that was lost at lostAt
	ended    bool // and all
	late     []lateEnd
	since    time.Time     // of the takeover; zero when not owning
	hold     time.Duration // from then on until clients are reset
	tickled  map[cluster.Flow]bool
	nTickled int
}

// lateEnd are clients that have gone after the address.
type lateEnd struct {
	at    time.Time
	flows []cluster.Flow
}

// event takes what the keeper says.
func (v *vipClients) event(e beat.Event) {
	if e.Kind == "claim" {
		v.claimed.Store(int64(bootTime()))
	}
	v.Changed()
}

// offered reports whether the last owner may have given the address away, and so
// lives. Without an arbiter a node that lives does so by an advert of priority 0, as
// one whose main process is dead.
func (v *vipClients) offered(s *beat.Status) bool {
	at := time.Duration(v.claimed.Load())
	return s.Arbiter == "etcd" && (at == 0 || bootTime()-at > claimMemory)
}

// Changed has run look at once.
func (v *vipClients) Changed() {
	select {
	case v.wake <- struct{}{}:
	default: // the token that is there speaks for this change too
	}
}

// run looks until ctx ends.
func (v *vipClients) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-v.wake:
		case <-ctx.Done():
			return
		}
		timer.Reset(v.look(time.Now()))
	}
}

// look does what is due, and gives when to look again.
func (v *vipClients) look(now time.Time) time.Duration {
	s := v.status()
	holds := s.Holds || s.State == beat.Active // an address that somebody has removed comes back
	switch {
	case holds && !v.held:
		v.tookOver()
		v.since, v.hold, v.tickled, v.nTickled = now, 0, make(map[cluster.Flow]bool), 0
		if v.offered(&s) {
			v.hold = tickleDelay
		}
	case !holds && v.held:
		v.lostAt, v.rested, v.ended, v.since, v.tickled = now, false, false, time.Time{}, nil
	}
	v.held = holds
	next := flowTick
	if !holds && !v.lostAt.IsZero() && !v.ended {
		next = min(next, v.endLost(now, s.Owner))
	}
	v.tell(now)
	if s.State == beat.Active && s.Holds && !v.since.IsZero() {
		if wait := v.hold - now.Sub(v.since); wait > 0 {
			return min(next, wait)
		}
		v.reset(now)
	}
	return next
}

// endLost ends the sessions of an address that is another node's by now, and gives
// how long to wait when it is too early.
func (v *vipClients) endLost(now time.Time, owner string) time.Duration {
	limit := moveGrace
	if v.planned.Load() || owner != "" && owner != v.self {
		limit = tellDelay
		if !v.rested {
			// At once: what they send next would meet the new owner.
			v.rested = true
			v.end(v.isVIP, true)
		}
	}
	if wait := limit - now.Sub(v.lostAt); wait > 0 {
		return wait
	}
	v.ended = true
	if n := v.end(v.isVIP, false); n > 0 {
		v.log.Info("the virtual IP has moved: its clients' sessions are ended", zap.String("owner", owner), zap.Int("clients", n))
	}
	return flowTick
}

// tell publishes who has come and gone.
func (v *vipClients) tell(now time.Time) {
	taken, gone := v.take()
	opened, closed := clusterFlows(taken), clusterFlows(gone)
	if !v.held && len(closed) > 0 {
		v.late = append(v.late, lateEnd{now, closed})
		closed = nil
	}
	// Before opened: a client may have come again from the same port.
	for len(v.late) > 0 && (v.held || now.Sub(v.late[0].at) >= flowMemory) {
		v.publish(nil, v.late[0].flows)
		v.late = v.late[1:]
	}
	if len(opened)+len(closed) > 0 {
		v.publish(opened, closed)
	}
}

// reset has the clients reset that other nodes had on the address, whoever owned it
// last: none of them can reach its node any more. One that is ours by now, from the
// same port, takes no harm: its own socket answers the probe.
func (v *vipClients) reset(now time.Time) {
	var flows []beat.Flow
	for _, peer := range v.peers() {
		for _, f := range v.flowsOf(peer) {
			if !v.tickled[f] && v.isVIP(f.VIP.Addr()) {
				v.tickled[f] = true
				flows = append(flows, beat.Flow(f))
			}
		}
	}
	if len(flows) > 0 {
		v.nTickled += len(flows)
		v.tickle(flows)
	}
	if now.Sub(v.since) >= tickleWindow {
		if v.nTickled > 0 {
			v.log.Info("clients of the last owner of the virtual IP were reset", zap.Int("clients", v.nTickled))
		}
		v.since, v.tickled = time.Time{}, nil
	}
}

func clusterFlows(list []proxy.Flow) []cluster.Flow {
	out := make([]cluster.Flow, len(list))
	for i, f := range list {
		out[i] = cluster.Flow{Client: f.Client, VIP: f.Local}
	}
	return out
}
