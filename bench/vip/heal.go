package vip

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
)

// heal brings the rig into the state in which each scenario begins: the network
// and etcd are whole, both nodes run with what is asked for, and one of them has
// had the address for a while.
func (r *Rig) heal(ctx context.Context, change settings) error {
	ctx, cancel := context.WithTimeout(ctx, healTimeout)
	defer cancel()
	if err := errors.Join(r.net.Mend(ctx), r.healEtcd(ctx)); err != nil {
		return err
	}
	for _, n := range r.nodes {
		if err := r.healNode(ctx, n, change); err != nil {
			return err
		}
	}
	if err := r.waitOwner(ctx); err != nil {
		return err
	}
	// A node that has just started acknowledges nobody for some seconds.
	for _, n := range r.nodes {
		if err := pause(ctx, ripe-time.Since(n.started)); err != nil {
			return err
		}
	}
	return nil
}

// ripe is the age of a node that plays its full part.
const ripe = 4 * time.Second

// healEtcd thaws and starts the members, side by side: one alone has no quorum, and
// is not ready.
func (r *Rig) healEtcd(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healTimeout)
	defer cancel()
	errs := make([]error, len(r.lab.Etcd))
	var wg sync.WaitGroup
	for i, member := range r.lab.Etcd {
		if member.Running() {
			_ = member.Thaw() // most are not frozen
			continue
		}
		wg.Go(func() { errs[i] = member.Start(ctx) })
	}
	wg.Wait()
	_, err := r.lab.WaitLeader(ctx)
	return errors.Join(append(errs, err)...)
}

// healNode starts a node that does not run, or runs with other settings.
func (r *Rig) healNode(ctx context.Context, n *Node, change settings) error {
	if _, err := n.Run(ctx, "ip", "link", "show", lanIface); err != nil {
		if err := r.net.Plug(ctx, n.Host); err != nil {
			return err
		}
	}
	for _, pid := range n.PIDs() {
		syscall.Kill(pid, syscall.SIGCONT) // one that has ended meanwhile is started below
	}
	same := fmt.Sprint(change) == n.change
	if n.alive() && n.keeper() != 0 && same {
		return nil
	}
	n.stop()
	if err := n.configure(change); err != nil {
		return err
	}
	n.change = fmt.Sprint(change)
	return n.start(ctx)
}

// waitOwner waits until one node has had the address for a while and serves.
func (r *Rig) waitOwner(ctx context.Context) error {
	var owner *Node
	since := time.Now()
	for {
		now := r.owner()
		if now != owner || now == nil {
			owner, since = now, time.Now()
		}
		if owner != nil && time.Since(since) > calm && len(r.visitor.Served(since)) > 10 {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("no owner: %w\n%s\n%s", err, r.nodes[0].tail(), r.nodes[1].tail())
		}
	}
}

// owner is the one node that has the address, nil when there is none or two.
func (r *Rig) owner() (owner *Node) {
	for _, n := range r.nodes {
		switch {
		case n.has():
			owner = n
		case n.watch.Has():
			return nil
		}
	}
	return owner
}

// tail is the end of the node's log.
func (n *Node) tail() string {
	if n.process == nil {
		return n.Name + " does not run"
	}
	return n.process.Log(12)
}

// leader is Patroni's.
func (r *Rig) leader(ctx context.Context) (*lab.Node, error) { return r.lab.WaitLeader(ctx) }
