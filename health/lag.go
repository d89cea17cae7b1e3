package health

import (
	"sync"
	"time"

	"github.com/pgvip/pgvip/route"
)

// lagMeter measures every replica by the one primary.
type lagMeter struct {
	patience time.Duration // immutable

	mu       sync.Mutex
	trail    trail  // guarded by mu
	system   string // guarded by mu; whose trail it is
	timeline uint32 // guarded by mu
}

// measure takes the answer that has just come: the leader's makes the trail
// longer, a replica's is held against it.
func (m *lagMeter) measure(h *route.NodeHealth, leads bool, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h.LagKnown, h.LagBytes, h.LagTime = false, 0, 0
	switch {
	case h.Writable && leads:
		if m.system != h.SystemID || m.timeline != h.Timeline {
			// Positions of another history are not to be compared.
			m.system, m.timeline, m.trail = h.SystemID, h.Timeline, trail{}
		}
		m.trail.note(now, h.LSN)
		h.LagKnown = true
	case h.InRecovery && m.system == h.SystemID:
		h.LagBytes, h.LagTime, h.LagKnown = m.trail.behind(h.AskedAt, h.LSN, m.patience)
	}
}
