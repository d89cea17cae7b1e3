package failover

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/pgvip/pgvip/internal/lab"
)

const (
	// maxLag is pgvip's replica_max_lag in the scenarios.
	maxLag = 2 * time.Second
	// lagNotice is how long it may take to see a lag that is over the limit.
	lagNotice = 2 * time.Second
	// listNotice is how soon a change of the member keys has to count.
	listNotice = 100 * time.Millisecond
	// returnTimeout is how long a replica that is well again may take to be used.
	returnTimeout = 20 * time.Second
)

// replicaFaults are the scenarios about the port for reads.
func replicaFaults() []Scenario {
	// Nobody takes over here; and a standby that hangs would hold up every commit.
	async := map[string]any{"synchronous_mode": false}
	return []Scenario{
		{Number: 28, Name: "replica-lags", DCS: async, Fault: replicaLags, Writes: none, Reads: none, Check: drained},
		{Number: 29, Name: "wal-receiver-dead", DCS: async, Fault: walReceiverDead, Writes: none, Reads: none, Check: drained},
		{Number: 30, Name: "members-change", DCS: async, Fault: membersChange, Writes: none, Reads: lostNode, Check: avoided},
		{Number: 31, Name: "replicas-gone", Fault: replicasGone, Writes: none, Reads: lostNode},
		{Number: 32, Name: "reinit", DCS: async, Fault: reinit, Writes: none, Reads: lostNode, Check: avoided},
	}
}

// replicaLags stops a replica's replay for longer than the limit.
func replicaLags(ctx context.Context, run *run) error {
	victim := run.replicas[0]
	thaw, err := victim.Postgres.FreezeReplay(ctx)
	if err != nil {
		return err
	}
	return run.drain(ctx, victim, func() error { thaw(); return nil })
}

// walReceiverDead freezes what brings a replica its WAL.
func walReceiverDead(ctx context.Context, run *run) error {
	victim := run.replicas[0]
	thaw, err := victim.Postgres.FreezeWALReceiver(ctx)
	if err != nil {
		return err
	}
	return run.drain(ctx, victim, func() error { thaw(); return nil })
}

// drain waits until a lagging replica has to be out, lets it be so for a while,
// cures it, and waits until it is used again.
func (run *run) drain(ctx context.Context, victim *lab.Node, cure func() error) error {
	if err := pause(ctx, maxLag+lagNotice+6*time.Second); err != nil {
		return errors.Join(err, cure())
	}
	run.shunned = append(run.shunned, shun{node: victim, since: run.fault.Add(maxLag + lagNotice), until: time.Now(), stay: true})
	if err := cure(); err != nil {
		return err
	}
	return run.used(ctx, victim, true)
}

// used waits until new readers come to a node.
func (run *run) used(ctx context.Context, n *lab.Node, wanted bool) error {
	since := time.Now()
	ctx, cancel := context.WithTimeout(ctx, returnTimeout)
	defer cancel()
	for _, f := range run.fronts {
		err := run.await(ctx, f.name+" to use "+n.Name, func() bool {
			return f.visits.any(func(v visit) bool {
				return v.kind == readcomer && v.host == n.Postgres.Host && v.connected.After(since)
			}) == wanted
		})
		if err != nil && !f.rival() {
			run.fall("%s does not use %s again after %v", f.name, n.Name, returnTimeout)
		}
	}
	return nil
}

// drained: nobody new came to the replica while it lagged, those whose sessions
// were there could stay, and it left the set once.
func drained(run *run, f *front, r *Result) {
	for _, s := range run.shunned {
		n := count(f.visits.all, s.violates(f))
		if n > 0 {
			r.WrongNode += n
			r.fall("%d new reads on %s, which lags", n, s.node.Name)
		}
		entries, err := f.entries(run.fault)
		if err != nil {
			r.fall("log: %v", err)
		}
		left := 0
		for _, e := range entries {
			if e.Msg == "replica out" && strings.HasPrefix(e.Server, s.node.Name) {
				left++
			}
		}
		if r.more("left", left); left > 1 {
			r.fall("%s left the set %d times", s.node.Name, left)
		}
	}
}

// membersChange changes the members' keys in every way, with and without
// Patroni's doing.
func membersChange(ctx context.Context, run *run) error {
	victim := run.replicas[0]
	key := "members/" + victim.Name
	for _, step := range []func(context.Context, *lab.Node, string) error{
		run.toggleLoadBalancing, run.forgeMember, run.stopMember,
	} {
		if err := step(ctx, victim, key); err != nil {
			return err
		}
		if err := run.used(ctx, victim, true); err != nil {
			return err
		}
	}
	return nil
}

