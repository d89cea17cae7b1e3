package proxy

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/wire"
)

const (
	// drainPoll is how often Shutdown looks whether the last client has gone.
	drainPoll = 20 * time.Millisecond

	// endLimit bounds how long Shutdown waits for sessions that it has told to
	// end at once.
	endLimit = time.Second
)

// Shutdown stops accepting, lets open transactions finish until ctx ends, and
// ends every session: idle ones at once, with 57P01 as PostgreSQL does.
func (p *Proxy) Shutdown(ctx context.Context) {
	p.mu.Lock()
	p.stopping = true
	p.draining.Store(true)
	for _, l := range p.listeners {
		l.Close()
	}
	p.mu.Unlock()
	p.stop() // logins under way, which might wait for a primary, or for ever
	for _, s := range p.sessions.all() {
		s.post(s.drain)
	}
	if !p.await(ctx) {
		p.log.Warn("drain_timeout: ending the sessions that are left", zap.Int("clients", p.Clients()))
		for _, s := range p.sessions.all() {
			s.post(s.shutdown)
		}
		// The caller will stop the loops, where the sessions have to end first.
		ctx, cancel := context.WithTimeout(context.Background(), endLimit)
		defer cancel()
		p.await(ctx)
	}
	p.running.Wait()
	p.lookups.close()
	p.lookups.closing.Wait()
}

// SetDrained sends clients away, each between two transactions, and lets nobody in
// but operators, until it is taken back. That has no effect once Shutdown has begun.
func (p *Proxy) SetDrained(on bool) {
	p.mu.Lock()
	if p.stopping {
		p.mu.Unlock()
		return
	}
	p.drained.Store(on)
	p.draining.Store(on)
	p.mu.Unlock()
	if on {
		for _, s := range p.sessions.all() {
			s.post(s.drain)
		}
	}
}

// await waits until no client is left, and reports whether that came to be
// before ctx ended.
func (p *Proxy) await(ctx context.Context) bool {
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for p.Clients() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// drain ends the session unless it is in a transaction; Ready comes back to it.
func (s *session) drain() {
	// A stream has no end to wait for.
	if s.replication == noReplication && s.phase == bound && (!s.server.Settled() || s.server.Status() != 'I') {
		return
	}
	s.shutdown()
}

// shutdown ends the session whatever it does.
func (s *session) shutdown() {
	if s.started.IsZero() {
		return // start is still to come, and looks whether we are draining
	}
	s.end(causeShutdown, wire.Fatal(wire.CodeAdminShutdown, "terminating connection due to administrator command", ""))
}
