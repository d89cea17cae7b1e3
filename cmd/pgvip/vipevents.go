package main

import (
	"sync"
	"time"

	"github.com/pgvip/pgvip/admin"
	"github.com/pgvip/pgvip/vrrp/beat"
)

// keptEvents is how many events of the virtual IP are kept for those who ask how a
// move went.
const keptEvents = 100

// vipEvents keeps what the keeper has said last. The zero value is ready.
type vipEvents struct {
	mu   sync.Mutex
	last []admin.VIPEvent // guarded by mu; oldest first
	n    uint64           // guarded by mu; of all there ever were

	state beat.State // guarded by mu; the last one told of
	since time.Time  // guarded by mu; of state, zero before the first
}

// note keeps an event. Its time is that of this machine's clock since boot, by which
// events of one node, and of no other, can be compared.
func (v *vipEvents) note(now time.Duration, e beat.Event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.n++
	if e.Kind == "state" && e.State != "" && e.State != v.state {
		v.state, v.since = e.State, time.Now().Add(-e.Age)
	}
	v.last = append(v.last, admin.VIPEvent{
		Number: v.n, Boot: (now - e.Age).Seconds(), Kind: e.Kind, State: admin.VIPState(e.State), Text: e.Text, Warn: e.Warn,
	})
	if extra := len(v.last) - keptEvents; extra > 0 {
		v.last = append(v.last[:0], v.last[extra:]...)
	}
}

// Since is when this node's part in the election last changed; zero for never.
func (v *vipEvents) Since() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.since
}

// list gives them, oldest first; the list is the caller's.
func (v *vipEvents) list() []admin.VIPEvent {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]admin.VIPEvent{}, v.last...)
}
