package vip

import (
	"context"
	"fmt"
	"time"
)

// isolation is the longest that an owner may keep the address whom nobody hears:
// its longest promise and what the process needs to act.
const isolation = 650 * time.Millisecond

// partitions are those of the networks: 5 to 9, and 35.
func partitions() []Scenario {
	still := limits{gap: planned, breaks: 0}
	return []Scenario{
		{
			Number: 5, Case: "link-down", Fault: linkDown, Hold: time.Second, Undo: linkUp,
			Limits: limits{takeover: fast, breaks: 1},
		},
		{Number: 6, Case: "peers-cut", Fault: cut(peersCut), Hold: 5 * time.Second, Undo: mend, Limits: still},
		{Number: 6, Case: "lan-path-cut", Fault: cut(lanPathCut), Hold: 3 * time.Second, Undo: mend, Limits: still},
		{
			Number: 7, Case: "active-isolated", Fault: cut(ownerIsolated), Hold: 2 * time.Second, Undo: mend,
			Limits: limits{takeover: time.Second, orphan: isolation, breaks: -1}, Check: inOrder,
		},
		{
			Number: 7, Case: "active-unplugged-from-bridges", Fault: blockOwner, Hold: 2 * time.Second, Undo: unblockOwner,
			Limits: limits{takeover: time.Second, orphan: isolation, breaks: -1}, Check: inOrder,
		},
		{Number: 8, Case: "standby-isolated", Fault: cut(standbyIsolated), Hold: 5 * time.Second, Undo: mend, Limits: still},
		{Number: 9, Case: "owner-to-standby-lost", Fault: cut(oneWay(false)), Hold: 5 * time.Second, Undo: mend, Limits: still},
		{Number: 9, Case: "standby-to-owner-lost", Fault: cut(oneWay(true)), Hold: 5 * time.Second, Undo: mend, Limits: still},
		{Number: 9, Case: "owner-loses-etcd", Fault: cut(func(run *run) []Cut { return NoEtcd(run.owner.Host) }), Hold: 5 * time.Second, Undo: mend, Limits: still},
		{Number: 9, Case: "standby-loses-etcd", Fault: cut(func(run *run) []Cut { return NoEtcd(run.standby.Host) }), Hold: 5 * time.Second, Undo: mend, Limits: still},
		{Number: 35, Case: "boot-lan-blocked", Special: bootBlocked(false)},
		{Number: 35, Case: "boot-all-blocked", Special: bootBlocked(true)},
	}
}

func linkDown(_ context.Context, run *run) error { return run.net.LinkDown(run.owner.Host) }

func linkUp(_ context.Context, run *run) error { return run.net.LinkUp(run.owner.Host) }

// cut drops packets; the fault begins right before the kernel is told.
func cut(which func(*run) []Cut) func(context.Context, *run) error {
	return func(ctx context.Context, run *run) error {
		run.fault = time.Now()
		return run.net.Cut(ctx, which(run)...)
	}
}

func mend(ctx context.Context, run *run) error { return run.net.Mend(ctx) }

func peersCut(run *run) []Cut {
	a, b := run.owner.Host, run.standby.Host
	return append(Both(lanBridge, a, b), Both(mgmtBridge, a, b)...)
}

func lanPathCut(run *run) []Cut { return Both(lanBridge, run.owner.Host, run.standby.Host) }

// ownerIsolated leaves the owner its clients, and nothing else.
func ownerIsolated(run *run) []Cut {
	return append(lanPathCut(run), run.net.Alone(mgmtBridge, run.owner.Host)...)
}

func standbyIsolated(run *run) []Cut {
	h := run.standby.Host
	return append(run.net.Alone(lanBridge, h), run.net.Alone(mgmtBridge, h)...)
}

// oneWay loses what one of the nodes sends to the other, on both networks.
func oneWay(back bool) func(*run) []Cut {
	return func(run *run) []Cut {
		a, b := run.owner.Host, run.standby.Host
		if back {
			a, b = b, a
		}
		return []Cut{{Bridge: lanBridge, From: a, To: b}, {Bridge: mgmtBridge, From: a, To: b}}
	}
}

