package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// promotionHook holds a promotion up while a file is there.
const promotionHook = `while [ -e "$(dirname "$0")/hold-promotion" ]; do sleep 0.05; done
`

func (c *Cluster) promotionScript() string { return filepath.Join(c.slot.dir, "pre_promote.sh") }

func (c *Cluster) holdFile() string { return filepath.Join(c.slot.dir, "hold-promotion") }

// prePromote is the command that Patroni runs before it promotes, empty for none.
func (c *Cluster) prePromote() string {
	if !c.opt.PromotionHook {
		return ""
	}
	return "/bin/sh " + c.promotionScript()
}

// HoldPromotion makes every promotion wait until ReleasePromotion: the new
// leader has the key and stays in recovery. It needs Options.PromotionHook.
func (c *Cluster) HoldPromotion() error { return c.slot.account.write(c.holdFile(), "") }

// ReleasePromotion undoes HoldPromotion.
func (c *Cluster) ReleasePromotion() error {
	if err := os.Remove(c.holdFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
}

// Crash ends Patroni and PostgreSQL at one moment (SIGKILL), as the loss of
// their machine would, and returns when they are gone.
func (n *Node) Crash() error {
	all := append(tree(n.Patroni.PID()), tree(n.Postgres.PID())...)
	for _, pid := range all {
		if pid > 0 {
			syscall.Kill(pid, syscall.SIGKILL) // one that has ended by itself is what we want
		}
	}
	return n.Kill() // whatever was forked in between, and the wait
}

// currentTags are Patroni's tags of the node.
func (n *Node) currentTags() map[string]any {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.tags)
}

// SetTags changes Patroni's tags of the node, as an edit of its configuration
// and a reload do. Patroni publishes them in its next loop.
func (n *Node) SetTags(ctx context.Context, tags map[string]any) error {
	n.mu.Lock()
	n.tags = maps.Clone(tags)
	n.mu.Unlock()
	if err := n.configure(); err != nil {
		return err
	}
	return n.ask(ctx, http.MethodPost, "/reload", "")
}

// Reinitialize makes Patroni throw a replica's data away and copy the leader's.
func (n *Node) Reinitialize(ctx context.Context) error {
	return n.ask(ctx, http.MethodPost, "/reinitialize", `{"force": true}`)
}

// ask is rest for requests that have to succeed.
func (n *Node) ask(ctx context.Context, method, path, body string) error {
	status, answer, err := n.rest(ctx, method, path, body)
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	if status >= http.StatusMultipleChoices {
		return fmt.Errorf("lab: %s: %s %s: %d %v", n.Name, method, path, status, answer["text"])
	}
	return nil
}

// ScheduleSwitchover makes Patroni hand the leadership over at a time.
func (c *Cluster) ScheduleSwitchover(ctx context.Context, at time.Time) error {
	leader, err := c.WaitLeader(ctx)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"leader": leader.Name, "scheduled_at": at.UTC().Format(time.RFC3339Nano)})
	if err != nil {
		return fmt.Errorf("lab: switchover: %w", err)
	}
	return leader.ask(ctx, http.MethodPost, "/switchover", string(body))
}

// CancelSwitchover takes a scheduled switchover back.
func (c *Cluster) CancelSwitchover(ctx context.Context) error {
	leader, err := c.WaitLeader(ctx)
	if err != nil {
		return err
	}
	return leader.ask(ctx, http.MethodDelete, "/switchover", "")
}

// StartAlone starts a node's PostgreSQL without its Patroni, in the role it had
// last: one that was killed as primary comes back as primary. It logs to a file of
// its own.
func (pg *Postgres) StartAlone(ctx context.Context) error {
	cmd := pg.slot.commandContext(ctx, filepath.Join(binDirs[pg.slot.version], "pg_ctl"),
		"start", "-w", "-s", "-D", pg.DataDir, "-l", filepath.Join(pg.slot.dir, pg.Name+"-alone.log"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: start alone: %w: %s", pg.Name, err, out)
	}
	return nil
}

// FreezeWALReceiver stops (SIGSTOP) what brings a replica its WAL: the server
// answers, its data stands still. The result lets it go on.
func (pg *Postgres) FreezeWALReceiver(ctx context.Context) (thaw func(), err error) {
	return pg.freeze(ctx, "walreceiver")
}

// FreezeReplay stops what applies a replica's WAL, which still comes. Patroni would
// undo pg_wal_replay_pause().
func (pg *Postgres) FreezeReplay(ctx context.Context) (thaw func(), err error) {
	return pg.freeze(ctx, "startup")
}

// freeze stops a process of the server by the type that pg_stat_activity gives.
func (pg *Postgres) freeze(ctx context.Context, backendType string) (thaw func(), err error) {
	text, err := pg.SQL(ctx, "postgres", "SELECT pid FROM pg_stat_activity WHERE backend_type = '"+backendType+"'")
	if err != nil {
		return nil, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("%s: has no process %s", pg.Name, backendType)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return nil, fmt.Errorf("%s: freeze %s: %w", pg.Name, backendType, err)
	}
	return func() { syscall.Kill(pid, syscall.SIGCONT) }, nil // it may be gone with its server
}

// LogPath is the file that the part writes its log to.
func (p *Process) LogPath() string { return p.logPath }