// toggleLoadBalancing sets and takes back the tag.
func (run *run) toggleLoadBalancing(ctx context.Context, n *lab.Node, key string) error {
	if err := n.SetTags(ctx, map[string]any{"noloadbalance": true}); err != nil {
		return err
	}
	e, err := run.watcher.await(ctx, "noloadbalance", run.fault, func(e keyEvent) bool {
		return e.key == key && strings.Contains(e.value, "noloadbalance")
	})
	if err != nil {
		return err
	}
	if err := pause(ctx, 3*time.Second); err != nil {
		return err
	}
	run.shunned = append(run.shunned, shun{node: n, since: e.at, until: time.Now(), stay: true})
	return n.SetTags(ctx, nil)
}

// forgeMember gives the member another address and then another name, while its
// own Patroni is frozen and cannot put it right.
func (run *run) forgeMember(ctx context.Context, n *lab.Node, key string) error {
	link, err := run.lab.Link(n.Postgres.Addr)
	if err != nil {
		return err
	}
	// What it has just sent to etcd may still arrive.
	if err := errors.Join(n.Patroni.Freeze(), pause(ctx, 500*time.Millisecond)); err != nil {
		return err
	}
	got, err := run.watcher.client.Get(ctx, run.watcher.prefix+key)
	if err != nil || len(got.Kvs) == 0 {
		return errors.Join(err, errors.New("no key of "+n.Name))
	}
	value := string(got.Kvs[0].Value)
	moved, err := withAddress(value, link.Addr)
	if err != nil {
		return err
	}
	if err := run.watcher.put(ctx, key, moved); err != nil {
		return err
	}
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	for _, f := range run.fronts {
		if open, err := connections(f.process.PID(), link.Addr); !f.rival() && (err != nil || len(open) == 0) {
			run.fall("%s does not use the new address of %s: %v", f.name, n.Name, err)
		}
	}
	prefix := run.watcher.prefix
	_, err = run.watcher.client.Txn(ctx).Then(clientv3.OpDelete(prefix+key), clientv3.OpPut(prefix+key+"-renamed", value)).Commit()
	if err != nil {
		return err
	}
	if err := run.used(ctx, n, true); err != nil {
		return err
	}
	return errors.Join(run.watcher.remove(ctx, key+"-renamed"), n.Patroni.Thaw(), pause(ctx, 3*time.Second))
}

// withAddress changes the address in a member key.
func withAddress(member, addr string) (string, error) {
	var fields map[string]any
	if err := json.Unmarshal([]byte(member), &fields); err != nil {
		return "", err
	}
	text, _ := fields["conn_url"].(string)
	u, err := url.Parse(text)
	if err != nil {
		return "", err
	}
	u.Host = addr
	fields["conn_url"] = u.String()
	changed, err := json.Marshal(fields)
	return string(changed), err
}

// stopMember stops a node cleanly, and starts it again.
func (run *run) stopMember(ctx context.Context, n *lab.Node, _ string) error {
	if err := n.Patroni.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	stopped := time.Now()
	if err := n.Patroni.Wait(ctx); err != nil {
		return err
	}
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	run.shunned = append(run.shunned, shun{node: n, since: stopped.Add(2 * time.Second), until: time.Now()})
	return n.Start(ctx)
}

// replicasGone kills both replicas: the primary serves reads until they are back.
func replicasGone(ctx context.Context, run *run) error {
	for _, n := range run.replicas {
		if err := n.Crash(); err != nil {
			return err
		}
	}
	if err := run.used(ctx, run.leader, true); err != nil {
		return err
	}
	if err := pause(ctx, 3*time.Second); err != nil {
		return err
	}
	for _, n := range run.replicas {
		if err := n.Start(ctx); err != nil {
			return err
		}
	}
	for _, n := range run.replicas {
		if err := run.used(ctx, n, true); err != nil {
			return err
		}
	}
	// Then none of the primary's.
	since := time.Now()
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	for _, f := range run.fronts {
		if f.visits.any(func(v visit) bool {
			return v.kind == readcomer && v.host == run.leader.Postgres.Host && v.connected.After(since)
		}) && !f.rival() {
			run.fall("%s still reads from the primary", f.name)
		}
	}
	return nil
}

// reinit has a replica copied anew. A small database is copied faster than
// Patroni publishes that it does so; then only the return can be seen.
func reinit(ctx context.Context, run *run) error {
	victim := run.replicas[0]
	if err := victim.Reinitialize(ctx); err != nil {
		return err
	}
	err := run.await(ctx, victim.Name+" to stop", func() bool {
		_, ok := run.prober.ended(victim.Name, run.fault)
		return ok
	})
	if err := errors.Join(err, run.lab.WaitReady(ctx)); err != nil {
		return err
	}
	key := "members/" + victim.Name
	copying, published := run.watcher.seen(run.fault, func(e keyEvent) bool {
		return e.key == key && strings.Contains(e.value, "creating replica")
	})
	run.note("published", published)
	if published {
		running, _ := run.watcher.seen(copying.at, func(e keyEvent) bool {
			return e.key == key && strings.Contains(e.value, `"state":"running"`)
		})
		run.shunned = append(run.shunned, shun{node: victim, since: copying.at, until: running.at.Add(-listNotice)})
	}
	return run.used(ctx, victim, true)
}
