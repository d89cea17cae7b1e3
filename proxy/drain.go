package proxy

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/wire"
)

// drainPoll is how often Shutdown looks whether the last client has gone.
const drainPoll = 20 * time.Millisecond

// Shutdown stops accepting, lets open transactions finish until ctx ends, and
// ends every session: idle ones at once, with 57P01 as PostgreSQL does.
func (p *Proxy) Shutdown(ctx context.Context) {
	p.draining.Store(true)
	p.mu.Lock()
	for _, l := range p.listeners {
		l.Close()
	}
	p.mu.Unlock()
	for _, s := range p.sessions.all() {
		s.post(s.drain)
	}
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for p.Clients() > 0 && ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.log.Warn("drain_timeout: ending the sessions that are left", zap.Int("clients", p.Clients()))
		}
	}
	p.stop() // logins under way
	for _, s := range p.sessions.all() {
		s.post(s.shutdown)
	}
	p.running.Wait()
}

// drain ends the session unless it is in a transaction; Ready comes back to it.
func (s *session) drain() {
	if s.phase == bound && (!s.server.Settled() || s.server.Status() != 'I') {
		return
	}
	s.shutdown()
}

// shutdown ends the session whatever it does.
func (s *session) shutdown() {
	s.end(causeShutdown, wire.Fatal(wire.CodeAdminShutdown, "terminating connection due to administrator command", ""))
}
