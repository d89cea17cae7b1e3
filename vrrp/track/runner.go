package track

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Change tells that a script's state is another one now.
type Change struct {
	Script  string
	State   State
	Why     string // of Bad: "exit status 1", "killed after 1s", ...
	Verdict Verdict
}

// Runner runs scripts, each by itself, and keeps the verdict. Run may be called once.
type Runner struct {
	// Immutable.
	scripts []Script
	changed func(Change)
	results chan result // of the scripts' goroutines, for Run; never closed

	// Owned by Run.
	judges []Judge

	verdict atomic.Pointer[Verdict]
}

// result is one run of one script.
type result struct {
	script int
	err    error // nil for success
}

// NewRunner makes a Runner. changed, which may be nil, is called from one goroutine
// and must not block for long: scripts that end meanwhile wait for it.
func NewRunner(scripts []Script, changed func(Change)) (*Runner, error) {
	if err := validate(scripts); err != nil {
		return nil, err
	}
	r := &Runner{scripts: slices.Clone(scripts), changed: changed, results: make(chan result)}
	for _, s := range scripts {
		r.judges = append(r.judges, NewJudge(s))
	}
	v := Sum(r.judges)
	r.verdict.Store(&v)
	return r, nil
}

func validate(scripts []Script) error {
	var faults []error
	for _, s := range scripts {
		switch {
		case len(s.Command) == 0:
			faults = append(faults, fmt.Errorf("track_script %s: has no program", s.Name))
		case s.Interval <= 0 || s.Timeout <= 0:
			faults = append(faults, fmt.Errorf("track_script %s: interval and timeout must be above 0", s.Name))
		}
	}
	return errors.Join(faults...)
}

// Verdict is what the scripts say now; for any goroutine.
func (r *Runner) Verdict() Verdict { return *r.verdict.Load() }

// Run runs the scripts until ctx ends, and returns when none runs any more.
func (r *Runner) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for i := range r.scripts {
		running.Go(func() { r.repeat(ctx, i) })
	}
	for {
		select {
		case <-ctx.Done():
			return
		case res := <-r.results:
			r.judge(res)
		}
	}
}

func (r *Runner) judge(res result) {
	j := &r.judges[res.script]
	if !j.Result(res.err == nil) {
		return
	}
	v := Sum(r.judges)
	r.verdict.Store(&v)
	if r.changed == nil {
		return
	}
	c := Change{Script: r.scripts[res.script].Name, State: j.State(), Verdict: v}
	if res.err != nil {
		c.Why = res.err.Error()
	}
	r.changed(c)
}

// repeat runs one script at each interval, and no two runs of it at once: one that
// takes longer delays the next.
func (r *Runner) repeat(ctx context.Context, script int) {
	tick := time.NewTicker(r.scripts[script].Interval)
	defer tick.Stop()
	for {
		res := result{script, execute(ctx, r.scripts[script])}
		select {
		case <-ctx.Done():
			return
		case r.results <- res:
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
