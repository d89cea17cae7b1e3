package proxy

import (
	"time"

	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/wire"
)

// The time-outs of a session have no timers of their own. A session notes when
// its present state began, which is all that a query costs; its shard has one
// timer for the first of all deadlines, and looks at everybody when that fires.

// expiry is what happens to a session at a deadline.
type expiry uint8

const (
	nothing            expiry = iota
	waitNotice                // query_wait_notify: nothing but words
	clientIdle                // client_idle_timeout
	queryTooLong              // query_timeout
	transactionTooLong        // transaction_timeout
	transactionIdle           // idle_transaction_timeout
	writeLook                 // client_write_timeout: time to look whether the client has taken anything
)

// clock is what the deadlines of a session depend on.
type clock struct {
	phase    phase
	running  bool      // bound: the server has something to do
	inside   bool      // bound: in a transaction or batch, which the client is to go on with
	settled  bool      // inside: everything was answered
	since    time.Time // when this state, or for a running query the request, began
	began    time.Time // the transaction
	notified bool      // that it waits
	clogged  bool      // replies are queued that the client does not take
	looked   time.Time // clogged: when we last looked whether it has
}

// deadline gives the first thing that is going to happen, if the session stays
// as it is. Waiting for a primary has a limit of its own (rule 26), and a client
// that has a server is not idle.
func (c *clock) deadline(r *Rules, notify time.Duration) (at time.Time, what expiry) {
	first := func(from time.Time, limit time.Duration, then expiry) {
		if limit <= 0 {
			return
		}
		if end := from.Add(limit); what == nothing || end.Before(at) {
			at, what = end, then
		}
	}
	if c.clogged && r.ClientWriteTimeout > 0 {
		first(c.looked, max(r.ClientWriteTimeout/writeLooks, 1), writeLook)
	}
	switch c.phase {
	case resting:
		first(c.since, r.ClientIdleTimeout, clientIdle)
	case queued, moving:
		first(c.since, r.QueryTimeout, queryTooLong)
		fallthrough
	case parked:
		if !c.notified {
			first(c.since, notify, waitNotice)
		}
	case bound:
		switch {
		case c.running:
			first(c.since, r.QueryTimeout, queryTooLong)
			first(c.began, r.TransactionTimeout, transactionTooLong)
		case c.inside:
			if c.settled {
				first(c.since, r.IdleTransactionTimeout, transactionIdle)
			}
			first(c.began, r.TransactionTimeout, transactionTooLong)
		}
	}
	return at, what
}

