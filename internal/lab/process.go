package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// processPace is the pace of waiting for what announces itself to nobody: a
// file, an answer, the end of a process that is not our child.
const processPace = 20 * time.Millisecond

// stopTimeout is how long a signalled process may take to stop or to end: it
// does so at once, but for one that waits for the disk.
const stopTimeout = 10 * time.Second

// errNotRunning says that there is no process to act on.
var errNotRunning = errors.New("not running")

// Process is one part of a lab, with the processes it has forked: an etcd
// member, a Patroni, a PostgreSQL. Its methods may be called by any goroutine.
type Process struct {
	// Name is the part's name in messages: "etcd1", "patroni2", "postgres2".
	Name string

	// Immutable after the constructor.
	logPath string
	command func() *exec.Cmd            // nil when another part starts it, as Patroni does PostgreSQL
	find    func() int                  // its process id, when it is not our child
	ready   func(context.Context) error // nil when it works

	// Guarded by mu.
	mu    sync.Mutex
	child *exec.Cmd
	gone  chan struct{} // closed when child has been waited for
}

// PID is the process id of the part's first process, 0 when it does not run.
func (p *Process) PID() int {
	if p.find != nil {
		return p.find()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child == nil {
		return 0
	}
	select {
	case <-p.gone:
		return 0
	default:
		return p.child.Process.Pid
	}
}

// Running reports whether the part runs; a frozen one does.
func (p *Process) Running() bool { return p.PID() != 0 }

// Kill ends the part and all that it has forked with SIGKILL, as a crash would,
// and returns when they are gone. A part that is not there is no error.
func (p *Process) Kill() error {
	pid := p.PID()
	if pid == 0 {
		return nil
	}
	all := tree(pid)
	if err := signalTree(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("%s: kill: %w", p.Name, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return p.waitGone(ctx, all)
}

// Freeze stops the part and all that it has forked (SIGSTOP), and returns when
// none of them runs: its sockets stay open, the kernel goes on acknowledging,
// and nobody answers.
func (p *Process) Freeze() error {
	pid := p.PID()
	if err := p.signalAll(syscall.SIGSTOP); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := poll(ctx, processPace, func(context.Context) error { return allStopped(pid) })
	if err != nil {
		return fmt.Errorf("%s: freeze: %w", p.Name, err)
	}
	return nil
}

// Thaw lets a frozen part go on.
func (p *Process) Thaw() error { return p.signalAll(syscall.SIGCONT) }

func (p *Process) signalAll(sig syscall.Signal) error {
	pid := p.PID()
	if pid == 0 {
		return fmt.Errorf("%s: %w", p.Name, errNotRunning)
	}
	if err := signalTree(pid, sig); err != nil {
		return fmt.Errorf("%s: %s: %w", p.Name, sig, err)
	}
	return nil
}

// Signal sends a signal to the part's first process alone: SIGTERM, SIGINT and
// SIGQUIT to PostgreSQL are its smart, fast and immediate shutdown.
func (p *Process) Signal(sig syscall.Signal) error {
	pid := p.PID()
	if pid == 0 {
		return fmt.Errorf("%s: %w", p.Name, errNotRunning)
	}
	if err := syscall.Kill(pid, sig); err != nil {
		return fmt.Errorf("%s: %s: %w", p.Name, sig, err)
	}
	return nil
}

// Wait waits until the part does not run.
func (p *Process) Wait(ctx context.Context) error {
	if pid := p.PID(); pid != 0 {
		return p.waitGone(ctx, []int{pid})
	}
	return nil
}

// waitGone waits for processes to end, and for the child among them to have
// been waited for, so that Running says so too.
func (p *Process) waitGone(ctx context.Context, pids []int) error {
	p.mu.Lock()
	gone := p.gone
	p.mu.Unlock()
	err := poll(ctx, processPace, func(context.Context) error {
		for _, pid := range pids {
			if living(pid) {
				return fmt.Errorf("process %d still runs", pid)
			}
		}
		return nil
	})
	if err == nil && gone != nil {
		select {
		case <-gone:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: wait for the end: %w", p.Name, err)
	}
	return nil
}

// Start starts a part that does not run and waits until it works. A part that
// belongs to another (a node's PostgreSQL, to Patroni) is only waited for.
func (p *Process) Start(ctx context.Context) error {
	if err := p.launch(); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	return p.WaitReady(ctx)
}

// Restart kills the part, starts it again and waits until it works.
func (p *Process) Restart(ctx context.Context) error {
	if err := p.Kill(); err != nil {
		return err
	}
	return p.Start(ctx)
}

// WaitReady waits until the part works. It ends early, with the tail of the
// part's log, when a part that we started has ended.
func (p *Process) WaitReady(ctx context.Context) error {
	err := poll(ctx, processPace, func(ctx context.Context) error {
		err := p.ready(ctx)
		if err != nil && p.command != nil && !p.Running() {
			return fatal{fmt.Errorf("ended: %w", err)}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", p.Name, err, p.Log(20))
	}
	return nil
}

func (p *Process) launch() error {
	if p.command == nil || p.Running() {
		return nil
	}
	log, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := p.command()
	// Files, not pipes: nobody has to copy, and the log is there after a crash.
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	gone := make(chan struct{})
	p.mu.Lock()
	p.child, p.gone = cmd, gone
	p.mu.Unlock()
	go reap(cmd, gone)
	return nil
}

// reap waits for a child, so that it leaves no zombie, and closes gone. It ends
// with the child, which the slot's release kills.
func reap(cmd *exec.Cmd, gone chan struct{}) {
	defer close(gone)
	cmd.Wait() // how it ended is in its log
}

// reaped waits until a killed child has been waited for.
func (p *Process) reaped() {
	p.mu.Lock()
	gone := p.gone
	p.mu.Unlock()
	if gone != nil {
		<-gone
	}
}

// Log returns the last lines of what the part has written.
func (p *Process) Log(lines int) string {
	text, err := os.ReadFile(p.logPath)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return filepath.Base(p.logPath) + ":\n\t" + strings.Join(all[max(0, len(all)-lines):], "\n\t")
}

// fatal marks an error that more waiting will not cure.
type fatal struct{ error }

// poll calls try, with a pause in between, until it returns nil or a fatal
// error, or ctx ends; then it returns try's last error.
func poll(ctx context.Context, pace time.Duration, try func(context.Context) error) error {
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if end, ok := errors.AsType[fatal](err); ok {
			return end.error
		}
		if ctxErr := pause(ctx, pace); ctxErr != nil {
			return fmt.Errorf("%w: %w", ctxErr, err)
		}
	}
}
