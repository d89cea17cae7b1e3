package pool

import (
	"context"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/route"
)

// Gate is what keeps a pool from lending a server now.
type Gate uint8

// Gates, in the order in which they count. Where the node is no longer the place
// to go, nothing else matters: who waits chooses again, and the gates of that pool
// count. What an operator wants comes before what the servers are like, because it
// alone has to be taken back by somebody.
const (
	Open        Gate = iota
	GateRetired      // the node is no longer the place to go
	GatePaused       // by PAUSE or KILL
	GateMaint        // the node is in maint, by an operator
	GateDrain        // the node is in drain, by an operator
	GateHeld         // a switchover is announced
	GateFailing      // the server does not let pgvip log in
	GateLimit        // other pools have what a limit allows
	GateFull         // all servers of the pool are in use
)

// gate decides which gate is closed; a pool that nobody waits for is open.
func (p *Pool) gate() Gate {
	switch {
	case p.queue.size == 0:
		return Open
	case p.retired:
		return GateRetired
	case p.paused:
		return GatePaused
	case p.admin == route.Maint:
		return GateMaint
	case p.admin == route.Drain:
		return GateDrain
	case p.held:
		return GateHeld
	case p.trouble:
		return GateFailing
	case p.claims.asking:
		return GateLimit
	}
	return GateFull
}

// reason says why somebody has to wait in this queue.
func (p *Pool) reason() string {
	switch p.gate() {
	case GateRetired:
		return "The node is no longer in use."
	case GatePaused:
		return "The database is paused; RESUME on the console ends that."
	case GateMaint:
		return "Server \"" + p.key.Node.Name + "\" is in maint; READY on the console ends that."
	case GateDrain:
		return "Server \"" + p.key.Node.Name + "\" is in drain; READY on the console ends that."
	case GateHeld:
		return "A switchover to another primary is under way."
	case GateFailing:
		return "The server does not let pgvip log in."
	case GateLimit:
		return p.ledger.obstacle(&p.claims.server)
	case GateFull:
		return "All servers of this pool are in use; see default_pool_size."
	}
	return ""
}

// Reason says what the client waits for.
func (w *Waiter) Reason() string {
	if w.server != nil {
		return "A server is being made ready."
	}
	return w.pool.reason()
}

// pause stops lending, and closes servers as they become free, or ends that.
func (p *Pool) pause(on bool) {
	p.paused = on
	if on && p.replication {
		p.Retire(true)
		return
	}
	if on {
		p.closeIdle("PAUSE", func(*Server) bool { return true })
		p.followClaims()
		return
	}
	p.serve()
	p.fill()
}

// reconnect has every server that there is closed as soon as it is free. Logins
// that are under way may be to an address that is not right any more.
func (p *Pool) reconnect() {
	if p.replication {
		p.Retire(true)
		return
	}
	p.generation++
	for s := range p.servers {
		s.stale = true
		s.fastClose()
	}
	p.closeIdle("RECONNECT", func(s *Server) bool { return s.stale })
	p.fill()
}

// fastClose ends the session, with server_fast_close or in maint, whose server
// should be replaced and would be only after it, once its transaction is over.
func (s *Server) fastClose() {
	maint := s.pool.admin == route.Maint
	fast := s.stale && s.state == lent && !s.Shared() && (maint || s.pool.set.settings.Load().ServerFastClose)
	if !fast || !s.replies.Settled() || s.replies.Status() != 'I' {
		return
	}
	s.loss = LossReplaced
	if maint {
		s.loss = LossMaint
	}
	s.conn.Write([]byte{'X', 0, 0, 0, 4})
	s.lost("server_fast_close, or maint")
}

func (p *Pool) closeIdle(why string, which func(*Server) bool) {
	for _, s := range append([]*Server(nil), p.idle...) {
		if which(s) {
			s.terminate(why)
		}
	}
}

// gates are an operator's words about databases. They belong to the Set, behind
// its lock, since they count for pools to come as well.
type gates struct {
	all      bool
	paused   map[string]bool
	disabled map[string]bool // what was said last; what is not here is as configured
}

