package pool

import (
	"slices"
	"sync"
	"time"
)

// ledger counts the server connections of the whole process against the limits
// that pools share (rule 8). It is touched only when one opens or closes; how
// many a pool may have of its own is counted by the pool, which lives on one loop.
//
// A permit is one slot of each of three limits, from the narrowest to the
// widest: of the user, of the database, of the node. A claim takes them in this
// order and keeps what it has while it waits for the next, so that it is not
// overtaken for ever and no two claims wait for each other. A slot that comes
// free goes to the claim whose client has waited longest, whatever its pool.
//
// While somebody waits, the pools that have servers under that limit are asked
// to give up an idle one, the one that was idle for longest first.
type ledger struct {
	start time.Time // see at

	mu     sync.Mutex
	limits map[limitKey]*limit // guarded by mu
	rooms  map[string]room     // of nodes, by address; guarded by mu
	wishes []*claim            // first come, first served; guarded by mu
	shared *sharing            // with other nodes; nil without; guarded by mu
}

// calls are what the ledger has to tell pools once its lock is free.
type calls []func()

func (c calls) run() {
	for _, f := range c {
		f()
	}
}

func newLedger() *ledger {
	return &ledger{start: time.Now(), limits: make(map[limitKey]*limit), rooms: make(map[string]room)}
}

// at is a time as the ledger counts it: never 0.
func (l *ledger) at(t time.Time) int64 { return max(1, int64(t.Sub(l.start))) }

// open makes an account for a pool.
func (l *ledger) open(key Key, yield, spare func()) *account {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := &account{yield: yield, spare: spare, refs: 1}
	for kind, name := range [limitKinds]string{userLimit: key.User, databaseLimit: key.Database} {
		a.limits[kind] = l.limit(limitKey{limitKind(kind), key.Node.Addr, name})
	}
	return a
}

func (l *ledger) limit(key limitKey) *limit {
	lim := l.limits[key]
	if lim == nil {
		lim = &limit{key: key, members: make(map[*account]struct{})}
		if key.kind == nodeLimit {
			lim.max = l.rooms[key.addr].max()
		}
		l.measure(lim)
		l.limits[key] = lim
	}
	lim.accounts++
	return lim
}

// close ends an account. Permits and claims that it still has are counted until
// they are given back and withdrawn.
func (l *ledger) close(a *account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unref(a)
}

func (l *ledger) unref(a *account) {
	a.refs--
	if a.refs > 0 {
		return
	}
	for _, lim := range a.limits {
		lim.accounts--
		if lim.accounts == 0 {
			delete(l.limits, lim.key)
		}
	}
}

// bound sets the limits of a's user and database; 0 is none. Servers above a
// limit that was lowered stay.
func (l *ledger) bound(a *account, user, database int) {
	l.mu.Lock()
	var after calls
	a.limits[userLimit].max, a.limits[databaseLimit].max = user, database
	for _, lim := range a.limits {
		l.measure(lim)
		after = l.flow(lim, after)
	}
	after = l.grantWishes(after)
	l.mu.Unlock()
	after.run()
}

// take asks for the permit of c, for a client that came at since. It reports
// whether it was there; if not, c.granted will tell, unless withdraw comes first.
func (l *ledger) take(c *claim, since int64) bool {
	l.mu.Lock()
	c.since.Store(since)
	c.stage = 0
	c.account.refs++
	granted, after := l.advance(c, nil)
	l.mu.Unlock()
	after.run()
	return granted
}

// advance takes slot after slot for c until one is missing.
func (l *ledger) advance(c *claim, after calls) (bool, calls) {
	for ; c.stage < limitKinds; c.stage++ {
		lim := c.account.limits[c.stage]
		if !lim.room() {
			c.waiting = true
			lim.push(c)
			l.lack(lim)
			return false, l.press(lim, after)
		}
		lim.used++
	}
	c.waiting = false
	c.account.hold()
	return true, after
}

// hold notes a permit.
func (a *account) hold() {
	a.used++
	if a.used == 1 {
		for _, lim := range a.limits {
			lim.members[a] = struct{}{}
		}
	}
}

// transfer makes a permit of one account that of another with the same limits.
func (l *ledger) transfer(from, to *account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from.used--
	if from.used == 0 {
		for _, lim := range from.limits {
			delete(lim.members, from)
		}
	}
	to.refs++
	to.hold()
	l.unref(from)
}

// press asks for an idle server to be given up for the queue of lim.
func (l *ledger) press(lim *limit, after calls) calls {
	if len(lim.queue) <= lim.leaving {
		return after
	}
	if victim := lim.idlest(); victim != nil {
		after = append(after, victim.yield)
	}
	return after
}

// idlest is the account whose server has been idle for longest, nil without any.
func (l *limit) idlest() *account {
	var victim *account
	var since int64
	for a := range l.members {
		if idle := a.idleSince.Load(); idle > 0 && (victim == nil || idle < since) {
			victim, since = a, idle
		}
	}
	return victim
}

