package pool

import (
	"slices"
	"sync/atomic"
)

// limitKind is what a limit is about.
type limitKind uint8

// Kinds, in the order in which a claim takes their slots.
const (
	userLimit limitKind = iota
	databaseLimit
	nodeLimit
	limitKinds
)

// limitKey names a limit. Each counts for one node, through all its lives: what
// is still open from before a promotion takes places as well.
type limitKey struct {
	kind limitKind
	addr string // of the node
	name string // of the user or database
}

// limit is a number that is not exceeded, except where it was lowered. The
// ledger's mu guards it. It never has both room and a queue.
type limit struct {
	key      limitKey
	max      int                   // 0 is none
	most     int                   // of max: what this node may use; see ledger.measure
	used     int                   // slots that are taken
	leaving  int                   // of these: given up for somebody in the queue, not yet free
	queue    []*claim              // in no order, for the clients behind them change
	members  map[*account]struct{} // those that have servers
	accounts int                   // those that refer to it
	// crowded says that there is a queue. Atomic: pools look without the lock.
	crowded atomic.Bool
}

func (l *limit) room() bool { return l.max <= 0 || l.used < l.most }

// oldest is the claim in the queue whose client came first.
func (l *limit) oldest() *claim {
	first := l.queue[0]
	for _, c := range l.queue[1:] {
		if c.since.Load() < first.since.Load() {
			first = c
		}
	}
	return first
}

func (l *limit) push(c *claim) {
	l.queue = append(l.queue, c)
	l.crowded.Store(true)
}

func (l *limit) remove(c *claim) {
	i := slices.Index(l.queue, c)
	l.queue = slices.Delete(l.queue, i, i+1)
	l.crowded.Store(len(l.queue) > 0)
}

// account is a pool as the ledger sees it.
type account struct {
	limits [limitKinds]*limit
	// yield asks the pool to give up an idle server. It is called from any
	// goroutine and must not block.
	yield func()
	// spare is yield for somebody who is no claim: PostgreSQL itself is full.
	spare func()
	// idleSince is when the server was last used that has been idle for longest,
	// by ledger.at; 0 without one. Atomic.
	idleSince atomic.Int64

	used int // permits; guarded by the ledger's mu
	refs int // the pool itself, and each permit and claim; guarded by the ledger's mu
}

// crowded reports that somebody waits for a slot that a server of this account
// has. Any goroutine may ask.
func (a *account) crowded() bool {
	for _, lim := range a.limits {
		if lim.crowded.Load() {
			return true
		}
	}
	return false
}

// claim asks for one permit.
type claim struct {
	// Immutable.
	account *account
	granted func() // tells that the permit has come; from any goroutine, must not block

	// since is when the client came that waits for it, by ledger.at. Atomic.
	since atomic.Int64
	// wanted is how many servers the pool behind it would like to have. Atomic.
	wanted atomic.Int32

	// Guarded by the ledger's mu.
	waiting bool
	stage   limitKind // the limit it waits for; it has slots of those before
}
