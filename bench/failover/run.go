package failover

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
)

const (
	warmUp = 2 * time.Second
	// settle is how long clients work on after all is well again.
	settle = 1500 * time.Millisecond

	healTimeout   = 2 * time.Minute
	rewindTimeout = 20 * time.Second
	syncTimeout   = 8 * time.Second
	faultTimeout  = 4 * time.Minute
	// resumeTimeout is how long a front may take after the database itself.
	resumeTimeout = 30 * time.Second
)

// Run runs one scenario and gives a line for each front. An error means that it
// could not be run; the cluster may be in any state then.
func (r *Rig) Run(ctx context.Context, s Scenario) ([]*Result, error) {
	r.say("scenario %d: %s", s.Number, s.Name)
	if err := r.heal(ctx, s.DCS); err != nil {
		return nil, fmt.Errorf("scenario %d: before: %w", s.Number, err)
	}
	if s.Special != nil {
		results, err := s.Special(ctx, r, &s)
		if err != nil {
			return results, fmt.Errorf("scenario %d: %w", s.Number, err)
		}
		return results, nil
	}
	run, err := r.newRun(ctx, &s)
	if err != nil {
		return nil, fmt.Errorf("scenario %d: %w", s.Number, err)
	}
	err = run.happen(ctx)
	for _, f := range r.fronts {
		f.stop()
	}
	if err != nil {
		return nil, fmt.Errorf("scenario %d: %w", s.Number, err)
	}
	// What is stored is compared on a whole cluster: the last word is the leader's.
	if err := r.heal(ctx, nil); err != nil {
		return nil, fmt.Errorf("scenario %d: after: %w", s.Number, err)
	}
	var results []*Result
	for _, f := range r.fronts {
		result, err := run.judge(ctx, f)
		if err != nil {
			return results, fmt.Errorf("scenario %d: %w", s.Number, err)
		}
		results = append(results, result)
	}
	return results, nil
}

func (r *Rig) newRun(ctx context.Context, s *Scenario) (*run, error) {
	leader, err := r.lab.Leader(ctx)
	if err != nil {
		return nil, err
	}
	run := &run{Rig: r, scenario: s, leader: leader}
	for _, n := range r.lab.Nodes {
		if n != leader {
			run.replicas = append(run.replicas, n)
		}
	}
	return run, nil
}

// happen lets the clients work, does the fault, and waits until all of them
// write again.
func (run *run) happen(ctx context.Context) error {
	run.prober.forget()
	run.watcher.forget()
	run.began = time.Now()
	for _, f := range run.fronts {
		f.crew.start()
	}
	if err := pause(ctx, warmUp); err != nil {
		return err
	}
	run.fault = time.Now()
	ctx, cancel := context.WithTimeout(ctx, faultTimeout)
	defer cancel()
	if err := run.scenario.Fault(ctx, run); err != nil {
		return fmt.Errorf("fault: %w", err)
	}
	run.resume(ctx)
	if err := pause(ctx, settle); err != nil {
		return err
	}
	run.over = time.Now()
	return nil
}

// resume waits until each front's clients write again. A front that does not let
// them is found by its outage, which then lasts to the end.
func (run *run) resume(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, resumeTimeout)
	defer cancel()
	now := time.Now()
	for _, f := range run.fronts {
		for !f.acks.after(now) {
			if pause(ctx, 10*time.Millisecond) != nil {
				run.say("%s: writes did not resume", f.name)
				break
			}
		}
	}
}

// note adds a figure to the lines of all fronts.
func (run *run) note(key string, value any) {
	run.notes = append(run.notes, fmt.Sprintf("%s=%v", key, value))
}

// fall makes all fronts of pgvip fall short.
func (run *run) fall(format string, args ...any) {
	run.falls = append(run.falls, fmt.Sprintf(format, args...))
}

// heal brings the cluster into the state in which each scenario begins: all
// nodes and members run, one leads, the others stream, one of them
// synchronously; and the fronts serve.
func (r *Rig) heal(ctx context.Context, dcs map[string]any) error {
	ctx, cancel := context.WithTimeout(ctx, healTimeout)
	defer cancel()
	if err := r.startParts(ctx); err != nil {
		return err
	}
	config := map[string]any{
		"synchronous_mode": true, "failsafe_mode": nil, "pause": nil, "standby_cluster": nil,
		"primary_start_timeout": nil, "master_start_timeout": nil,
	}
	for key, value := range dcs {
		config[key] = value
	}
	if err := r.lab.Configure(ctx, config); err != nil {
		return err
	}
	if err := r.whole(ctx); err != nil {
		return err
	}
	began, again := time.Now(), false
	for {
		leader, err := r.lab.Leader(ctx)
		if err == nil && config["synchronous_mode"] == true {
			if time.Since(began) > syncTimeout && !again {
				again = true
				if err := r.synchroniseAgain(ctx); err != nil {
					return err
				}
			}
			err = r.synchronous(ctx, leader)
		}
		if err == nil {
			err = r.serving(ctx)
		}
		if err == nil {
			return nil
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("heal: %w", err)
		}
	}
}