// clock is where the session stands.
func (s *session) clock() clock {
	c := clock{phase: s.phase, since: s.since, notified: s.notified, clogged: s.clogged, looked: s.looked}
	if s.phase != bound {
		return c
	}
	v := s.server
	request, xact, first := v.Times()
	c.began = xact
	c.running = v.Outstanding() || v.CopyIn()
	c.settled = v.Settled()
	c.inside = !c.settled || v.Status() != 'I'
	if !first {
		// The first request may have waited; in a pipeline, the others begin with
		// the answer to the one before.
		c.since = later(s.since, request)
	}
	return c
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// asks notes that a request has come for which there is no server yet.
func (s *session) asks() { s.since, s.notified = s.shard.loop.Now(), false }

// sends notes that the client goes on. In the middle of a batch of which all has
// been answered so far, that is a new query.
func (s *session) sends() {
	if s.server.InBatch() && !s.server.Outstanding() {
		s.since = s.shard.loop.Now()
	}
}

// rests notes that nothing is under way any more.
func (s *session) rests() {
	s.since = s.shard.loop.Now()
	s.watch()
}

// watch makes sure that the session's next deadline is noticed.
func (s *session) watch() {
	if !s.rules.timed() && (s.phase == bound || s.phase == resting) {
		return
	}
	c := s.clock()
	if at, what := c.deadline(s.rules, s.shard.notify); what != nothing {
		s.shard.expect(at)
	}
}

// expire does what the session's deadline says. It reports whether the session is
// to be looked at again.
func (s *session) expire(what expiry) bool {
	switch what {
	case waitNotice:
		s.notified = true
		s.conn.Write((&wire.Error{Severity: wire.SeverityNotice, Code: wire.CodeSuccess,
			Message: "waiting for a server connection", Hint: s.obstacle()}).Append(nil))
		return true
	case writeLook:
		return s.lookTaken()
	case clientIdle:
		s.timeOut("client_idle_timeout", wire.CodeIdleSession, "terminating connection due to idle-session timeout")
	case queryTooLong:
		s.timeOut("query_timeout", wire.CodeQueryCanceled, "canceling statement due to query timeout")
	case transactionTooLong:
		s.timeOut("transaction_timeout", wire.CodeTransactionTimeout, "terminating connection due to transaction timeout")
	case transactionIdle:
		s.timeOut("idle_transaction_timeout", wire.CodeIdleInTransaction, "terminating connection due to idle-in-transaction timeout")
	}
	return false
}

func (s *session) timeOut(setting, code, message string) {
	s.end(cause(setting), wire.Fatal(code, message, "The limit is "+setting+" of pgvip."))
}

// obstacle says what a session that has no server waits for.
func (s *session) obstacle() string {
	if s.waiter != nil {
		return s.waiter.Reason()
	}
	if s.phase == parked {
		return nowhere(s.proxy.table.Load(), s.role)
	}
	return ""
}

// scanCost is the time after which a shard may look at all its sessions again,
// for each of them: looking takes about a five-hundredth of it.
const scanCost = 10 * time.Microsecond

// clocks is the part of a shard that watches the time for its sessions.
type clocks struct {
	sessions []*session // at session.slot-1
	rules    map[audience]*Rules
	notify   time.Duration // query_wait_notify
	next     time.Time     // when timer fires
	timer    *loop.Timer
}

// audience is those for whom the same rules count.
type audience struct{ database, user string }

// mostRules bounds the cache: names are the clients' to choose.
const mostRules = 4096

// add takes in a session that is on this loop now.
func (sh *shard) add(s *session) {
	sh.sessions = append(sh.sessions, s)
	s.shard, s.slot = sh, len(sh.sessions)
	s.rules = sh.rulesOf(s)
}

// remove forgets a session, which ends or moves.
func (sh *shard) remove(s *session) {
	last := len(sh.sessions) - 1
	moved := sh.sessions[last]
	sh.sessions[s.slot-1] = moved
	moved.slot = s.slot
	sh.sessions[last] = nil
	sh.sessions = sh.sessions[:last]
	s.slot = 0
}

// rulesOf gives the rules of a session; those with the same names share them. For
// replication, whose one query never ends, there are none.
func (sh *shard) rulesOf(s *session) *Rules {
	n := audience{s.who.database, s.user}
	if s.replication != noReplication {
		n = audience{}
	}
	r := sh.rules[n]
	if r == nil {
		if len(sh.rules) >= mostRules || sh.rules == nil {
			sh.rules = make(map[audience]*Rules)
		}
		r = new(Rules)
		if n != (audience{}) {
			*r = sh.proxy.settings.Load().rules(n.database, n.user)
		}
		sh.rules[n] = r
	}
	return r
}

// follow makes new settings count for the sessions that are here.
func (sh *shard) follow() {
	sh.rules = nil
	sh.notify = sh.proxy.settings.Load().QueryWaitNotify
	for _, s := range sh.sessions {
		s.rules = sh.rulesOf(s)
	}
	sh.tick()
}

// expect makes the timer fire at a deadline, if not before.
func (sh *shard) expect(at time.Time) {
	if sh.clocks.timer.Pending() && !at.Before(sh.next) {
		return
	}
	sh.clocks.timer.Stop()
	sh.next = at
	sh.clocks.timer = sh.loop.After(at.Sub(sh.loop.Now()), sh.tick)
}

// tick looks for sessions whose deadlines have come, and for the next one.
func (sh *shard) tick() {
	now := sh.loop.Now()
	var next time.Time
	// From the end: one that goes leaves its place to the last, which was seen. Its
	// server goes to another, which may send, expect and even end meanwhile.
	for i := len(sh.sessions) - 1; i >= 0; i-- {
		if i >= len(sh.sessions) {
			continue
		}
		s := sh.sessions[i]
		c := s.clock()
		at, what := c.deadline(s.rules, sh.notify)
		if what != nothing && !at.After(now) {
			if !s.expire(what) {
				continue
			}
			c = s.clock()
			at, what = c.deadline(s.rules, sh.notify)
		}
		if what != nothing && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	if !next.IsZero() {
		pause := time.Duration(len(sh.sessions)) * scanCost
		sh.expect(later(next, now.Add(pause)))
	}
}
