package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/config"
	"github.com/pgvip/pgvip/vrrp/beat"
)

// maxDueHooks bounds those that wait for their turn: beyond, states that nobody has
// been told of yet are left out, the oldest first.
const maxDueHooks = 64

// hooks runs the programs of the vip section: notify_* in the order of the states,
// one after the other.
type hooks struct {
	log  *zap.Logger
	wake chan struct{} // one token: something is due; never closed
	idle chan struct{} // closed by run

	mu sync.Mutex
	// Guarded by mu.
	vip   *config.VIP
	scope string
	last  string // the state told last
	prio  int
	due   []hook
	ended bool // by stop: run ends when nothing is due
}

// hook is one program to run.
type hook struct {
	argv    []string
	timeout time.Duration
}

func newHooks(log *zap.Logger, c *config.Config) *hooks {
	h := &hooks{log: log, wake: make(chan struct{}, 1), idle: make(chan struct{})}
	h.apply(c)
	return h
}

// apply makes the programs of a configuration count from the next state on.
func (h *hooks) apply(c *config.Config) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.vip, h.scope = &c.VIP, c.Scope
}

// state has the programs run for a new state. keepalived's words are used, for its
// scripts.
func (h *hooks) state(s beat.State, priority int) {
	word := map[beat.State]string{beat.Active: "MASTER", beat.Backup: "BACKUP", beat.Fault: "FAULT"}[s]
	if word != "" {
		h.tell(word, priority)
	}
}

// tell puts the programs for a state in the queue, unless they were the last.
func (h *hooks) tell(word string, priority int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last == word || h.ended {
		return
	}
	h.last, h.prio = word, priority
	v := h.vip
	special := map[string]config.Command{
		"MASTER": v.NotifyMaster, "BACKUP": v.NotifyBackup, "FAULT": v.NotifyFault, "STOP": v.NotifyStop,
	}[word]
	if special != nil {
		h.due = append(h.due, hook{special, v.NotifyTimeout})
	}
	if v.Notify != nil {
		argv := slices.Concat(v.Notify, []string{"INSTANCE", h.scope, word, strconv.Itoa(priority)})
		h.due = append(h.due, hook{argv, v.NotifyTimeout})
	}
	if extra := len(h.due) - maxDueHooks; extra > 0 {
		h.log.Warn("virtual IP: notify programs take too long, some are left out", zap.Int("programs", extra))
		h.due = slices.Delete(h.due, 0, extra)
	}
	h.nudge()
}

func (h *hooks) nudge() {
	select {
	case h.wake <- struct{}{}:
	default: // the token that is there speaks for this one too
	}
}

// stop has notify_stop run and returns when nothing is due any more, or when the
// time of one program has passed.
func (h *hooks) stop() {
	h.mu.Lock()
	prio, limit := h.prio, h.vip.NotifyTimeout
	h.mu.Unlock()
	h.tell("STOP", prio)
	h.mu.Lock()
	h.ended = true
	h.mu.Unlock()
	h.nudge()
	select {
	case <-h.idle:
	case <-time.After(limit):
		h.log.Warn("virtual IP: notify programs take too long, what was left was not run")
	}
}

// run runs what is due until stop, or until ctx ends.
func (h *hooks) run(ctx context.Context) {
	defer close(h.idle)
	for {
		next, ended := h.next()
		switch {
		case next.argv != nil:
			h.exec(ctx, next)
			continue
		case ended:
			return
		}
		select {
		case <-h.wake:
		case <-ctx.Done():
			return
		}
	}
}

func (h *hooks) next() (next hook, ended bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.due) > 0 {
		next, h.due = h.due[0], h.due[1:]
	}
	return next, h.ended
}

// exec runs one program to its end, or to that of its time.
func (h *hooks) exec(ctx context.Context, p hook) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	began := time.Now()
	out, err := unprivileged(ctx, p.argv).CombinedOutput()
	fields := []zap.Field{zap.Strings("command", p.argv), zap.Duration("took", time.Since(began).Round(time.Millisecond))}
	switch {
	case ctx.Err() != nil:
		h.log.Warn("virtual IP: notify program was killed, its time was over", fields...)
	case err != nil:
		h.log.Warn("virtual IP: notify program failed", append(fields, zap.Error(err), zap.String("output", firstLine(out)))...)
	default:
		h.log.Debug("virtual IP: notify program has run", fields...)
	}
}

// firstLine is as much of a program's output as a log line can bear.
func firstLine(out []byte) string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n"))
	return string(line[:min(len(line), 200)])
}

// unprivileged is a command that runs without capabilities, in a process group of
// its own which is killed as a whole, and without this process's secrets.
func unprivileged(ctx context.Context, argv []string) *exec.Cmd {
	argv = withoutPrivileges(argv)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = plainEnvironment(os.Environ())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // a grandchild in another group may hold the pipe
	return cmd
}

// plainEnvironment leaves what programs of others have use for: the rest may hold
// secrets, which the keys ending in _env name.
func plainEnvironment(all []string) []string {
	keep := []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR"}
	return slices.DeleteFunc(slices.Clone(all), func(line string) bool {
		name, _, _ := strings.Cut(line, "=")
		return !slices.Contains(keep, name)
	})
}
