// Package proc starts programs for a benchmark and measures them from outside:
// CPU time in nanoseconds, memory, system calls. It asks the kernel, never the
// program, so that contenders of every kind are measured alike.
package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopTimeout is how long a program may take to end after SIGTERM.
const stopTimeout = 5 * time.Second

// Spec says what to start.
type Spec struct {
	Name string   // in messages and as the log's name
	Args []string // the program and its arguments
	Env  []string // added to our own
	Dir  string   // where the log is written
	// UID and GID are who runs it, for programs that refuse root; 0 is ourselves.
	UID, GID uint32
	// Ready is asked until it returns nil; the program may take until ctx ends.
	Ready func(context.Context) error
}

// Process is a started program. Close ends it.
type Process struct {
	name string
	log  string // path
	cmd  *exec.Cmd
	done chan struct{} // closed by wait when the program has ended
}

// Launcher starts programs so that they die with the benchmark, whatever ends
// it: the kernel kills them when the thread that forked them ends
// (PR_SET_PDEATHSIG), so one locked thread does all the forking. Close it last.
type Launcher struct {
	work  chan func() // closed by Close
	group sync.WaitGroup

	mu      sync.Mutex
	started []*Process // guarded by mu
}

// NewLauncher starts the forking thread.
func NewLauncher() *Launcher {
	l := &Launcher{work: make(chan func())}
	l.group.Go(l.run)
	return l
}

// run is the forking thread; it ends when Close closes work.
func (l *Launcher) run() {
	// Not unlocked at the end: programs were told to die with this thread, so it
	// is of no use to anybody else.
	runtime.LockOSThread()
	for f := range l.work {
		f()
	}
}

// Close kills what was not closed and ends the thread. That thread's end alone
// would not do: the program's first thread, where the goroutine may happen to
// run, goes on until the program ends.
func (l *Launcher) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.started {
		_ = p.cmd.Process.Kill() // most have ended already
		<-p.done
	}
	close(l.work)
	l.group.Wait()
}

// Start starts a program and waits until it is ready.
func (l *Launcher) Start(ctx context.Context, spec Spec) (*Process, error) {
	p := &Process{name: spec.Name, log: spec.Dir + "/" + spec.Name + ".log", done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	defer log.Close()
	p.cmd = exec.Command(spec.Args[0], spec.Args[1:]...)
	p.cmd.Env = append(os.Environ(), spec.Env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// A group of its own: Ctrl-C on the terminal is ours to handle.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if spec.UID != 0 {
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: spec.UID, Gid: spec.GID}
	}
	started := make(chan error)
	l.work <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	go p.wait()
	l.mu.Lock()
	l.started = append(l.started, p)
	l.mu.Unlock()
	if err := p.waitReady(ctx, spec.Ready); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w\n%s", p.name, err, p.Log(15)), p.Close())
	}
	return p, nil
}

// wait ends with the program; Close waits for it.
func (p *Process) wait() {
	defer close(p.done)
	_ = p.cmd.Wait() // how a program ended is in its log
}

// waitReady asks until the program is ready, has ended, or ctx has.
func (p *Process) waitReady(ctx context.Context, ready func(context.Context) error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", err)
		case <-tick.C:
		}
	}
}

// PID is the process id of the program.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log returns the last lines that the program has written.
func (p *Process) Log(lines int) string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// Close ends the program: SIGTERM, and SIGKILL when that is not enough.
func (p *Process) Close() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
	}
	err := p.cmd.Process.Kill()
	<-p.done
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	return nil
}
