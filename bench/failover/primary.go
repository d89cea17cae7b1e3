package failover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
)

// switchovers are the scenarios in which Patroni moves the primary on demand.
func switchovers() []Scenario {
	return []Scenario{
		{Number: 18, Name: "switchover", Fault: switchover, Writes: announced, Reads: lostNode, Lead: true, Slack: 100 * time.Millisecond},
		{Number: 19, Name: "scheduled-switchover", Fault: scheduledSwitchover, Writes: announced, Reads: lostNode, Lead: true, Slack: 100 * time.Millisecond},
		{Number: 24, Name: "slow-promotion", Fault: slowPromotion, Writes: announced, Reads: lostNode, Lead: true, Slack: 300 * time.Millisecond},
	}
}

// crashes are those in which it dies, or seems to.
func crashes() []Scenario {
	return []Scenario{
		{Number: 20, Name: "primary-host-crash", Fault: hostCrash, Writes: inFlight, Reads: lostNode, Slack: 300 * time.Millisecond},
		{Number: 21, Name: "postmaster-kill", Fault: postmasterKill, Writes: inFlight, Reads: none, Slack: 300 * time.Millisecond, Check: sameNode},
		{Number: 22, Name: "primary-frozen", Fault: primaryFrozen, Writes: frozen, Reads: none, Slack: 1500 * time.Millisecond},
		{Number: 23, Name: "orphan-primary", Fault: orphan, Writes: inFlight, Reads: lostNode, Slack: 300 * time.Millisecond, Check: orphanIsLeft},
		{Number: 25, Name: "old-primary-returns", Fault: oldPrimaryReturns, Writes: inFlight, Reads: lostNode, Slack: 300 * time.Millisecond, Check: avoided},
		{Number: 26, Name: "pause-key-expires", DCS: map[string]any{"pause": true}, Fault: pauseKeyExpires, Writes: none, Reads: none, Check: sameNode},
		{Number: 27, Name: "standby-cluster", Fault: standbyCluster, Writes: inFlight, Reads: lostNode, Slack: 500 * time.Millisecond},
	}
}

func switchover(ctx context.Context, run *run) error {
	if err := run.lab.Switchover(ctx, ""); err != nil {
		return err
	}
	return run.moved(ctx)
}

// moved waits until another node than the first leader takes writes, and notes
// when the first was down.
func (run *run) moved(ctx context.Context) error {
	if err := run.await(ctx, "a new primary", func() bool {
		for _, n := range run.replicas {
			if _, ok := run.prober.wrote(n.Name, run.fault); ok {
				return true
			}
		}
		return false
	}); err != nil {
		return err
	}
	if at, ok := run.prober.ended(run.leader.Name, run.fault); ok && run.down.IsZero() {
		run.down = at
	}
	return nil
}

// await waits until something holds.
func (run *run) await(ctx context.Context, what string, holds func() bool) error {
	for !holds() {
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
	}
	return nil
}

// scheduledSwitchover takes one back before it is due, and lets another happen.
func scheduledSwitchover(ctx context.Context, run *run) error {
	if err := run.lab.ScheduleSwitchover(ctx, time.Now().Add(30*time.Second)); err != nil {
		return err
	}
	if err := pause(ctx, 3*time.Second); err != nil {
		return err
	}
	if err := run.lab.CancelSwitchover(ctx); err != nil {
		return err
	}
	if err := pause(ctx, 3*time.Second); err != nil {
		return err
	}
	now := time.Now()
	if at, ok := run.prober.ended(run.leader.Name, run.fault); ok {
		return fmt.Errorf("%s stopped %v before anything was due", run.leader.Name, now.Sub(at))
	}
	for _, f := range run.fronts {
		if gap := longestGap(f.acks.all(), run.fault, now); gap.length() > quietSlack && !f.rival() {
			run.fall("%s: %v without a write for a switchover that was not due", f.name, gap.length().Round(time.Millisecond))
		}
	}
	if err := run.lab.ScheduleSwitchover(ctx, time.Now().Add(6*time.Second)); err != nil {
		return err
	}
	return run.moved(ctx)
}

// slowPromotion gives the key to a node that takes its time to promote.
func slowPromotion(ctx context.Context, run *run) error {
	if err := run.lab.HoldPromotion(); err != nil {
		return err
	}
	done := make(chan error, 1) // Patroni answers when it has happened
	go func() { done <- run.lab.Switchover(ctx, "") }()
	if _, err := run.watcher.await(ctx, "a new leader", run.fault, leaderIsNot(run.leader.Name)); err != nil {
		return err
	}
	err := pause(ctx, 12*time.Second)
	err = errors.Join(err, run.lab.ReleasePromotion())
	return errors.Join(err, <-done, run.moved(ctx))
}

func hostCrash(ctx context.Context, run *run) error {
	if err := run.leader.Crash(); err != nil {
		return err
	}
	run.down = time.Now()
	return run.moved(ctx)
}

