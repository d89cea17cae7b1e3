package dcs

import (
	"context"
	"time"

	"github.com/pgvip/pgvip/route"
)

// Source follows the cluster until ctx ends. Run calls news from one goroutine,
// never concurrently, and calls it no more once it has returned. It returns
// only when ctx ends: no trouble of the store is final.
type Source interface {
	Run(ctx context.Context, news func(Snapshot))
	Stats() Stats
}

// Snapshot is the state of the keys at one revision.
type Snapshot struct {
	Topology route.Topology
	Faults   []Fault // keys that could not be read; the rest counts

	// At is when the linearizable read was sent that last confirmed this or an
	// older revision. Freshness is counted from it; a watch event is news but
	// no proof of freshness, for a lagging member sends old events too.
	At time.Time

	// Err is set in a snapshot that carries no new keys: it says why there are
	// none. Topology and At are those of the last good one, zero before it.
	Err error
}

// Fault is one key that could not be understood.
type Fault struct {
	Key string
	Err error
}

// Stats are counters since the start, and the age of the last good news.
type Stats struct {
	Following  []Following // the members in use now
	LastRead   time.Time   // when the last successful read was sent; zero before it
	Revision   int64
	Reads      uint64 // linearizable reads that answered
	Missed     uint64 // reads that failed or were late
	Resyncs    uint64 // full reads after the first
	Events     uint64 // watch events applied
	Restores   uint64 // another cluster id, or a revision that went back
	Unwatched  uint64 // changes that a read saw before the watch did
	Connects   uint64 // clients made; more than one means rotation
	LastErr    string // empty while all is well
	LastErrAt  time.Time
	FaultyKeys int // in the last snapshot
}

// Following is one member of the store that is in use.
type Following struct {
	Endpoint string
	LastRead time.Time // when the last successful read was sent; zero before it
	Err      string    // empty while all is well
}
