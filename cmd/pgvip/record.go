package main

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pgvip/pgvip/dcs"
	"github.com/pgvip/pgvip/route"
)

// maxEvents is how many decisions are kept for operators: some days of a quiet
// cluster, or the whole of a bad night.
const maxEvents = 200

// decision is an event of the route, of the virtual IP or of the cluster, and when it
// was.
type decision struct {
	at time.Time
	route.Event
	other string // kind of an event of something else; "" for one of the route
	warn  bool   // of something else: somebody may have to act
}

// kind is its name for operators.
func (d *decision) kind() string {
	if d.other != "" {
		return d.other
	}
	return d.Kind.String()
}

// alarm reports that somebody may have to act.
func (d *decision) alarm() bool {
	if d.other != "" {
		return d.warn
	}
	return needsEyes(d.Kind)
}

// record is what the control keeps for operators: what it knew at its last
// decision, and the decisions before. The zero value is ready.
type record struct {
	mu sync.Mutex

	// Guarded by mu.
	last      state
	decisions []decision // the last maxEvents, oldest first
	kinds     map[route.EventKind]uint64
}

// state is what was known and decided last. What it points to is not changed.
type state struct {
	table    *route.Table
	topology route.Topology
	probes   route.Health
	newsAt   time.Time // of the source; zero without any
	since    time.Time // since when there is this primary, or none
}

// note keeps what a decision was made of, and what it was.
func (r *record) note(now time.Time, t *route.Table, s *dcs.Snapshot, probes route.Health, events []route.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	since := r.last.since
	if r.last.table == nil || r.last.table.Primary != t.Primary {
		since = now
	}
	r.last = state{t, s.Topology, probes, s.At, since}
	for _, ev := range events {
		r.decisions = append(r.decisions, decision{at: now, Event: ev})
		if r.kinds == nil {
			r.kinds = make(map[route.EventKind]uint64)
		}
		r.kinds[ev.Kind]++
	}
	r.trimLocked()
}

// noteVIP keeps an event of the virtual IP.
func (r *record) noteVIP(at time.Time, kind, text string, warn bool) {
	r.noteOther(at, "virtual IP: "+kind, text, warn)
}

// noteOther keeps an event that is no decision about a route.
func (r *record) noteOther(at time.Time, kind, text string, warn bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.decisions = append(r.decisions, decision{at: at, Event: route.Event{Reason: text}, other: kind, warn: warn})
	r.trimLocked()
}

// trimLocked forgets the oldest.
func (r *record) trimLocked() {
	if extra := len(r.decisions) - maxEvents; extra > 0 {
		r.decisions = slices.Delete(r.decisions, 0, extra)
	}
}

// state gives what was known and decided last; its table is nil before the first
// decision.
func (r *record) state() state {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// history gives the last decisions, oldest first.
func (r *record) history() []decision {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.decisions)
}

// counts tells how often each kind of decision was made.
func (r *record) counts() map[route.EventKind]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts := make(map[route.EventKind]uint64, len(r.kinds))
	maps.Copy(counts, r.kinds)
	return counts
}
