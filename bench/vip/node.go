package vip

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgvip/pgvip/bench/proc"
	"github.com/pgvip/pgvip/internal/lab"
)

// clusterKey is the peers' common key: 32 bytes that guard nothing.
const clusterKey = "cGd2aXAtbGFiLWtleS1ub3QtYS1zZWNyZXQtMDEyMzQ="

// Node is a pgvip on a host.
type Node struct {
	*Host
	rig     *Rig
	watch   *Watch
	process *proc.Process // nil while there is none
	starts  int
	started time.Time // the last time
	change  string    // of the settings that it was started with
}

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

// heartbeat are a host's ends of the two paths.
func heartbeat(h *Host) string { return fmt.Sprintf("[\"%s:7947\", \"%s:7947\"]", h.LAN, h.Mgmt) }

// settings are the node's.
func (n *Node) settings() settings {
	r := n.rig
	var peers []string
	for _, p := range r.nodes {
		if p != n {
			peers = append(peers, fmt.Sprintf("%s: {address: %q, heartbeat: %s}", p.Name, p.LAN.String()+":7946", heartbeat(p.Host)))
		}
	}
	return settings{
		"scope": r.lab.Scope, "namespace": r.lab.Namespace,
		"auth_file":             filepath.Join(r.dir, "userlist.txt"),
		"etcd.hosts":            "[" + strings.Join(r.lab.EtcdEndpoints(), ", ") + "]",
		"probe.user":            lab.ProbeUser,
		"probe.password":        lab.ProbePassword,
		"listen.primary":        `"*:5000"`,
		"listen.replicas":       `"*:5001"`,
		"listen.admin":          `"*:7000"`,
		"admin.token":           "token-of-the-lab",
		"pool_mode":             "transaction",
		"drain_timeout":         "3s",
		"log_connections":       "false",
		"log_disconnections":    "false",
		"log_stats":             "false",
		"log.format":            "json",
		"failover_wait_timeout": "180s",
		"vip.interface":         lanIface,
		"vip.addresses":         `["` + VIP4.String() + `"]`,
		"vip.priority":          strconv.Itoa(120 - n.N),
		"cluster.name":          n.Name,
		"cluster.address":       fmt.Sprintf("%q", n.LAN.String()+":7946"),
		"cluster.heartbeat":     heartbeat(n.Host),
		"cluster.keys_file":     filepath.Join(r.dir, "cluster.keys"),
		"cluster.peers":         "{" + strings.Join(peers, ", ") + "}",
	}
}

func (n *Node) conf() string { return filepath.Join(n.rig.dir, n.Name+".yaml") }

// runtime is a folder of the node's own that outlives its processes.
func (n *Node) runtime() string { return filepath.Join(n.rig.dir, "run-"+n.Name) }

// configure writes the node's file, with changes of a scenario.
func (n *Node) configure(change settings) error {
	s := n.settings()
	maps.Copy(s, change)
	if err := os.WriteFile(n.conf(), []byte(s.yaml()), 0o600); err != nil {
		return fmt.Errorf("configuration of %s: %w", n.Name, err)
	}
	return nil
}

// launch starts pgvip and does not wait until it serves.
func (n *Node) launch(ctx context.Context) (err error) {
	n.starts++
	n.started = time.Now()
	n.process, err = n.Start(ctx, n.rig.launcher, proc.Spec{
		Name: fmt.Sprintf("%s-%d", n.Name, n.starts), Dir: n.rig.dir,
		Args:  append(n.ownClock(), n.rig.opt.Binary, "run", "-c", n.conf()),
		Env:   []string{"RUNTIME_DIRECTORY=" + n.runtime()}, // as systemd says it: the nodes share a file system here
		Ready: func(context.Context) error { return nil },
	})
	return err
}

// ownClock is the command that has the node's clocks run apart from those of all others:
// machines have not booted at the same time, and here a node that takes another's time
// for its own is found. The wall clock has no such namespace.
func (n *Node) ownClock() []string {
	ahead := strconv.Itoa(n.N * 86400)
	return []string{"unshare", "--time", "--boottime", ahead, "--monotonic", ahead, "--"}
}

// start starts pgvip and waits until its port answers.
func (n *Node) start(ctx context.Context) error {
	if err := n.launch(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		conn, err := n.Dial(ctx, "tcp", n.LAN.String()+":5000")
		if err == nil {
			return conn.Close()
		}
		if !n.alive() {
			return fmt.Errorf("%s has ended: %s", n.Name, n.process.Log(10))
		}
		if pause(ctx, 20*time.Millisecond) != nil {
			return fmt.Errorf("%s does not listen: %w: %s", n.Name, err, n.process.Log(10))
		}
	}
}

// alive reports whether the main process runs; a frozen one does.
func (n *Node) alive() bool {
	return n.process != nil && slices.Contains(n.PIDs(), n.process.PID())
}

// keeper is the process that holds the address, 0 when there is none.
func (n *Node) keeper() int {
	for _, pid := range n.PIDs() {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if words := bytes.Split(line, []byte{0}); err == nil && len(words) > 1 && string(words[1]) == "keeper" {
			return pid
		}
	}
	return 0
}

// signal sends a signal to the main process, the keeper, or both, and gives the
// moment before it did.
func (n *Node) signal(sig syscall.Signal, parts ...part) (time.Time, error) {
	var pids []int
	for _, p := range parts {
		pid := n.process.PID()
		if p == keeperPart {
			pid = n.keeper()
		}
		if pid == 0 {
			return time.Time{}, fmt.Errorf("%s has no %s", n.Name, p)
		}
		pids = append(pids, pid)
	}
	now := time.Now()
	var errs []error
	for _, pid := range pids {
		errs = append(errs, syscall.Kill(pid, sig))
	}
	return now, errors.Join(errs...)
}

// part is one of the processes of a node.
type part string

const (
	mainPart   part = "main"
	keeperPart part = "keeper"
)

// stop ends all of the node, with SIGTERM first.
func (n *Node) stop() {
	if n.process != nil {
		n.process.Close()
		n.process = nil
	}
	n.killAll()
}

// has reports whether the node has the address, and is the only one that answers.
func (n *Node) has() bool {
	return n.watch.Has() && n.rig.observer.Owner() == n.MAC.String()
}

// entry is a line of pgvip's log.
type entry struct {
	Msg   string `json:"msg"`
	Level string `json:"level"`
	line  string
}

// said gives the lines of the log, since the last start, in which all words occur.
func (n *Node) said(words ...string) (all []entry) {
	text, err := os.ReadFile(filepath.Join(n.rig.dir, fmt.Sprintf("%s-%d.log", n.Name, n.starts)))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		low := strings.ToLower(line)
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(low, strings.ToLower(w)) }) {
			e := entry{line: strings.TrimSpace(line)}
			_ = json.Unmarshal([]byte(line), &e) // a panic's lines are no JSON
			all = append(all, e)
		}
	}
	return all
}

// The virtual addresses, and where clients connect.
var (
	VIP4 = netip.MustParseAddr("10.99.0.100")
	VIP6 = netip.MustParseAddr("fd99::100")
)
