package failover

import (
	"context"
	"fmt"
	"time"
)

// judge makes the line of a front.
func (run *run) judge(ctx context.Context, f *front) (*Result, error) {
	s := run.scenario
	r := &Result{Scenario: s.Number, Name: s.Name, Mode: f.mode}
	floor := run.prober.floor(run.began, run.over, run.counts)
	r.Floor = floor.length()
	r.Outage = longestGap(f.acks.all(), run.began.Add(warmUp/2), run.over).length()

	stored, err := run.stored(ctx, f)
	if err != nil {
		return nil, err
	}
	r.Lost, r.Duplicated = f.ledger.compare(stored)

	seen := f.visits.take()
	r.More = append(r.More, run.notes...)
	run.judgeErrors(f, r)
	r.WrongNode += count(seen, func(v visit) bool { return v.kind == reader && v.recovery })
	run.judgeOutage(f, r)
	if r.Lost > 0 {
		r.fall("%d acknowledged writes are lost", r.Lost)
	}
	if r.Duplicated > 0 {
		r.fall("%d writes are there twice", r.Duplicated)
	}
	if s.Check != nil {
		f.visits.all = seen
		s.Check(run, f, r)
	}
	if r.WrongNode > 0 {
		r.fall("%d statements reached a wrong node", r.WrongNode)
	}
	if !f.rival() {
		r.Reasons = append(r.Reasons, run.falls...)
	}
	return r, nil
}

// judgeErrors holds what the clients got against what they may get.
func (run *run) judgeErrors(f *front, r *Result) {
	var writes, reads []failure
	apart := 0
	for _, one := range f.failures.take() {
		if one.class == codeReadOnly {
			r.WrongNode++
		}
		switch {
		case one.kind.reads():
			reads = append(reads, one)
		case run.scenario.Writes == announced && one.kind == long && one.class == codeAdminShutdown:
			apart++ // PostgreSQL's own word to those that did not end in time
			continue
		default:
			writes = append(writes, one)
		}
		r.Errors++
	}
	r.more("errors", classes(append(writes, reads...)))
	if run.scenario.Writes == announced {
		r.more("long_57P01", apart)
	}
	down := run.downAt()
	for _, reason := range []string{
		run.scenario.Writes.judge("5000", f, writes, down),
		run.scenario.Reads.judge("5001", f, reads, down),
	} {
		if reason != "" {
			r.fall("%s", reason)
		}
	}
}

// downAt is when the primary was down: what began later cannot have been in
// flight. Without such a moment it is the end of the load.
func (run *run) downAt() time.Time {
	if run.down.IsZero() {
		return run.over
	}
	return run.down
}

func (run *run) judgeOutage(f *front, r *Result) {
	limit := run.scenario.Slack
	if limit == 0 {
		limit = quietSlack
	}
	if run.scenario.Lead {
		run.judgeHold(f, r)
		if lead, ok := run.lead(f); ok {
			r.more("lead_ms", lead.Milliseconds())
			limit += lead
		} else if !f.rival() {
			r.more("lead_ms", "na")
		}
	}
	if r.Outage > r.Floor+limit {
		r.fall("outage is %v over the floor, at most %v is allowed", (r.Outage - r.Floor).Round(time.Millisecond), limit.Round(time.Millisecond))
	}
}

// holdLimit is how long after the failover key pgvip's hold may begin: what it takes
// more is taken from the lead, and from short transactions.
const holdLimit = 100 * time.Millisecond

// judgeHold holds the hold against the failover key, as a watch of our own saw it. A
// scheduled switchover has none of its own: its key is there long before it is due.
func (run *run) judgeHold(f *front, r *Result) {
	if f.rival() {
		return
	}
	key, ok := run.watcher.seen(run.fault, switchoverNow)
	if !ok {
		return
	}
	hold, ok := f.held(run.fault)
	if !ok {
		r.fall("no hold was announced")
		return
	}
	after := hold.Sub(key.at.Round(0))
	r.more("hold_ms", after.Milliseconds())
	if after > holdLimit {
		r.fall("the hold began %v after the failover key, at most %v is allowed", after.Round(time.Millisecond), holdLimit)
	}
}

// held is when pgvip began to hold, by the wall clock, which its log is on.
func (f *front) held(after time.Time) (time.Time, bool) {
	e, ok := f.said(after, func(e entry) bool { return e.Msg == "switchover announced" })
	return e.Time, ok
}

// lead is the time from pgvip's hold to the moment at which PostgreSQL closed
// its clients' connections.
func (run *run) lead(f *front) (time.Duration, bool) {
	closed, ok := run.prober.ended(run.leader.Name, run.fault)
	if !ok || f.rival() {
		return 0, false
	}
	hold, ok := f.held(run.fault)
	if !ok {
		return 0, false
	}
	return closed.Round(0).Sub(hold), true
}

// inFlightGrace is how long after the primary's death a statement may still be
// given to one of its connections: the kernel has to say that they are dead.
const inFlightGrace = 100 * time.Millisecond

// tolerance says which errors clients may get.
type tolerance int

const (
	// none: nobody notices.
	none tolerance = iota
	// announced: those whose server is their own (session mode) may be told once by
	// PostgreSQL that it stops, and so may the long transactions.
	announced
	// inFlight: what was in flight when the primary died, at most one for each
	// server; and once each whose server is their own.
	inFlight
	// frozen: as inFlight, but nobody can say when it was noticed.
	frozen
	// lostNode: a node of several ended; whoever used it may get one error.
	lostNode
	// goneOver: the front itself ended; each of its clients finds another.
	goneOver
	// anything: judged elsewhere.
	anything
)

// judge gives the reason why a front's errors are not as allowed, or nothing.
func (t tolerance) judge(port string, f *front, all []failure, down time.Time) string {
	if t == anything || len(all) == 0 {
		return ""
	}
	if t == none {
		return fmt.Sprintf("%d errors on %s (%s), e.g. %s", len(all), port, classes(all), example(all[0], down))
	}
	inFlight := 0
	told := map[time.Time]bool{} // connections whose client has got its one error
	for _, one := range all {
		bound := (f.ownServers() || t == goneOver) && !one.connected.IsZero() && one.connected.Before(down.Add(inFlightGrace)) && !told[one.connected]
		switch {
		case one.class == codeTooMany:
			return fmt.Sprintf("a client on %s got 53300: %s", port, one.text)
		case t == announced && !(bound && toldOfTheStop(one)):
			return fmt.Sprintf("an error on %s that was avoidable: %s", port, example(one, down))
		case bound:
			told[one.connected] = true
		case t == frozen || t == lostNode:
			inFlight++
		case one.connect || one.began.After(down.Add(inFlightGrace)):
			return fmt.Sprintf("an error on %s of a client that had only to wait: %s", port, example(one, down))
		default:
			inFlight++
		}
	}
	if limit := f.pool(); inFlight > limit {
		return fmt.Sprintf("%d statements in flight failed on %s, with %d servers", inFlight, port, limit)
	}
	return ""
}

// toldOfTheStop reports whether PostgreSQL itself ended the session. To one that
// waits for a synchronous standby it sends a warning only, and pgvip says then
// that the transaction may have been committed.
func toldOfTheStop(f failure) bool {
	return f.class == codeAdminShutdown || f.class == codeMaybeCommitted
}

func example(f failure, down time.Time) string {
	return fmt.Sprintf("%s, begun %v and ended %v after the primary was down: %s",
		f.kind, f.began.Sub(down).Round(time.Millisecond), f.ended.Sub(down).Round(time.Millisecond), f.text)
}
