package failover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgvip/pgvip/bench/proc"
	"github.com/pgvip/pgvip/internal/lab"
)

// Modes of the fronts, as in the result lines.
const (
	Session     = "session"
	Transaction = "transaction"
	HAProxy     = "haproxy"
)

// poolSizes are smaller than the number of clients where servers are shared, so
// that some of them wait, and larger where they are not.
func poolSizes() map[string]int { return map[string]int{Session: 40, Transaction: 8} }

// front is what clients connect to, and its clients.
type front struct {
	crew
	mode    string
	process *proc.Process
	log     string // path
	spawn   func(context.Context) (*proc.Process, error)
}

// rival reports whether the front is none of ours: it is not judged.
func (f *front) rival() bool { return f.mode == HAProxy }

// ownServers reports whether each client has a server of its own.
func (f *front) ownServers() bool { return f.mode != Transaction }

// pool is how many servers it may have for its clients.
func (f *front) pool() int { return poolSizes()[f.mode] }

// settings are keys of pgvip's configuration, "listen.primary" for one in a section.
type settings map[string]string

func (s settings) yaml() string {
	var top, sections strings.Builder
	last := ""
	for _, key := range slices.Sorted(maps.Keys(s)) {
		section, name, nested := strings.Cut(key, ".")
		if !nested {
			fmt.Fprintf(&top, "%s: %s\n", key, s[key])
			continue
		}
		if section != last {
			fmt.Fprintf(&sections, "%s:\n", section)
			last = section
		}
		fmt.Fprintf(&sections, "  %s: %s\n", name, s[key])
	}
	return top.String() + sections.String()
}

// pgvipSettings are those of a pgvip on a host of the rig's lab.
func (r *Rig) pgvipSettings(mode, host string) settings {
	return settings{
		"scope": r.lab.Scope, "namespace": r.lab.Namespace,
		"auth_file":         filepath.Join(r.dir, "userlist.txt"),
		"etcd.hosts":        "[" + strings.Join(r.etcdHosts(), ", ") + "]",
		"probe.user":        lab.ProbeUser,
		"probe.password":    lab.ProbePassword,
		"listen.primary":    host + ":5000",
		"listen.replicas":   host + ":5001",
		"listen.admin":      host + ":7000",
		"pool_mode":         mode,
		"default_pool_size": fmt.Sprint(poolSizes()[mode]),
		"drain_timeout":     "1s",
		// Longer than any scenario goes without a primary: what is asked is whether
		// clients that wait are served, and not when they are sent away.
		"failover_wait_timeout": "180s",
		"replica_max_lag":       maxLag.String(),
		"tcp_user_timeout":      userTimeout.String(),
		"log_connections":       "false",
		"log_disconnections":    "false",
		"log_stats":             "false",
		"log.format":            "json",
	}
}

// newPgvip makes a front of pgvip on the lab's n-th spare address and starts it.
func (r *Rig) newPgvip(ctx context.Context, name, mode string, n int, change settings) (*front, error) {
	host := r.lab.Host(n)
	s := r.pgvipSettings(mode, host)
	maps.Copy(s, change)
	f := &front{mode: mode, log: filepath.Join(r.dir, name+".log")}
	f.name, f.primary, f.replicas = name, host+":5000", host+":5001"
	f.spawn = func(ctx context.Context) (*proc.Process, error) {
		path := filepath.Join(r.dir, name+".yaml")
		if err := os.WriteFile(path, []byte(s.yaml()), 0o600); err != nil {
			return nil, fmt.Errorf("configuration of %s: %w", name, err)
		}
		return r.launcher.Start(ctx, proc.Spec{
			Name: name, Dir: r.dir, Args: []string{r.binary, "run", "-c", path}, Ready: f.listens,
		})
	}
	return f, f.start(ctx)
}

// start runs the front's process.
func (f *front) start(ctx context.Context) (err error) {
	f.process, err = f.spawn(ctx)
	return err
}

// alive reports whether the front's process runs.
func (f *front) alive() bool {
	return f.process != nil && syscall.Kill(f.process.PID(), 0) == nil
}

// listens returns nil when the front accepts connections.
func (f *front) listens(ctx context.Context) error {
	conn, err := f.dial(ctx, f.primary)
	if err != nil && classOf(err) == classRefused {
		return err
	}
	if conn != nil {
		conn.Close(ctx)
	}
	return nil
}

func (f *front) dial(ctx context.Context, addr string) (*pgconn.PgConn, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return pgconn.Connect(ctx, appURL(addr))
}

// serves returns nil when both ports answer a statement.
func (f *front) serves(ctx context.Context) error {
	for _, addr := range []string{f.primary, f.replicas} {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		conn, err := pgconn.Connect(ctx, appURL(addr))
		if err == nil {
			_, err = conn.Exec(ctx, "SELECT 1").ReadAll()
			conn.Close(ctx)
		}
		if err != nil {
			return fmt.Errorf("%s: %s: %w", f.name, addr, err)
		}
	}
	return nil
}

// entry is a line of pgvip's log.
type entry struct {
	Time   time.Time
	Level  string `json:"level"`
	Msg    string `json:"msg"`
	Server string `json:"server"`
	Reason string `json:"reason"`
	Error  string `json:"error"`
	Epoch  uint64 `json:"epoch"`
	Took   string `json:"took"`
}

// entries are the lines of pgvip's log from a moment on. It has milliseconds.
func (f *front) entries(since time.Time) ([]entry, error) {
	text, err := os.ReadFile(f.log)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	since = since.Truncate(time.Millisecond)
	var all []entry
	for line := range strings.Lines(string(text)) {
		var e struct {
			entry
			Clock string `json:"time"`
		}
		if json.Unmarshal([]byte(line), &e) != nil {
			continue
		}
		if e.Time, err = time.Parse("2006-01-02T15:04:05.000Z0700", e.Clock); err == nil && !e.Time.Before(since) {
			all = append(all, e.entry)
		}
	}
	return all, nil
}

// said gives the first line of pgvip's log since a moment that fits.
func (f *front) said(since time.Time, fits func(entry) bool) (entry, bool) {
	all, err := f.entries(since)
	if err != nil {
		return entry{}, false
	}
	for _, e := range all {
		if fits(e) {
			return e, true
		}
	}
	return entry{}, false
}

// alarmed reports whether pgvip raised an alarm whose reason has one of the words.
func (f *front) alarmed(since time.Time, words ...string) bool {
	_, ok := f.said(since, func(e entry) bool {
		return e.Msg == "alarm" && (len(words) == 0 || slices.ContainsFunc(words, func(w string) bool {
			return strings.Contains(strings.ToLower(e.Reason), strings.ToLower(w))
		}))
	})
	return ok
}
