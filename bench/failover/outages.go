package failover

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// outages are the scenarios in which etcd or the way to it fails.
func outages() []Scenario {
	// Without it a primary that waits for etcd's election for longer than its
	// retry_timeout, of three seconds here, stops by itself.
	failsafe := map[string]any{"failsafe_mode": true}
	return []Scenario{
		{Number: 10, Name: "etcd-leader-killed", DCS: failsafe, Fault: etcdLeaderKilled, Writes: none, Reads: none, Check: staysFresh},
		{Number: 11, Name: "etcd-members-frozen", DCS: failsafe, Fault: etcdMembersFrozen, Writes: none, Reads: none, Check: staysFresh},
		{Number: 12, Name: "etcd-gone-60s", Fault: etcdGone, Writes: inFlight, Reads: none, Slack: 2 * time.Second},
		{Number: 13, Name: "etcd-gone-60s-failsafe", DCS: failsafe, Fault: etcdGone, Writes: none, Reads: none, Check: sameNode},
		{Number: 15, Name: "etcd-compacted-and-restored", DCS: failsafe, Fault: etcdRestored, Writes: none, Reads: none, Check: sameNode},
		{Number: 17, Name: "primary-alone-loses-etcd", DCS: failsafe, Fault: primaryLosesEtcd, Writes: none, Reads: none, Check: sameNode},
	}
}

// etcdLeaderKilled kills the member that leads etcd.
func etcdLeaderKilled(ctx context.Context, run *run) error {
	i, err := run.etcdLeader(ctx)
	if err != nil {
		return err
	}
	if err := run.lab.Etcd[i].Kill(); err != nil {
		return err
	}
	if err := pause(ctx, 6*time.Second); err != nil {
		return err
	}
	return run.lab.Etcd[i].Start(ctx)
}

// etcdLeader is the index of the member that leads.
func (run *run) etcdLeader(ctx context.Context) (int, error) {
	for i, endpoint := range run.lab.EtcdEndpoints() {
		status, err := run.watcher.client.Status(ctx, endpoint)
		if err != nil {
			return 0, fmt.Errorf("status of %s: %w", endpoint, err)
		}
		if status.Leader == status.Header.MemberId {
			return i, nil
		}
	}
	return 0, errors.New("no member of etcd leads")
}

// etcdMembersFrozen freezes each member in turn: whichever pgvip talks to, and
// the leader, are among them. After each, news has to be fresh within 2 s.
func etcdMembersFrozen(ctx context.Context, run *run) error {
	for _, member := range run.lab.Etcd {
		if err := member.Freeze(); err != nil {
			return err
		}
		if err := pause(ctx, 6*time.Second); err != nil {
			return err
		}
		if err := member.Thaw(); err != nil {
			return err
		}
		if err := pause(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// etcdGone kills all members for a minute.
func etcdGone(ctx context.Context, run *run) error {
	for _, member := range run.lab.Etcd {
		if err := member.Kill(); err != nil {
			return err
		}
	}
	if err := pause(ctx, time.Minute); err != nil {
		return err
	}
	back := time.Now()
	if err := run.startEtcd(ctx); err != nil {
		return err
	}
	if at, ok := run.prober.ended(run.leader.Name, run.fault); ok {
		run.down = at
	}
	return run.await(ctx, "a primary", func() bool {
		_, ok := run.prober.wrote("", back)
		return ok
	})
}

// etcdRestored compacts what pgvip has not seen, and later gives etcd back what
// it had some time before: another cluster, with smaller revisions.
func etcdRestored(ctx context.Context, run *run) error {
	snapshot, err := run.lab.SnapshotEtcd(ctx)
	if err != nil {
		return err
	}
	for _, l := range run.links {
		l.Cut()
	}
	for range 20 {
		if err := run.watcher.put(ctx, "unknown", time.Now().String()); err != nil {
			return err
		}
	}
	got, err := run.watcher.client.Get(ctx, run.watcher.prefix+"leader")
	if err != nil {
		return err
	}
	if _, err := run.watcher.client.Compact(ctx, got.Header.Revision); err != nil {
		return err
	}
	if err := pause(ctx, 4*time.Second); err != nil {
		return err
	}
	for _, l := range run.links {
		if err := l.Restore(); err != nil {
			return err
		}
	}
	if err := pause(ctx, 4*time.Second); err != nil {
		return err
	}
	if err := run.lab.RestoreEtcd(ctx, snapshot); err != nil {
		return err
	}
	run.watcher.again()
	return pause(ctx, 10*time.Second)
}

// primaryLosesEtcd cuts the leader's Patroni off: its key goes, it stays primary
// by failsafe_mode.
func primaryLosesEtcd(ctx context.Context, run *run) error {
	if err := run.leader.CutEtcd(); err != nil {
		return err
	}
	if _, err := run.watcher.await(ctx, "the end of the leader key", run.fault, leaderGone); err != nil {
		return err
	}
	if err := pause(ctx, 6*time.Second); err != nil {
		return err
	}
	if err := run.leader.RestoreEtcd(); err != nil {
		return err
	}
	return run.awaitLeader(ctx, run.leader)
}

// staleLimit is how long pgvip's news may be older than two seconds while one of
// three members of etcd is silent.
const staleLimit = 2 * time.Second

// staysFresh: one member of etcd costs hardly anything, and nobody took over.
func staysFresh(run *run, f *front, r *Result) {
	sameNode(run, f, r)
	entries, err := f.entries(run.fault)
	if err != nil {
		r.fall("log: %v", err)
	}
	stale := staleFor(entries)
	r.more("stale_ms", stale.Milliseconds())
	if stale > staleLimit {
		r.fall("etcd's news was stale for %v", stale)
	}
}

// staleFor is the longest time for which pgvip's news was not fresh.
func staleFor(entries []entry) time.Duration {
	var longest time.Duration
	var since time.Time
	for _, e := range entries {
		switch {
		case e.Msg != "news from etcd" || !strings.Contains(e.Reason, "->"):
		case strings.HasSuffix(e.Reason, "FRESH"):
			if !since.IsZero() {
				longest = max(longest, e.Time.Sub(since))
			}
			since = time.Time{}
		case since.IsZero():
			since = e.Time
		}
	}
	if !since.IsZero() && len(entries) > 0 {
		longest = max(longest, entries[len(entries)-1].Time.Sub(since), staleLimit+1) // it never came back
	}
	return longest
}
