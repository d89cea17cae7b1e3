package pool

import (
	"time"

	"github.com/pgvip/pgvip/route"
)

// holdFrom is how a pool that is new stands to an announced switchover.
func (t *Set) holdFrom(p *Pool) {
	if h := t.hold(p.role); h != nil && time.Now().Before(h.Until) {
		p.held = true
		p.loop.Post(func() { p.followHold(h) })
	}
}

// hold is the announced switchover that counts for a role. The caller holds mu.
func (t *Set) hold(role route.Role) *route.Hold {
	if t.table == nil || role != route.Primary {
		return nil
	}
	return t.table.Hold
}

// followHold stops lending for an announced switchover, so that what is running comes
// to its end before PostgreSQL cuts it off; nil, and the end of the time that it
// may take, begin it again (rule 27). Those who have a server keep it.
func (p *Pool) followHold(h *route.Hold) {
	p.holdEnd.Stop()
	if h != nil && !p.retired {
		if left := h.Until.Sub(p.loop.Now()); left > 0 {
			p.held = true
			p.followClaims()
			p.holdEnd = p.loop.After(left, func() { p.followHold(nil) })
			return
		}
	}
	if !p.held {
		return
	}
	p.held = false
	p.serve()
	p.fill()
}
