package failover

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/pgvip/pgvip/bench/proc"
)

// strangers are the scenarios with a server that must not be taken for the
// cluster's primary.
func strangers() []Scenario {
	return []Scenario{
		{Number: 45, Name: "two-writable-nodes", Fault: twoWritable, Writes: inFlight, Reads: lostNode, Slack: 300 * time.Millisecond, Check: avoided},
		{Number: 44, Name: "wrong-scope", Special: wrongScope},
	}
}

// twoWritable brings a crashed primary back, writable, and gives it its place
// among the members again, while another leads.
func twoWritable(ctx context.Context, run *run) error {
	key := "members/" + run.leader.Name
	member, err := run.watcher.client.Get(ctx, run.watcher.prefix+key)
	if err != nil || len(member.Kvs) == 0 {
		return errors.Join(err, errors.New("the leader has no key"))
	}
	if err := hostCrash(ctx, run); err != nil {
		return err
	}
	if err := run.leader.Postgres.StartAlone(ctx); err != nil {
		return err
	}
	run.counts = func(node string, at time.Time) bool { return node != run.leader.Name || at.Before(run.down) }
	if err := run.watcher.put(ctx, key, string(member.Kvs[0].Value)); err != nil {
		return err
	}
	since := time.Now()
	err = pause(ctx, 5*time.Second)
	run.shunned = append(run.shunned, shun{node: run.leader, since: since, until: time.Now()})
	for _, f := range run.fronts {
		if !f.rival() && !f.alarmed(since, run.leader.Name) {
			run.fall("%s raised no alarm about a second writable node", f.name)
		}
	}
	// Its Patroni would write the key with a lease of its own.
	return errors.Join(err, run.leader.Postgres.Kill(), run.watcher.remove(ctx, key))
}

// wrongScope leads a pgvip to a scope whose keys name our primary and another
// cluster's system identifier, and then to ours.
func wrongScope(ctx context.Context, r *Rig, s *Scenario) ([]*Result, error) {
	const scope = "stranger"
	leader, err := r.lab.Leader(ctx)
	if err != nil {
		return nil, err
	}
	prefix := path.Join("/", r.lab.Namespace, scope) + "/"
	ours := map[string]string{}
	for _, key := range []string{"initialize", "config", "history", "leader", "members/" + leader.Name} {
		got, err := r.watcher.client.Get(ctx, r.watcher.prefix+key)
		if err != nil {
			return nil, err
		}
		if len(got.Kvs) > 0 {
			ours[key] = string(got.Kvs[0].Value)
		}
	}
	put := func(key, value string) error {
		_, err := r.watcher.client.Put(ctx, prefix+key, value)
		return err
	}
	for key, value := range ours {
		if key == "initialize" {
			value = "7000000000000000001"
		}
		if err := put(key, value); err != nil {
			return nil, err
		}
	}
	defer r.watcher.client.Delete(context.WithoutCancel(ctx), prefix, clientv3.WithPrefix())

	result := &Result{Scenario: s.Number, Name: s.Name, Mode: Transaction}
	began := time.Now()
	f, err := r.newPgvip(ctx, "stranger", Transaction, spareHost, settings{"scope": scope})
	if err != nil {
		return nil, err
	}
	defer f.process.Close()
	if err := pause(ctx, 3*time.Second); err != nil {
		return nil, err
	}
	for name, addr := range map[string]string{"5000": f.primary, "5001": f.replicas} {
		conn, err := f.dial(ctx, addr)
		if err == nil {
			shortly, cancel := context.WithTimeout(ctx, 2*time.Second)
			_, err = conn.Exec(shortly, "SELECT 1").ReadAll()
			cancel()
			conn.Close(ctx)
		}
		if err == nil {
			result.WrongNode++
			result.fall("port %s leads to a server with another system identifier", name)
		}
	}
	if !f.alarmed(began, "system identifier") {
		result.fall("no alarm about the system identifier")
	}
	// With the right one it serves, and nothing has to be started again.
	if err := put("initialize", ours["initialize"]); err != nil {
		return nil, err
	}
	if err := r.awaitServing(ctx, f); err != nil {
		result.fall("with the right system identifier: %v", err)
	}
	return []*Result{result}, nil
}

// spareHost is the first of the lab's addresses for fronts of single scenarios.
const spareHost = 10

// awaitServing waits until both ports of a front answer.
func (r *Rig) awaitServing(ctx context.Context, f *front) error {
	ctx, cancel := context.WithTimeout(ctx, resumeTimeout)
	defer cancel()
	for {
		err := f.serves(ctx)
		if err == nil {
			return nil
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return err
		}
	}
}

// end closes a process of a single scenario; one that was killed is no error.
func end(p *proc.Process) error {
	if err := p.Close(); err != nil {
		return fmt.Errorf("end: %w", err)
	}
	return nil
}
