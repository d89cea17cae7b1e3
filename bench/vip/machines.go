package vip

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/pgvip/pgvip/bench/proc"
)

// machines are about nodes that are busy, badly connected or badly configured: 36, 37,
// 41, 42 and 43.
func machines() []Scenario {
	return []Scenario{
		{Number: 36, Case: "wall-clock-by-code", Special: wallClock},
		{Number: 37, Case: "cpu-load", Prepare: burn, Fault: nothing, Hold: loadFor, Limits: limits{breaks: 0}},
		{Number: 41, Case: "bad-network", Fault: degrade, Limits: limits{breaks: -1}, Check: oneOwner},
		{
			Number: 42, Case: "wrong-reload", Fault: wrongReload, Hold: 2 * time.Second, Undo: rightReload,
			Limits: limits{gap: planned}, Check: errorTold,
		},
		{Number: 42, Case: "port-busy", Special: portBusy},
		{
			Number: 43, Case: "fd-limit", Fault: fewDescriptors, Hold: 4 * time.Second, Undo: manyDescriptors,
			Limits: limits{takeover: silent, stays: true, breaks: 1}, Check: oneOwner,
		},
	}
}

// wallClock has the code looked at: the clock of this machine is not ours to set, and
// no namespace has one of its own. Boot clocks differ by days in all scenarios.
func wallClock(ctx context.Context, _ *Rig, s *Scenario) (*Result, error) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		goTool = "/usr/local/go/bin/go" // where the Makefile finds it, too
	}
	r := &Result{Scenario: s.Number, Case: s.Case}
	out, err := exec.CommandContext(ctx, goTool, "test", "-count=1", "-run", "^TestNoDeadlineByTheWallClock$", "github.com/pgvip/pgvip").CombinedOutput()
	if err != nil {
		r.fall("%v: %s", err, strings.TrimSpace(string(out)))
	}
	r.more("test", "TestNoDeadlineByTheWallClock")
	return r, nil
}

const loadFor = 20 * time.Second

func nothing(context.Context, *run) error { return nil }

// burn loads every CPU twice over, until the scenario's end.
func burn(ctx context.Context, run *run) error {
	for i := range 2 * runtime.NumCPU() {
		p, err := run.launcher.Start(ctx, proc.Spec{
			Name: fmt.Sprintf("burner-%d", i), Dir: run.dir, Args: []string{"sh", "-c", "while :; do :; done"},
			Ready: func(context.Context) error { return nil },
		})
		if err != nil {
			return err
		}
		run.later(func() { p.Close() })
	}
	return nil
}

// badFor is how long the network is bad, unless a soak is asked for.
const badFor = 30 * time.Second

// degrade loses, delays and reorders the owner's packets, in both directions on both
// networks. The kernel has no netem here, so it is done by a relay of frames.
func degrade(ctx context.Context, run *run) error {
	for _, bridge := range []string{lanBridge, mgmtBridge} {
		w, err := run.net.Degrade(ctx, bridge, run.owner.Host, badLine)
		if err != nil {
			return err
		}
		run.later(w.restore)
	}
	long := badFor
	if run.opt.Soak > 0 {
		long = run.opt.Soak
	}
	run.note("soak_s", int(long.Seconds()))
	return pause(ctx, long)
}

// badLine is 5 % loss, and 50 ms of delay with so much jitter that packets overtake
// one another.
var badLine = quality{loss: 0.05, delay: 50 * time.Millisecond, jitter: 10 * time.Millisecond}

func wrongReload(ctx context.Context, run *run) error {
	bad := run.owner.settings()
	bad["vip.priority"] = "1000"
	if err := os.WriteFile(run.owner.conf(), []byte(bad.yaml()), 0o600); err != nil {
		return err
	}
	return send(syscall.SIGHUP, mainPart)(ctx, run)
}

func rightReload(_ context.Context, run *run) error {
	if err := run.owner.configure(run.scenario.Settings); err != nil {
		return err
	}
	_, err := run.owner.signal(syscall.SIGHUP, mainPart)
	return err
}

func errorTold(_ context.Context, run *run, r *Result) {
	if len(run.owner.said("vip.priority")) == 0 {
		r.fall("%s said nothing of vip.priority", run.owner.Name)
	}
}

// portBusy starts one node alone whose port somebody else has: without listeners it must not
// take the address.
func portBusy(ctx context.Context, r *Rig, s *Scenario) (*Result, error) {
	if err := r.heal(ctx, nil); err != nil {
		return nil, err
	}
	for _, n := range r.nodes {
		n.stop()
	}
	n := r.nodes[0]
	squatter, err := n.Listen(ctx, "tcp", "0.0.0.0:5000")
	if err != nil {
		return nil, err
	}
	defer squatter.Close()
	began := time.Now()
	result := &Result{Scenario: s.Number, Case: s.Case}
	if err := n.launch(ctx); err != nil {
		return nil, err
	}
	if err := pause(ctx, 4*time.Second); err != nil {
		return nil, err
	}
	if at, ok := added(n.watch.Spans(), began); ok {
		result.fall("%s took the address after %d ms, with no listener", n.Name, at.Sub(began).Milliseconds())
	}
	if len(n.said("address already in use")) == 0 {
		result.fall("%s said nothing of the port: %s", n.Name, n.tail())
	}
	result.more("ended", !n.alive())
	n.stop()
	return result, nil
}

// fewDescriptors leaves the owner's main process hardly a descriptor more than it has,
// while clients come.
func fewDescriptors(ctx context.Context, run *run) error {
	pid := run.owner.process.PID()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return err
	}
	run.note("descriptors", len(open))
	return prlimit(ctx, pid, len(open)+2)
}

func manyDescriptors(ctx context.Context, run *run) error {
	if !run.owner.alive() {
		return errors.New(run.owner.Name + " has ended")
	}
	return prlimit(ctx, run.owner.process.PID(), 4096)
}

func prlimit(ctx context.Context, pid, limit int) error {
	out, err := exec.CommandContext(ctx, "prlimit", fmt.Sprintf("--pid=%d", pid), fmt.Sprintf("--nofile=%d:", limit)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("prlimit: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
