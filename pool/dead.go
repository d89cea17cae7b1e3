package pool

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// A host that is gone without a word leaves sockets that look well for a minute. A
// probe that fails is the reason to look at them, the kernel's own account of each
// is the verdict (rule 15): a failing probe alone ends nothing that answers.

const (
	// unackedLimit is how long data may be unacknowledged while probes fail.
	unackedLimit = 3 * time.Second
	// unackedTries are the retransmissions that come in this time at least, since each
	// waits twice as long as the one before and the first 200 ms: data just sent on a
	// connection that was silent before is not taken for that.
	unackedTries = 4
	// deadSilence is how long a server of a node that is down may be silent. What
	// PostgreSQL says when it stops comes before.
	deadSilence = time.Second
	// doubtPause is how often the sockets of a node are looked at.
	doubtPause = 300 * time.Millisecond
)

// doubts are the nodes whose probes fail.
type doubts struct {
	mu    sync.Mutex
	nodes map[string]*doubt // by address; guarded by mu
}

type doubt struct {
	looked time.Time
	dead   time.Time // since when; zero while it is not
}

// Doubt tells what the probes of a node say: that the last one failed, and that the
// node is down. Call it with each outcome, from any goroutine.
func (t *Set) Doubt(addr string, failing, dead bool) {
	d := &t.doubts
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !failing && !dead {
		delete(d.nodes, addr)
		return
	}
	n := d.nodes[addr]
	if n == nil {
		if d.nodes == nil {
			d.nodes = make(map[string]*doubt)
		}
		n = new(doubt)
		d.nodes[addr] = n
	}
	switch {
	case !dead:
		n.dead = time.Time{}
	case n.dead.IsZero():
		n.dead = now
	}
	if now.Sub(n.looked) < doubtPause {
		return
	}
	n.looked = now
	down := dead && now.Sub(n.dead) >= deadSilence
	for _, p := range t.all(func(p *Pool) bool { return p.key.Node.Addr == addr }) {
		p.loop.Post(func() { p.look(down) })
	}
}

// look closes the sockets at whose other end there is nobody any more.
func (p *Pool) look(down bool) {
	for s := range p.servers {
		if why := s.gone(down); why != "" {
			p.set.counters.DeadSockets.Add(1)
			p.log.Warn("server connection is dead", zap.String("cause", why), zap.Uint32("pid", s.pid))
			s.lost(why)
		}
	}
}

// gone says why a server is dead, empty while it may not be.
func (s *Server) gone(down bool) string {
	i, ok := s.conn.Info()
	switch {
	case !ok:
		return ""
	case i.Unacked > 0 && i.Retransmits >= unackedTries && i.LastAck >= unackedLimit:
		return "what was sent is not acknowledged"
	case down && min(i.LastAck, i.LastData) >= deadSilence:
		return "its node is down"
	}
	return ""
}