func (g *gates) holds(database string) bool { return g.all || g.paused[database] }

// Pause stops lending servers of a database, or with "" of all. It reports whether
// that was not so already. Await tells when the servers are closed.
func (t *Set) Pause(database string) bool { return t.setPaused(database, true) }

// Resume ends Pause; it reports whether there was one. Resume("") ends Pause("")
// alone.
func (t *Set) Resume(database string) bool { return t.setPaused(database, false) }

func (t *Set) setPaused(database string, on bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.gates.paused[database]
	if database == "" {
		was = t.gates.all
		t.gates.all = on
	} else if on {
		t.gates.paused[database] = true
	} else {
		delete(t.gates.paused, database)
	}
	for p := range t.every {
		if database == "" || p.key.Database == database {
			holds := t.gates.holds(p.key.Database)
			p.loop.Post(func() { p.pause(holds) })
		}
	}
	return was != on
}

// Paused reports whether a database is paused, by its name or with all; "" asks
// for the latter.
func (t *Set) Paused(database string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.gates.holds(database)
}

// PausedByName reports whether Pause was called with this name.
func (t *Set) PausedByName(database string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.gates.paused[database]
}

// SetDisabled says whether a database refuses new clients, whatever the
// configuration says.
func (t *Set) SetDisabled(database string, yes bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gates.disabled[database] = yes
}

// Disabled reports whether a database refuses new clients.
func (t *Set) Disabled(database string, configured bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if said, ok := t.gates.disabled[database]; ok {
		return said
	}
	return configured
}

// Reconnect replaces the servers of a database, or of all, by new ones as they
// become free.
func (t *Set) Reconnect(database string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := range t.every {
		if database == "" || p.key.Database == database {
			p.loop.Post(p.reconnect)
		}
	}
}

// Databases are those that have pools, whether these live or only count.
func (t *Set) Databases() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := make(map[string]bool)
	for p := range t.every {
		names[p.key.Database] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// Has reports whether a database has pools, or was paused or disabled.
func (t *Set) Has(database string) bool {
	if slices.Contains(t.Databases(), database) {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, said := t.gates.disabled[database]
	return said || t.gates.paused[database]
}

// ReconnectHost is Reconnect for the servers at a host, whose name leads elsewhere
// by now.
func (t *Set) ReconnectHost(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := range t.every {
		if host, _, _ := net.SplitHostPort(p.key.Node.Addr); host == name {
			p.loop.Post(p.reconnect)
		}
	}
}

// awaitPoll is how often Await looks.
const awaitPoll = 20 * time.Millisecond

// AwaitPaused waits until a database, or all, has no servers left. It returns early
// when the pause ends; the error is ctx's.
func (t *Set) AwaitPaused(ctx context.Context, database string) error {
	return t.await(ctx, database, func(p *Pool) bool { return p.paused && p.open() > 0 })
}

// AwaitClosed waits until the servers are closed that Reconnect was called for, and
// those of Pause.
func (t *Set) AwaitClosed(ctx context.Context, database string) error {
	return t.await(ctx, database, func(p *Pool) bool {
		if p.paused && p.open() > 0 || p.leaving > 0 {
			return true
		}
		for s := range p.servers {
			if s.stale {
				return true
			}
		}
		return false
	})
}

// await waits until busy is true for no pool of a database, or of any.
func (t *Set) await(ctx context.Context, database string, busy func(*Pool) bool) error {
	tick := time.NewTicker(awaitPoll)
	defer tick.Stop()
	for {
		pools := t.all(func(p *Pool) bool { return database == "" || p.key.Database == database })
		left, err := loop.Collect(ctx, pools, (*Pool).Loop, func(p *Pool, list []*Pool) []*Pool {
			if busy(p) {
				list = append(list, p)
			}
			return list
		})
		if err != nil || len(left) == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// all lists the pools that there are, and those that have ended and still have
// something to tell.
func (t *Set) all(which func(*Pool) bool) []*Pool {
	t.mu.Lock()
	defer t.mu.Unlock()
	var list []*Pool
	for p := range t.every {
		if which(p) {
			list = append(list, p)
		}
	}
	return list
}
