package failover

import (
	"context"
	"errors"
	"syscall"
	"time"
)

// balancerKilled takes etcd away, and then one of two pgvips. Clients have both in
// their connection strings and go on with the other: it knows where the primary
// is from before.
func balancerKilled(ctx context.Context, r *Rig, s *Scenario) ([]*Result, error) {
	first, err := r.newPgvip(ctx, "first", Transaction, spareHost, nil)
	if err != nil {
		return nil, err
	}
	second, err := r.newPgvip(ctx, "second", Transaction, spareHost+1, nil)
	if err != nil {
		return nil, errors.Join(err, end(first.process))
	}
	defer second.process.Close()
	if err := errors.Join(r.awaitServing(ctx, first), r.awaitServing(ctx, second)); err != nil {
		return nil, err
	}
	both := &front{mode: Transaction, log: second.log, process: second.process}
	both.name, both.primary, both.replicas = "both", first.primary+","+second.primary, first.replicas+","+second.replicas

	s.Writes, s.Reads, s.Slack = goneOver, goneOver, 500*time.Millisecond
	s.Fault = func(ctx context.Context, run *run) error {
		for _, member := range run.lab.Etcd {
			if err := member.Kill(); err != nil {
				return err
			}
		}
		// Long enough for pgvip to be blind.
		if err := pause(ctx, 12*time.Second); err != nil {
			return err
		}
		if err := syscall.Kill(first.process.PID(), syscall.SIGKILL); err != nil {
			return err
		}
		run.down = time.Now()
		return pause(ctx, 5*time.Second)
	}
	return r.alone(ctx, s, both)
}

// alone runs a scenario with one front in place of the usual ones.
func (r *Rig) alone(ctx context.Context, s *Scenario, f *front) ([]*Result, error) {
	others := r.fronts
	defer func() { r.fronts = others }()
	r.fronts = []*front{f}
	one, err := r.newRun(ctx, s)
	if err != nil {
		return nil, err
	}
	err = one.happen(ctx)
	f.stop()
	if err != nil {
		return nil, err
	}
	if err := r.heal(ctx, nil); err != nil {
		return nil, err
	}
	result, err := one.judge(ctx, f)
	return []*Result{result}, err
}
