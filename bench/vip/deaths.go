package vip

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"time"
)

// Bounds of what may be without an owner, or with two.
const (
	fast     = 300 * time.Millisecond  // the keeper lives and hands over in the name of the dead
	silent   = 800 * time.Millisecond  // nobody says anything: a time-out finds it
	replaced = 200 * time.Millisecond  // a frozen keeper, until the main process kills it
	expiry   = 3500 * time.Millisecond // the kernel's, when nobody is left to remove the address
	planned  = 50 * time.Millisecond
	readded  = 100 * time.Millisecond
	tickled  = 500 * time.Millisecond
	guarded  = 50 * time.Millisecond // the keeper's answer to the end of the main process
)

// deaths are those of processes and machines: 1 and 4.
func deaths() []Scenario {
	return []Scenario{
		{
			Number: 1, Case: "kill-main", Fault: kill(mainPart),
			Limits: limits{takeover: fast, orphan: guarded, tickle: tickled, breaks: 1},
		},
		{
			Number: 1, Case: "kill-main-ipv6", Fault: kill(mainPart),
			Settings: settings{"vip.addresses": `["` + VIP4.String() + `", "` + VIP6.String() + `"]`}, Prepare: watchIPv6,
			Limits: limits{takeover: fast, orphan: guarded, breaks: 1},
		},
		{
			Number: 1, Case: "kill-keeper", Fault: kill(keeperPart), Hold: 3 * time.Second,
			Limits: limits{takeover: silent, stays: true, breaks: 1}, Check: keeperReplaced,
		},
		{
			Number: 1, Case: "kill-both", Fault: kill(mainPart, keeperPart), Hold: 4 * time.Second,
			Limits: limits{takeover: silent, dual: expiry, orphan: expiry, breaks: -1}, Check: hasNothing,
		},
		{
			Number: 4, Case: "power-off", Fault: powerOff,
			Limits: limits{takeover: silent, tickle: tickled, breaks: 1},
		},
	}
}

// kill ends parts of the owner with SIGKILL.
func kill(parts ...part) func(context.Context, *run) error { return send(syscall.SIGKILL, parts...) }

// send sends a signal to parts of the owner; that moment is the fault's.
func send(sig syscall.Signal, parts ...part) func(context.Context, *run) error {
	return func(_ context.Context, run *run) (err error) {
		run.fault, err = run.owner.signal(sig, parts...)
		return err
	}
}

// powerOff ends the owner without a word.
func powerOff(_ context.Context, run *run) error {
	return run.net.Unplug(run.owner.Host)
}

// keeperReplaced wants a new keeper under the old main process, and, when the
// address stayed, that it is kept beyond the life that the old one gave it.
func keeperReplaced(_ context.Context, run *run, r *Result) {
	if run.owner.keeper() == 0 || !run.owner.alive() {
		r.fall("the keeper was not replaced")
	}
	if run.moved.IsZero() && !run.owner.has() {
		r.fall("the address was lost")
	}
	if run.office != nil && run.moved.IsZero() && slices.Max(run.office.breaks) > 0 {
		r.fall("connections broke although the address stayed")
	}
}

// hasNothing wants the old owner without the address.
func hasNothing(_ context.Context, run *run, r *Result) {
	if run.owner.watch.Has() {
		r.fall("%s still has the address", run.owner.Name)
	}
}

// watchIPv6 puts an observer by neighbor solicitations in the place of that by ARP,
// for the length of the scenario.
func watchIPv6(ctx context.Context, run *run) error {
	eye, err := NewObserver(run.observer.host, VIP6)
	if err != nil {
		return err
	}
	before := run.observer
	run.later(func() {
		run.Rig.observer = before
		eye.Close()
	})
	run.Rig.observer = eye
	ctx, cancel := context.WithTimeout(ctx, moveTimeout)
	defer cancel()
	for run.Rig.owner() == nil {
		if pause(ctx, 20*time.Millisecond) != nil {
			return errors.New("nobody answers for the IPv6 address")
		}
	}
	return nil
}