// blockOwner takes the owner out of both bridges; its carrier stays.
func blockOwner(ctx context.Context, run *run) error {
	if err := run.net.Block(run.owner.Host); err != nil {
		return err
	}
	return run.net.Cut(ctx, run.net.Alone(mgmtBridge, run.owner.Host)...)
}

func unblockOwner(ctx context.Context, run *run) error {
	if err := run.net.Unblock(run.owner.Host); err != nil {
		return err
	}
	return run.net.Mend(ctx)
}

// inOrder wants the address to be gone from one node before it is on the other.
func inOrder(_ context.Context, run *run, r *Result) {
	gone := stayed(run.owner.watch.Spans(), run.fault, run.over)
	for _, s := range run.standby.watch.Spans() {
		if !s.from.After(run.fault) {
			continue
		}
		at := s.from.Sub(run.fault)
		r.more("dropped_ms", gone)
		r.more("added_ms", at)
		if at < gone {
			r.fall("added %d ms after the cut, before it was dropped at %d", at.Milliseconds(), gone.Milliseconds())
		}
		return
	}
}

const (
	// blockedFor stands for a switch port that comes up; it is shorter than
	// startup_delay.
	blockedFor = 6 * time.Second
	// oneAgain is how soon there has to be one owner after that: etcd is connected to anew.
	oneAgain = 5 * time.Second
)

// bootBlocked starts both nodes at the same time while their ports to the LAN, or to
// both networks, pass nothing.
func bootBlocked(all bool) func(context.Context, *Rig, *Scenario) (*Result, error) {
	return func(ctx context.Context, r *Rig, s *Scenario) (*Result, error) {
		if err := r.heal(ctx, nil); err != nil {
			return nil, err
		}
		var cuts []Cut
		for _, n := range r.nodes {
			n.stop()
			cuts = append(cuts, r.net.Alone(lanBridge, n.Host)...)
			if all {
				cuts = append(cuts, r.net.Alone(mgmtBridge, n.Host)...)
			}
		}
		if err := r.net.Cut(ctx, cuts...); err != nil {
			return nil, err
		}
		began := time.Now()
		for _, n := range r.nodes {
			if err := n.launch(ctx); err != nil {
				return nil, err
			}
		}
		if err := pause(ctx, blockedFor); err != nil {
			return nil, err
		}
		mended := time.Now()
		if err := r.net.Mend(ctx); err != nil {
			return nil, err
		}
		return r.judgeBoot(ctx, s, began, mended, all)
	}
}

func (r *Rig) judgeBoot(ctx context.Context, s *Scenario, began, mended time.Time, all bool) (*Result, error) {
	result := &Result{Scenario: s.Number, Case: s.Case}
	for _, n := range r.nodes {
		if early, ok := added(n.watch.Spans(), began); ok && early.Before(mended) {
			result.more("early_"+n.Name+"_ms", early.Sub(began))
			if all {
				result.fall("%s took the address before anybody had answered", n.Name)
			}
		}
	}
	for r.owner() == nil && time.Since(mended) < healTimeout/4 {
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return nil, err
		}
	}
	result.Takeover = time.Since(mended)
	result.bound("one owner after", result.Takeover, oneAgain)
	if err := pause(ctx, settle); err != nil {
		return nil, err
	}
	seen := r.observer.Seen(began).only(r.nodes[0].MAC.String(), r.nodes[1].MAC.String())
	result.Dual = seen.dual()
	result.bound("two owners for", result.Dual, 0)
	both := overlap([][]span{r.nodes[0].watch.Spans(), r.nodes[1].watch.Spans()}, began, time.Now())
	result.more("both_ms", both)
	result.bound("on both interfaces for", both, clockSlack)
	if r.owner() == nil {
		result.fall("not exactly one owner at the end: %s", fmt.Sprint(r.nodes[0].watch.Has(), r.nodes[1].watch.Has()))
	}
	return result, nil
}
