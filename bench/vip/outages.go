package vip

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
)

// Bounds without etcd: rule 40's proof of death.
const (
	released = silent
	proven   = 4 * time.Second // the longest promise, silence, three unanswered probes
	expired  = 7 * time.Second // the same after the kernel has removed the address
)

// outages are those of the whole etcd, alone and with another fault: 14.
func outages() []Scenario {
	return []Scenario{
		{
			Number: 14, Case: "etcd-frozen", Fault: etcd((*lab.Process).Freeze), Hold: 8 * time.Second, Undo: etcd((*lab.Process).Thaw),
			Limits: limits{gap: planned},
		},
		{
			Number: 14, Case: "etcd-killed", Fault: etcd((*lab.Process).Kill), Hold: 8 * time.Second, Undo: startEtcd,
			Limits: limits{gap: planned},
		},
		{
			Number: 14, Case: "etcd-frozen-kill-main", Prepare: etcdOut, Fault: kill(mainPart), Hold: time.Second, Undo: etcd((*lab.Process).Thaw),
			Limits: limits{takeover: released, orphan: guarded, breaks: 1}, Check: oneOwner,
		},
		{
			Number: 14, Case: "etcd-frozen-power-off", Prepare: etcdOut, Fault: powerOff, Hold: time.Second, Undo: etcd((*lab.Process).Thaw),
			Limits: limits{takeover: proven, tickle: tickled, breaks: 1},
		},
		{
			Number: 14, Case: "etcd-frozen-kill-both", Prepare: etcdOut, Fault: kill(mainPart, keeperPart), Hold: time.Second, Undo: etcd((*lab.Process).Thaw),
			Limits: limits{takeover: expired, orphan: expiry, breaks: -1}, Check: hasNothing,
		},
		// Who is cut off then cannot tell a dead peer from a lost path. With "arp" both
		// would have the address, with "never" nobody takes it over before etcd is back.
		{
			Number: 14, Case: "etcd-frozen-peers-cut", Settings: settings{"vip.etcd_down_takeover": "never"},
			Prepare: etcdOut, Fault: cut(peersCut), Hold: 4 * time.Second, Undo: mendAll,
			Limits: limits{takeover: 4*time.Second + silent, stays: true, breaks: -1}, Check: oneOwner,
		},
	}
}

// outage is how long etcd has been out of reach when the second fault comes.
const outage = 3 * time.Second

// etcd does the same to all members.
func etcd(do func(*lab.Process) error) func(context.Context, *run) error {
	return func(_ context.Context, run *run) error {
		var errs []error
		for _, member := range run.lab.Etcd {
			errs = append(errs, do(member))
		}
		return errors.Join(errs...)
	}
}

func startEtcd(ctx context.Context, run *run) error { return run.healEtcd(ctx) }

// etcdOut freezes etcd and waits until everybody knows.
func etcdOut(ctx context.Context, run *run) error {
	run.later(func() {
		for _, member := range run.lab.Etcd {
			_ = member.Signal(syscall.SIGCONT) // heal says so when one does not come back
		}
	})
	if err := etcd((*lab.Process).Freeze)(ctx, run); err != nil {
		return err
	}
	return pause(ctx, outage)
}

func mendAll(ctx context.Context, run *run) error {
	return errors.Join(run.net.Mend(ctx), etcd((*lab.Process).Thaw)(ctx, run))
}