// whole waits until all replicas stream. One that was ahead of the new primary
// when the old one died never will; it gets a new copy.
func (r *Rig) whole(ctx context.Context) error {
	first, cancel := context.WithTimeout(ctx, rewindTimeout)
	defer cancel()
	err := r.lab.WaitReady(first)
	if err == nil || ctx.Err() != nil {
		return err
	}
	leader, err := r.lab.WaitLeader(ctx)
	if err != nil {
		return err
	}
	streaming, err := leader.Postgres.SQL(ctx, "postgres", "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'")
	if err != nil {
		return err
	}
	for _, n := range r.lab.Nodes {
		if n != leader && !strings.Contains(streaming, n.Name) {
			r.say("%s does not find its way back: copy it anew", n.Name)
			if err := n.Reinitialize(ctx); err != nil {
				return err
			}
		}
	}
	return r.lab.WaitReady(ctx)
}

// startParts starts what does not run and thaws what is frozen.
func (r *Rig) startParts(ctx context.Context) error {
	if err := r.lab.ReleasePromotion(); err != nil {
		return err
	}
	if err := r.startEtcd(ctx); err != nil {
		return err
	}
	for _, l := range r.links {
		if err := l.Restore(); err != nil {
			return err
		}
	}
	for _, n := range r.lab.Nodes {
		if err := r.startNode(ctx, n); err != nil {
			return err
		}
	}
	for _, f := range r.fronts {
		if f.alive() {
			continue
		}
		r.say("%s has ended: start it again", f.name)
		if err := f.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// startEtcd starts all members at once: none is ready before the others are.
func (r *Rig) startEtcd(ctx context.Context) error {
	errs := make([]error, len(r.lab.Etcd))
	var group sync.WaitGroup
	for i, member := range r.lab.Etcd {
		if member.Running() {
			member.Thaw()
		}
		group.Go(func() { errs[i] = member.Start(ctx) })
	}
	group.Wait()
	return errors.Join(errs...)
}

func (r *Rig) startNode(ctx context.Context, n *lab.Node) error {
	if err := n.RestoreEtcd(); err != nil {
		return err
	}
	if n.Postgres.Running() {
		n.Postgres.Thaw()
	}
	if n.Patroni.Running() {
		n.Patroni.Thaw()
	}
	return n.Start(ctx)
}

// serving returns nil when all fronts do.
func (r *Rig) serving(ctx context.Context) error {
	for _, f := range r.fronts {
		if err := f.serves(ctx); err != nil {
			return err
		}
	}
	return nil
}

// synchroniseAgain has Patroni choose the synchronous standbys anew: version 3.0
// forgets to tell PostgreSQL about them when it is restarted beside a running one.
func (r *Rig) synchroniseAgain(ctx context.Context) error {
	for _, on := range []bool{false, true} {
		if err := r.lab.Configure(ctx, map[string]any{"synchronous_mode": on}); err != nil {
			return err
		}
		if err := pause(ctx, 3*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// synchronous returns nil when all replicas have what is acknowledged, and Patroni
// would hand the leadership to any of them.
func (r *Rig) synchronous(ctx context.Context, leader *lab.Node) error {
	n, err := leader.Postgres.SQL(ctx, "postgres",
		"SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum') AND state = 'streaming'")
	if err != nil {
		return err
	}
	want := len(r.lab.Nodes) - 1
	if n != strconv.Itoa(want) {
		return fmt.Errorf("%s has %s synchronous standbys", leader.Name, n)
	}
	if known, err := leader.SyncStandbys(ctx); err != nil || known != want {
		return errors.Join(fmt.Errorf("%s: Patroni knows of %d synchronous standbys", leader.Name, known), err)
	}
	return nil
}

// stored counts how many times each number of a front's scenario is in the
// database.
func (r *Rig) stored(ctx context.Context, f *front) (map[int64]int, error) {
	leader, err := r.lab.WaitLeader(ctx)
	if err != nil {
		return nil, err
	}
	first, _ := f.ledger.span()
	rows, err := leader.Postgres.SQL(ctx, lab.AppDatabase, fmt.Sprintf(
		"SELECT id, count(*) FROM failover_ledger WHERE front = '%s' AND id >= %d GROUP BY id", f.name, first))
	if err != nil {
		return nil, err
	}
	stored := map[int64]int{}
	for line := range strings.Lines(rows) {
		id, times, _ := strings.Cut(strings.TrimSpace(line), "|")
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("ledger: %w", err)
		}
		if stored[n], err = strconv.Atoi(times); err != nil {
			return nil, fmt.Errorf("ledger: %w", err)
		}
	}
	return stored, nil
}
