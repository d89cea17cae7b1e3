package proxy

import (
	"context"
	"time"

	"github.com/pgvip/pgvip/loop"
)

// settlePoll is how often Settle looks whether the last transaction has ended.
const settlePoll = 2 * time.Millisecond

// Settle keeps the clients of the watched addresses (Options.Flows) from beginning
// anything new, and waits until what runs for them has come to its end: what is cut
// off then, when such an address moves, is between two transactions. It reports
// whether that came to be before ctx ended. Unsettle must follow.
func (p *Proxy) Settle(ctx context.Context) bool {
	p.settling.Store(true)
	tick := time.NewTicker(settlePoll)
	defer tick.Stop()
	for {
		if n, err := p.unsettled(ctx); err == nil && n == 0 {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// Unsettle ends Settle: who was held back goes on.
func (p *Proxy) Unsettle() {
	if !p.settling.Swap(false) {
		return
	}
	for _, s := range p.shards {
		s.loop.Post(s.unpark)
	}
}

// unsettled counts the clients of watched addresses that have something running.
func (p *Proxy) unsettled(ctx context.Context) (int, error) {
	busy, err := loop.Collect(ctx, p.loops, func(l *loop.Loop) *loop.Loop { return l }, func(l *loop.Loop, list []*session) []*session {
		for _, s := range p.shards[l].sessions {
			if s.flow != nil && s.phase == bound && (!s.server.Settled() || s.server.Status() != 'I') {
				list = append(list, s)
			}
		}
		return list
	})
	return len(busy), err
}