// postmasterKill kills the primary alone; Patroni starts it again.
func postmasterKill(ctx context.Context, run *run) error {
	if err := run.leader.Postgres.Kill(); err != nil {
		return err
	}
	run.down = time.Now()
	return run.wrote(ctx, run.leader, run.down)
}

func (run *run) wrote(ctx context.Context, n *lab.Node, after time.Time) error {
	return run.await(ctx, n.Name+" to take writes", func() bool {
		_, ok := run.prober.wrote(n.Name, after)
		return ok
	})
}

// primaryFrozen stops the primary's processes, and lets them go on.
func primaryFrozen(ctx context.Context, run *run) error {
	if err := run.leader.Postgres.Freeze(); err != nil {
		return err
	}
	run.down = time.Now()
	if err := pause(ctx, 12*time.Second); err != nil {
		return err
	}
	for _, f := range run.fronts {
		if !f.rival() && !f.alarmed(run.fault, "does not answer") {
			run.fall("%s raised no alarm about a hung primary", f.name)
		}
	}
	if err := run.leader.Postgres.Thaw(); err != nil {
		return err
	}
	thawed := time.Now()
	return run.await(ctx, "a primary", func() bool {
		_, ok := run.prober.wrote("", thawed)
		return ok
	})
}

// orphan kills Patroni alone: the primary goes on taking writes, and when the
// lease has run out another one is made beside it.
func orphan(ctx context.Context, run *run) error {
	if err := run.logStatements(ctx, true); err != nil {
		return err
	}
	// From the key's end on only what the new primary takes counts.
	run.counts = func(node string, at time.Time) bool {
		e, gone := run.watcher.seen(run.fault, leaderGone)
		return node != run.leader.Name || !gone || at.Before(e.at)
	}
	if err := run.leader.Patroni.Kill(); err != nil {
		return err
	}
	if err := run.countSockets(ctx, run.leader); err != nil {
		return err
	}
	if err := run.moved(ctx); err != nil {
		return err
	}
	return errors.Join(pause(ctx, 2*time.Second), run.logStatements(ctx, false))
}

// oldPrimaryReturns starts a crashed primary, without Patroni, after another
// took over.
func oldPrimaryReturns(ctx context.Context, run *run) error {
	if err := hostCrash(ctx, run); err != nil {
		return err
	}
	if err := run.leader.Postgres.StartAlone(ctx); err != nil {
		return err
	}
	// Its writes would be a second history.
	run.counts = func(node string, at time.Time) bool { return node != run.leader.Name || at.Before(run.down) }
	since := time.Now()
	err := errors.Join(pause(ctx, 4*time.Second), run.leader.Postgres.Kill())
	run.shunned = append(run.shunned, shun{node: run.leader, since: since, until: time.Now()})
	return err
}

// pauseKeyExpires kills the leader's Patroni while the cluster is paused: the
// key goes, the primary stays.
func pauseKeyExpires(ctx context.Context, run *run) error {
	if err := run.leader.Patroni.Kill(); err != nil {
		return err
	}
	if _, err := run.watcher.await(ctx, "the end of the leader key", run.fault, leaderGone); err != nil {
		return err
	}
	if err := pause(ctx, 3*time.Second); err != nil {
		return err
	}
	if err := run.leader.Start(ctx); err != nil {
		return err
	}
	return run.awaitLeader(ctx, run.leader)
}

func (run *run) awaitLeader(ctx context.Context, n *lab.Node) error {
	for {
		leader, err := run.lab.WaitLeader(ctx)
		if err != nil || leader == n {
			return err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("wait for %s to lead: %w", n.Name, err)
		}
	}
}

// standbyCluster makes the cluster the standby of another, and promotes it.
func standbyCluster(ctx context.Context, run *run) error {
	upstream := map[string]any{"host": run.lab.Host(90), "port": 5432}
	if err := run.lab.Configure(ctx, map[string]any{"standby_cluster": upstream}); err != nil {
		return err
	}
	if err := run.await(ctx, "the primary to stop", func() bool {
		at, ok := run.prober.ended(run.leader.Name, run.fault)
		run.down = at
		return ok
	}); err != nil {
		return err
	}
	if err := pause(ctx, 8*time.Second); err != nil {
		return err
	}
	if err := run.lab.Configure(ctx, map[string]any{"standby_cluster": nil}); err != nil {
		return err
	}
	promoted := time.Now()
	return run.await(ctx, "a primary", func() bool {
		_, ok := run.prober.wrote("", promoted)
		return ok
	})
}

// sameNode: nobody took over.
func sameNode(run *run, f *front, r *Result) {
	for _, n := range run.replicas {
		if _, ok := run.prober.wrote(n.Name, run.fault); ok {
			r.fall("%s took over", n.Name)
		}
	}
}
