package vip

import (
	"context"
	"fmt"
	"time"
)

// Scenario is one thing that goes wrong, and what may become of the address.
type Scenario struct {
	Number int // of the list of failures in the design; some have several cases
	Case   string

	// Settings are changed on both nodes before.
	Settings settings
	// Prepare comes before the clients.
	Prepare func(context.Context, *run) error
	// Fault is what happens. It sets run.fault, when that is not the moment of its call.
	Fault func(context.Context, *run) error
	// Hold is how long the fault lasts at least after the address has moved, or in all
	// when it must not move.
	Hold time.Duration
	// Undo ends the fault; the address is watched for some time then.
	Undo func(context.Context, *run) error

	// Limits say what is ok.
	Limits limits
	// Check looks at more.
	Check func(context.Context, *run, *Result)

	// Special scenarios judge themselves.
	Special func(context.Context, *Rig, *Scenario) (*Result, error)
}

// limits are what a scenario may cost.
type limits struct {
	takeover time.Duration // 0: the address must not move
	stays    bool          // it need not move; when it does, takeover counts
	dual     time.Duration
	orphan   time.Duration // 0: not judged
	gap      time.Duration // without an answer to ARP; 0: not judged
	tickle   time.Duration // until blocked clients know; 0: none block
	breaks   int           // how many times a writer's connection may break; -1: not judged
}

// run is one scenario in progress.
type run struct {
	*Rig
	scenario *Scenario

	owner, standby *Node // when it began
	sleepers       *dormitory
	office         *office
	psql           *psql

	fault time.Time
	moved time.Time // when the other node first answered, zero when it never did
	over  time.Time

	cleanups []func()
	notes    []string
	falls    []string
}

// Scenarios are all that there are, in the order in which they run.
func Scenarios() []Scenario {
	var all []Scenario
	all = append(all, deaths()...)
	all = append(all, moves()...)
	all = append(all, freezes()...)
	all = append(all, partitions()...)
	all = append(all, outages()...)
	all = append(all, rivals()...)
	all = append(all, machines()...)
	return all
}

const (
	scenarioTimeout = 3 * time.Minute

	healTimeout = 60 * time.Second
	moveTimeout = 8 * time.Second
	findTimeout = time.Second
	// calm is how long nothing may happen before a fault: peers know each other then.
	calm = 2 * time.Second
	// settle is for how long the address is watched after the fault's end.
	settle = 1500 * time.Millisecond
	// sleeping is how many clients block.
	sleeping = 5
	// writing is how many clients write.
	writing = 3
)

// Run runs one scenario. An error means that it could not be run.
func (r *Rig) Run(ctx context.Context, s Scenario) (*Result, error) {
	r.say("scenario %d: %s", s.Number, s.Case)
	ctx, cancel := context.WithTimeout(ctx, scenarioTimeout+r.opt.Soak)
	defer cancel()
	if s.Special != nil {
		return s.Special(ctx, r, &s)
	}
	run := &run{Rig: r, scenario: &s}
	defer run.cleanUp()
	if err := run.happen(ctx); err != nil {
		return nil, fmt.Errorf("scenario %d %s: %w", s.Number, s.Case, err)
	}
	return run.judge(ctx)
}

func (run *run) cleanUp() {
	for i := len(run.cleanups) - 1; i >= 0; i-- {
		run.cleanups[i]()
	}
	run.cleanups = nil
}

// later has something undone when the scenario is over, however it ends.
func (run *run) later(f func()) { run.cleanups = append(run.cleanups, f) }

// happen heals the rig, lets clients in, does the fault and watches.
func (run *run) happen(ctx context.Context) error {
	s := run.scenario
	if err := run.heal(ctx, s.Settings); err != nil {
		return fmt.Errorf("before: %w", err)
	}
	if s.Prepare != nil {
		if err := s.Prepare(ctx, run); err != nil {
			return fmt.Errorf("prepare: %w", err)
		}
	}
	if err := run.find(ctx); err != nil {
		return err
	}
	if err := run.admit(ctx); err != nil {
		return fmt.Errorf("clients: %w", err)
	}
	run.fault = time.Now()
	if err := s.Fault(ctx, run); err != nil {
		return fmt.Errorf("fault: %w", err)
	}
	run.await(ctx)
	if err := pause(ctx, s.Hold); err != nil {
		return err
	}
	if s.Undo != nil {
		if err := s.Undo(ctx, run); err != nil {
			return fmt.Errorf("undo: %w", err)
		}
	}
	if err := pause(ctx, settle); err != nil {
		return err
	}
	run.over = time.Now()
	return nil
}

// find notes who owns the address now. On a busy machine the observer may have stood
// still for a moment.
func (run *run) find(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	for {
		for i, n := range run.nodes {
			if n.has() {
				run.owner, run.standby = n, run.nodes[1-i]
				return nil
			}
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("nobody has the address: %w\n%s\n%s", err, run.nodes[0].tail(), run.nodes[1].tail())
		}
	}
}

// admit lets the clients in that the scenario asks for.
func (run *run) admit(ctx context.Context) (err error) {
	l := run.scenario.Limits
	if l.tickle > 0 {
		if run.sleepers, err = newDormitory(ctx, run.client, appURL(), sleeping); err != nil {
			return err
		}
		run.later(run.sleepers.close)
	}
	if l.breaks >= 0 {
		run.office = newOffice(run.client, appURL(), writing, run.written+1)
		run.later(func() {
			run.office.close()
			run.written = run.office.next
		})
	}
	return pause(ctx, calm)
}

// await waits until the other node serves clients, when it has to.
func (run *run) await(ctx context.Context) {
	if run.scenario.Limits.takeover == 0 || run.scenario.Limits.stays {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, moveTimeout)
	defer cancel()
	for {
		if at, ok := run.moveSeen(); ok && len(run.visitor.Served(at)) > 0 {
			return
		}
		if pause(ctx, 5*time.Millisecond) != nil {
			return
		}
	}
}

// moveSeen is when the standby answered first.
func (run *run) moveSeen() (time.Time, bool) {
	return run.observer.Seen(run.fault).first(run.standby.MAC.String())
}

// note adds a figure to the line.
func (run *run) note(key string, value any) {
	r := Result{}
	r.more(key, value)
	run.notes = append(run.notes, r.More...)
}

// fall makes the scenario fall short.
func (run *run) fall(format string, args ...any) {
	run.falls = append(run.falls, fmt.Sprintf(format, args...))
}