// nodeFull asks a pool to give up an idle server of a's node, because PostgreSQL
// takes no more connections.
func (l *ledger) nodeFull(a *account) {
	l.mu.Lock()
	victim := a.limits[nodeLimit].idlest()
	l.mu.Unlock()
	if victim != nil {
		victim.spare()
	}
}

// pressAgain asks the next pool, after a had no idle server to give up any more.
func (l *ledger) pressAgain(a *account) {
	l.mu.Lock()
	var after calls
	for _, lim := range a.limits {
		after = l.press(lim, after)
	}
	l.mu.Unlock()
	after.run()
}

// withdraw ends a claim that is still waiting. It returns false when the permit
// has been granted: it must be given back then.
func (l *ledger) withdraw(c *claim) bool {
	l.mu.Lock()
	if !c.waiting {
		l.mu.Unlock()
		return false
	}
	c.waiting = false
	c.account.limits[c.stage].remove(c)
	var after calls
	for _, lim := range c.account.limits[:c.stage] {
		lim.used--
		after = l.flow(lim, after)
	}
	after = l.grantWishes(after)
	l.unref(c.account)
	l.mu.Unlock()
	after.run()
	return true
}

// give returns a permit; yielded says that yields has asked for it.
func (l *ledger) give(a *account, yielded bool) {
	l.mu.Lock()
	var after calls
	a.used--
	for _, lim := range a.limits {
		lim.used--
		if yielded {
			lim.leaving--
		}
		if a.used == 0 {
			delete(lim.members, a)
		}
	}
	for _, lim := range a.limits {
		after = l.flow(lim, after)
	}
	after = l.grantWishes(after)
	l.unref(a)
	l.mu.Unlock()
	after.run()
}

// flow gives the free slots of lim to those who have waited longest for them.
func (l *ledger) flow(lim *limit, after calls) calls {
	for lim.room() && len(lim.queue) > 0 {
		c := lim.oldest()
		lim.remove(c)
		lim.used++
		c.stage++
		var granted bool
		if granted, after = l.advance(c, after); granted {
			after = append(after, c.granted)
		}
	}
	return after
}

// wish asks for a permit for which nobody waits. It is granted, now or later,
// only when there is room everywhere and nobody waits for it: it takes nothing
// away from anyone, so that warm servers and waiting clients do not take each
// other's slots in turns.
func (l *ledger) wish(c *claim) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c.account.refs++
	if l.grantable(c) {
		l.holdAll(c)
		return true
	}
	c.waiting = true
	l.wishes = append(l.wishes, c)
	return false
}

// unwish ends a wish that is still open, as withdraw ends a claim.
func (l *ledger) unwish(c *claim) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !c.waiting {
		return false
	}
	c.waiting = false
	l.wishes = slices.DeleteFunc(l.wishes, func(w *claim) bool { return w == c })
	l.unref(c.account)
	return true
}

// grantable reports room under all limits: who waits for one would have it.
func (l *ledger) grantable(c *claim) bool {
	for _, lim := range c.account.limits {
		if !lim.room() {
			return false
		}
	}
	return true
}

func (l *ledger) holdAll(c *claim) {
	for _, lim := range c.account.limits {
		lim.used++
	}
	c.waiting = false
	c.account.hold()
}

func (l *ledger) grantWishes(after calls) calls {
	left := l.wishes[:0]
	for _, c := range l.wishes {
		if !l.grantable(c) {
			left = append(left, c)
			continue
		}
		l.holdAll(c)
		after = append(after, c.granted)
	}
	clear(l.wishes[len(left):])
	l.wishes = left
	return after
}

// unfair is how much longer than twice the own time others must have waited for
// a server to go to them: a login for each transaction would serve nobody.
const unfair = int64(100 * time.Millisecond)

// yields decides whether a server that a pool could lend is to be closed for a
// client of another one, and notes it if so: give must follow with yielded. own
// is when the pool's own oldest waiter came, 0 without one.
func (l *ledger) yields(a *account, own, now int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lim := range a.limits {
		if len(lim.queue) <= lim.leaving {
			continue
		}
		if own == 0 || now-lim.oldest().since.Load() > 2*(now-own)+unfair {
			for _, lim := range a.limits {
				lim.leaving++
			}
			return true
		}
	}
	return false
}

// obstacle says for a client what c waits for.
func (l *ledger) obstacle(c *claim) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lim, use := c.account.limits[min(c.stage, nodeLimit)], "in use"
	if l.shared != nil {
		use = "in use, here and on the other pgvip nodes"
	}
	switch lim.key.kind {
	case userLimit:
		return "All servers that user \"" + lim.key.name + "\" may have are " + use + "; see max_user_connections."
	case databaseLimit:
		return "All servers that database \"" + lim.key.name + "\" may have are " + use + "; see max_db_connections."
	default:
		return "All servers that the node may have are " + use + "; see servers.*.maxconn and the server's max_connections."
	}
}
