package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// statePace is the pace of asking for the cluster's state: Patroni changes it in
// steps of seconds, and each question costs it a thread.
const statePace = 100 * time.Millisecond

// ErrNoLeader says that no node of the cluster leads it now.
var ErrNoLeader = errors.New("no leader")

// Leader returns the node that Patroni holds for the leader now and whose
// PostgreSQL is out of recovery, and an error that wraps ErrNoLeader when there
// is none or when nodes contradict each other.
func (c *Cluster) Leader(ctx context.Context) (*Node, error) {
	var leader *Node
	for _, n := range c.Nodes {
		// A node that does not answer leads nothing.
		status, answer, err := n.rest(ctx, http.MethodGet, "/primary", "")
		if err != nil || status != http.StatusOK || answer["state"] != "running" {
			continue
		}
		if leader != nil {
			return nil, fmt.Errorf("lab: both %s and %s say primary: %w", leader.Name, n.Name, ErrNoLeader)
		}
		leader = n
	}
	if leader == nil {
		return nil, fmt.Errorf("lab: %w", ErrNoLeader)
	}
	// Patroni says primary from the moment it has the lock: ask PostgreSQL.
	recovery, err := leader.Postgres.SQL(ctx, "postgres", "SELECT pg_is_in_recovery()")
	if err != nil || recovery != "f" {
		return nil, fmt.Errorf("lab: %s is promoting: %w", leader.Name, errors.Join(err, ErrNoLeader))
	}
	return leader, nil
}

// WaitLeader waits for a leader.
func (c *Cluster) WaitLeader(ctx context.Context) (*Node, error) {
	var leader *Node
	err := poll(ctx, statePace, func(ctx context.Context) (err error) {
		leader, err = c.Leader(ctx)
		return err
	})
	return leader, err
}

// WaitReady waits until the cluster is whole: one leader, and every other node
// whose Patroni is alive a replica that streams and is "running" in etcd too.
func (c *Cluster) WaitReady(ctx context.Context) error {
	err := poll(ctx, statePace, c.whole)
	if err == nil {
		return nil
	}
	var logs strings.Builder
	for _, n := range c.Nodes {
		logs.WriteString("\n" + n.Patroni.Log(12))
	}
	return fmt.Errorf("lab: wait for a whole cluster: %w%s", err, logs.String())
}

// whole says what is missing from a whole cluster.
func (c *Cluster) whole(ctx context.Context) error {
	leader, err := c.Leader(ctx)
	if err != nil {
		return err
	}
	states, err := leader.members(ctx)
	if err != nil {
		return err
	}
	streaming, err := leader.Postgres.SQL(ctx, "postgres",
		"SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'")
	if err != nil {
		return err
	}
	for _, n := range c.Nodes {
		if states[n.Name] != "running" && n.Patroni.Running() {
			return fmt.Errorf("%s is %q in etcd", n.Name, states[n.Name])
		}
		if n != leader && n.Patroni.Running() && !strings.Contains(streaming+"\n", n.Name+"\n") {
			return fmt.Errorf("%s does not stream from %s", n.Name, leader.Name)
		}
	}
	return nil
}

// member is one node as etcd has it.
type member struct{ Name, State, Role string }

// listed returns all members, as etcd has them.
func (n *Node) listed(ctx context.Context) ([]member, error) {
	_, text, err := request(ctx, http.MethodGet, "http://"+n.RESTAddr+"/cluster", nil)
	if err != nil {
		return nil, err
	}
	var cluster struct{ Members []member }
	if err := json.Unmarshal(text, &cluster); err != nil {
		return nil, fmt.Errorf("%s: /cluster: %w", n.Name, err)
	}
	return cluster.Members, nil
}

// members returns the states of all members.
func (n *Node) members(ctx context.Context) (map[string]string, error) {
	all, err := n.listed(ctx)
	states := map[string]string{}
	for _, m := range all {
		states[m.Name] = m.State
	}
	return states, err
}

// SyncStandbys is how many synchronous standbys Patroni knows of: it writes them
// down some time after PostgreSQL has them, and hands the leadership to no other.
func (n *Node) SyncStandbys(ctx context.Context) (int, error) {
	all, err := n.listed(ctx)
	count := 0
	for _, m := range all {
		if m.Role == "sync_standby" {
			count++
		}
	}
	return count, err
}

// Switchover makes Patroni hand the leadership to another node, as patronictl
// switchover does, and waits until that node is writable. An empty name leaves
// the choice to Patroni.
func (c *Cluster) Switchover(ctx context.Context, to string) error {
	leader, err := c.WaitLeader(ctx)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"leader": leader.Name, "candidate": to})
	if err != nil {
		return fmt.Errorf("lab: switchover: %w", err)
	}
	// The answer comes when it is done.
	status, answer, err := leader.rest(ctx, http.MethodPost, "/switchover", string(body))
	if err != nil {
		return fmt.Errorf("lab: switchover: %w", err)
	}
	if status != http.StatusOK {
		return fmt.Errorf("lab: switchover from %s to %q: %d %v", leader.Name, to, status, answer["text"])
	}
	now, err := c.WaitLeader(ctx)
	if err == nil && (now == leader || to != "" && now.Name != to) {
		err = fmt.Errorf("lab: switchover to %q: %s leads", to, now.Name)
	}
	return err
}

// Configure changes Patroni's dynamic configuration, as patronictl edit-config
// does: {"pause": true}. A nil value removes a key.
func (c *Cluster) Configure(ctx context.Context, change map[string]any) error {
	body, err := json.Marshal(change)
	if err != nil {
		return fmt.Errorf("lab: configure: %w", err)
	}
	for _, n := range c.Nodes {
		if !n.Patroni.Running() {
			continue
		}
		status, answer, err := n.rest(ctx, http.MethodPatch, "/config", string(body))
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("lab: configure: %d %v", status, answer)
		}
		return err
	}
	return errors.New("lab: configure: no Patroni runs")
}

// Kill ends a node as the loss of its machine would: Patroni first, so that it
// cannot restart PostgreSQL. An etcd member on the same address lives on.
func (n *Node) Kill() error {
	return errors.Join(n.Patroni.Kill(), n.Postgres.Kill())
}

// Freeze stops a node (SIGSTOP) as a hanging machine would.
func (n *Node) Freeze() error {
	return errors.Join(n.Patroni.Freeze(), n.Postgres.Freeze())
}

// Thaw lets a frozen node go on.
func (n *Node) Thaw() error {
	return errors.Join(n.Postgres.Thaw(), n.Patroni.Thaw())
}

// Start starts a killed node; Patroni starts PostgreSQL and rewinds it where
// that is needed.
func (n *Node) Start(ctx context.Context) error {
	return n.Patroni.Start(ctx)
}
