package vip

import (
	"context"
	"syscall"
	"time"
)

// freezes are those of processes, 3, which a machine's pause is too.
func freezes() []Scenario {
	return []Scenario{
		{
			Number: 3, Case: "freeze-main", Fault: freeze(mainPart), Hold: 5 * time.Second, Undo: thaw(mainPart),
			Limits: limits{takeover: silent, orphan: silent, breaks: -1}, Check: servesNobody,
		},
		{
			Number: 3, Case: "freeze-keeper", Fault: freeze(keeperPart), Hold: 4 * time.Second,
			Limits: limits{takeover: silent, stays: true, dual: replaced, breaks: -1}, Check: keeperReplaced,
		},
		{
			Number: 3, Case: "freeze-keeper-kill-main", Fault: freezeKeeperKillMain, Hold: 5 * time.Second,
			Limits: limits{takeover: silent, dual: expiry, orphan: expiry, breaks: -1}, Check: hasNothing,
		},
		{
			Number: 3, Case: "freeze-both", Fault: freeze(mainPart, keeperPart), Hold: 5 * time.Second, Undo: thaw(mainPart, keeperPart),
			Limits: limits{takeover: silent, dual: expiry, orphan: expiry, breaks: -1}, Check: hasNothing,
		},
		{
			Number: 37, Case: "pause-300ms", Fault: blink(300 * time.Millisecond), Hold: time.Second,
			Limits: limits{takeover: silent, stays: true, breaks: -1}, Check: oneOwner,
		},
	}
}

func freeze(parts ...part) func(context.Context, *run) error { return send(syscall.SIGSTOP, parts...) }

// thaw lets them go on; one that was replaced meanwhile is gone.
func thaw(parts ...part) func(context.Context, *run) error {
	return func(_ context.Context, run *run) error {
		_, err := run.owner.signal(syscall.SIGCONT, parts...)
		return err
	}
}

func freezeKeeperKillMain(ctx context.Context, run *run) error {
	if err := send(syscall.SIGSTOP, keeperPart)(ctx, run); err != nil {
		return err
	}
	_, err := run.owner.signal(syscall.SIGKILL, mainPart)
	return err
}

// blink freezes both processes for a moment. On a busy machine that can last as long
// as a freeze, and is judged as one then.
func blink(d time.Duration) func(context.Context, *run) error {
	return func(ctx context.Context, run *run) error {
		if err := freeze(mainPart, keeperPart)(ctx, run); err != nil {
			return err
		}
		if err := pause(ctx, d); err != nil {
			return err
		}
		err := thaw(mainPart, keeperPart)(ctx, run)
		paused := time.Since(run.fault)
		run.note("paused_ms", paused)
		if paused > promised {
			run.scenario.Limits.dual = expiry
		}
		return err
	}
}

// promised is the shortest silence after which another node may have the address.
const promised = 500 * time.Millisecond

// servesNobody wants the thawed node without the address, and with a keeper.
func servesNobody(ctx context.Context, run *run, r *Result) {
	hasNothing(ctx, run, r)
	oneOwner(ctx, run, r)
}

// oneOwner wants exactly one node to have the address at the end.
func oneOwner(_ context.Context, run *run, r *Result) {
	if run.Rig.owner() == nil {
		r.fall("not exactly one node has the address: %s %t, %s %t", run.owner.Name, run.owner.watch.Has(), run.standby.Name, run.standby.watch.Has())
	}
}
