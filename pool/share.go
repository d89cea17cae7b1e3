package pool

// Limits that several pgvips have together. Each of them may use its share; the
// ledger bounds a limit to that, and somebody else (package cluster) says how large
// it is. Without ShareLimits each limit is this process's alone.

// SharedLimit is one that all nodes have together.
type SharedLimit struct {
	Kind SharedKind
	Addr string // of the PostgreSQL
	Name string // of the user or database
	Max  int    // for all nodes

	Used   int // by this one
	Demand int // used and waited for
}

// SharedKind says what a SharedLimit is about.
type SharedKind uint8

// Kinds of shared limits.
const (
	SharedUser     SharedKind = SharedKind(userLimit)     // max_user_connections
	SharedDatabase SharedKind = SharedKind(databaseLimit) // max_db_connections
	SharedNode     SharedKind = SharedKind(nodeLimit)     // what a PostgreSQL has room for
)

// maxYields bounds the idle servers that are closed in one go for other nodes.
const maxYields = 16

// sharing is what the ledger knows of the other nodes.
type sharing struct {
	initial   func(most int) int // what this node has of a limit of which nothing was said
	short     func()             // somebody waits for a shared limit; must not block
	shares    map[limitKey]int
	elsewhere map[string]int // what the other nodes use of a PostgreSQL, by address
}

// ShareLimits makes limits count over several nodes, before any pool is used. initial
// gives this node's share of a limit of which Share has said nothing, and short is told
// when somebody begins to wait for one; both may be called while pools are locked out,
// and must not call the Set.
func (t *Set) ShareLimits(initial func(most int) int, short func()) {
	l := t.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shared = &sharing{initial: initial, short: short, shares: make(map[limitKey]int), elsewhere: make(map[string]int)}
}

// Share bounds a limit to what this node may have, now and when there is such a one
// later, and tells how many are in use. Those above the share stay as long as their
// transactions last; idle ones are closed. Any goroutine may call it.
func (t *Set) Share(kind SharedKind, addr, name string, share int) (used int) {
	return t.ledger.share(limitKey{limitKind(kind), addr, name}, share)
}

// Elsewhere says how many connections the other nodes have to a PostgreSQL, which
// are no strangers then. Any goroutine may call it.
func (t *Set) Elsewhere(addr string, used int) {
	l := t.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shared != nil {
		l.shared.elsewhere[addr] = used
	}
}

// SharedLimits lists the limits that there are. Any goroutine may call it.
func (t *Set) SharedLimits() []SharedLimit {
	l := t.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []SharedLimit
	for key, lim := range l.limits {
		if lim.max > 0 {
			list = append(list, SharedLimit{
				Kind: SharedKind(key.kind), Addr: key.addr, Name: key.name, Max: lim.max, Used: lim.used, Demand: lim.used + lim.wanted(),
			})
		}
	}
	return list
}

// wanted is how many servers are waited for. A pool claims one at a time.
func (l *limit) wanted() int {
	n := 0
	for _, c := range l.queue {
		n += max(1, int(c.wanted.Load()))
	}
	return n
}

func (l *ledger) share(key limitKey, share int) int {
	l.mu.Lock()
	if l.shared == nil {
		l.mu.Unlock()
		return 0
	}
	l.shared.shares[key] = share
	lim := l.limits[key]
	if lim == nil {
		l.mu.Unlock()
		return 0
	}
	l.measure(lim)
	used := lim.used
	after := l.grantWishes(l.flow(lim, l.shrink(lim, nil)))
	l.mu.Unlock()
	after.run()
	return used
}

// measure works out how many of a limit this node may use.
func (l *ledger) measure(lim *limit) {
	lim.most = lim.max
	if l.shared == nil || lim.max <= 0 {
		return
	}
	share, said := l.shared.shares[lim.key]
	if !said {
		share = l.shared.initial(lim.max)
	}
	lim.most = min(max(share, 0), lim.max)
}

// shrink has idle servers closed that are above the share.
func (l *ledger) shrink(lim *limit, after calls) calls {
	if lim.max <= 0 || lim.used <= lim.most {
		return after
	}
	victim := lim.idlest()
	for range min(lim.used-lim.most, maxYields) {
		if victim != nil {
			after = append(after, victim.spare)
		}
	}
	return after
}

// lack tells the other nodes' keeper of shares that somebody waits for lim.
func (l *ledger) lack(lim *limit) {
	if l.shared != nil && lim.max > 0 {
		l.shared.short()
	}
}

// strangers are the backends of a node that are neither ours nor another pgvip's. The
// caller holds mu.
func (l *ledger) strangers(addr string, backends, ours int) int {
	if l.shared != nil {
		ours += l.shared.elsewhere[addr]
	}
	return max(0, backends-ours)
}
