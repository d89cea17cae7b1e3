package vip

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// judge holds what was seen against the scenario's limits.
func (run *run) judge(ctx context.Context) (*Result, error) {
	s := run.scenario
	r := &Result{Scenario: s.Number, Case: s.Case}
	seen := run.observer.Seen(run.fault).only(run.owner.MAC.String(), run.standby.MAC.String())
	r.Dual = seen.dual()
	run.moved, _ = run.moveSeen()
	run.judgeMove(r, seen)
	r.bound("two owners for", r.Dual, s.Limits.dual)
	run.judgeAddresses(r)
	if s.Limits.tickle > 0 {
		run.judgeSleepers(r)
	}
	if s.Limits.breaks >= 0 {
		if err := run.judgeWriters(ctx, r); err != nil {
			return nil, err
		}
	}
	if s.Check != nil {
		s.Check(ctx, run, r)
	}
	r.More = append(r.More, run.notes...)
	r.Reasons = append(r.Reasons, run.falls...)
	if !r.OK() {
		run.say("%s\n--- %s\n%s\n--- %s\n%s", r, run.owner.Name, run.owner.tail(), run.standby.Name, run.standby.tail())
	}
	return r, nil
}

// judgeMove looks at whether the address moved, and how fast.
func (run *run) judgeMove(r *Result, seen sightings) {
	l := run.scenario.Limits
	gap := seen.gap()
	switch {
	case run.moved.IsZero() && l.takeover > 0 && !l.stays:
		r.fall("the address did not move")
	case !run.moved.IsZero() && l.takeover == 0:
		r.fall("the address moved")
	}
	if !run.moved.IsZero() {
		r.more("arp_ms", run.moved.Sub(run.fault))
		r.Takeover = run.over.Sub(run.fault)
		if served := run.visitor.Served(run.moved); len(served) > 0 {
			r.Takeover = slices.MinFunc(served, time.Time.Compare).Sub(run.fault)
		}
		r.bound("takeover", r.Takeover, max(l.takeover, 0))
	}
	r.more("gap_ms", gap)
	if l.gap > 0 {
		r.bound("nobody answered for", gap, l.gap)
	}
	if stall := seen.stall(); stall > 5*probePace {
		r.more("stall_ms", stall)
	}
	r.more("client_ms", longestGap(run.visitor.Served(run.fault), run.fault, run.over))
}

// judgeAddresses looks at the nodes' interfaces.
func (run *run) judgeAddresses(r *Result) {
	l := run.scenario.Limits
	old, other := run.owner.watch.Spans(), run.standby.watch.Spans()
	if !run.moved.IsZero() {
		r.Orphan = stayed(old, run.fault, run.over)
	}
	if l.orphan > 0 {
		r.bound("the address stayed for", r.Orphan, l.orphan)
	}
	both := overlap([][]span{old, other}, run.fault, run.over)
	r.more("both_ms", both)
	r.bound("on both interfaces for", both, l.dual+clockSlack)
}

// clockSlack is how late a netlink event of one namespace may be read after that of
// another one, on a busy machine.
const clockSlack = 10 * time.Millisecond

// judgeSleepers looks at clients that waited for an answer.
func (run *run) judgeSleepers(r *Result) {
	last, asleep := run.sleepers.woken()
	tickle := max(0, last.Sub(run.moved))
	if asleep > 0 {
		r.fall("%d of %d clients still block", asleep, len(run.sleepers.all))
		tickle = run.over.Sub(run.moved)
	}
	r.more("tickle_ms", tickle)
	r.bound("blocked clients knew after", tickle, run.scenario.Limits.tickle)
}

// judgeWriters looks at clients that wrote all the time.
func (run *run) judgeWriters(ctx context.Context, r *Result) error {
	leader, err := run.leader(ctx)
	if err != nil {
		return err
	}
	lost, err := run.office.audit(ctx, leader)
	if err != nil {
		return err
	}
	most := slices.Max(run.office.breaks)
	r.more("writes", len(run.office.acked))
	r.more("lost", lost)
	r.more("breaks", most)
	r.more("classes", classes(run.office.classes))
	r.more("write_gap_ms", longestGap(run.office.times, run.fault, run.over))
	if lost > 0 {
		r.fall("%d acknowledged writes are lost", lost)
	}
	if limit := run.scenario.Limits.breaks; most > limit {
		r.fall("a client had to connect anew %d times, at most %d", most, limit)
	}
	if times := run.office.times; len(times) == 0 || run.over.Sub(times[len(times)-1]) > time.Second {
		r.fall("writes did not go on")
	}
	return nil
}

// classes lists errors by their class: "57P01:3,lost:1".
func classes(count map[string]int) string {
	var all []string
	for _, class := range slices.Sorted(maps.Keys(count)) {
		all = append(all, fmt.Sprintf("%s:%d", class, count[class]))
	}
	if all == nil {
		return "none"
	}
	return strings.Join(all, ",")
}
