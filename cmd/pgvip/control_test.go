package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/dcs"
	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/health"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/route"
)

// published collects the tables of a control, each with its time.
type published struct {
	mu     sync.Mutex
	tables []*route.Table
	times  []time.Time
	moved  chan struct{} // holds one token while there are unseen tables
}

func (p *published) publish(t *route.Table) {
	p.mu.Lock()
	p.tables, p.times = append(p.tables, t), append(p.times, time.Now())
	p.mu.Unlock()
	select {
	case p.moved <- struct{}{}:
	default:
	}
}

// wait gives the first table from index from on that ok accepts, its time and
// its index.
func (p *published) wait(t *testing.T, from int, limit time.Duration, what string, ok func(*route.Table) bool) (*route.Table, time.Time, int) {
	t.Helper()
	deadline := time.After(limit)
	for next := from; ; {
		p.mu.Lock()
		for ; next < len(p.tables); next++ {
			if ok(p.tables[next]) {
				table, at := p.tables[next], p.times[next]
				p.mu.Unlock()
				return table, at, next
			}
		}
		p.mu.Unlock()
		select {
		case <-p.moved:
		case <-deadline:
			t.Fatalf("%s: not within %v; last table: %s", what, limit, p.last())
		}
	}
}

func (p *published) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.tables)
}

func (p *published) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.tables) == 0 {
		return "none"
	}
	return show(p.tables[len(p.tables)-1])
}

// show prints a table on one line.
func show(t *route.Table) string {
	return fmt.Sprintf("epoch %d, primary %v, candidate %v, replicas %v, %s %q",
		t.Epoch, t.Primary, t.Candidate, t.Replicas, t.Freshness, t.Reason)
}

func leads(name string) func(*route.Table) bool {
	return func(t *route.Table) bool { return t.Primary != nil && t.Primary.Name == name }
}

func reads(names string) func(*route.Table) bool {
	return func(t *route.Table) bool {
		var got []string
		for _, n := range t.Replicas {
			got = append(got, n.Name)
		}
		return strings.Join(got, " ") == names
	}
}

// startControl runs a control on a lab until the test ends.
func startControl(t *testing.T, c *lab.Cluster) *published {
	t.Helper()
	p, _ := startControlWith(t, c, health.Config{}, route.Policy{})
	return p
}

// startControlWith runs one that checks and decides in its own way.
func startControlWith(t *testing.T, c *lab.Cluster, checks health.Config, policy route.Policy) (*published, *control) {
	t.Helper()
	source, err := dcs.NewEtcd(dcs.EtcdConfig{Endpoints: c.EtcdEndpoints(), Namespace: c.Namespace, Scope: c.Scope})
	if err != nil {
		t.Fatal(err)
	}
	checks.Login = probeLogin()
	monitor := health.NewMonitor(checks)
	p := &published{moved: make(chan struct{}, 1)}
	control := newControl(source, monitor, p.publish, zaptest.NewLogger(t, zaptest.Level(zap.InfoLevel)))
	control.policy = func([]string) route.Policy { return policy }
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { control.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	select {
	case <-control.Ready():
	case <-time.After(10 * time.Second):
		t.Fatalf("not ready; last table: %s", p.last())
	}
	return p, control
}

func probeLogin() health.Login {
	return health.PostgreSQL(dial.Config{
		User: lab.ProbeUser, Database: "postgres", Credential: auth.Credential{Password: lab.ProbePassword},
	})
}

// writableAt polls a node on a connection of its own and gives the time of the
// first answer that says it takes writes, to 2 ms.
func writableAt(t *testing.T, n *lab.Node) <-chan time.Time {
	found := make(chan time.Time, 1) // so that a test that gave up strands nobody
	var wg sync.WaitGroup
	wg.Go(func() {
		pace := time.NewTicker(2 * time.Millisecond)
		defer pace.Stop()
		for !writable(t.Context(), n.Postgres.Addr, pace.C) {
			select {
			case <-pace.C: // refused, or gone: again
			case <-t.Context().Done():
				return
			}
		}
		found <- time.Now()
	})
	t.Cleanup(wg.Wait)
	return found
}

// writable asks on one connection until the node takes writes, or false.
func writable(ctx context.Context, addr string, pace <-chan time.Time) bool {
	conn, err := probeLogin()(ctx, addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	for {
		rows, err := conn.Query(ctx, "SELECT pg_is_in_recovery()")
		if err != nil || rows[0][0] == "f" {
			return err == nil
		}
		<-pace
	}
}

// TestControlOnCluster follows a real cluster through what the first version
// must survive. One cluster serves all steps, for its start costs most.
func TestControlOnCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a cluster")
	}
	t.Parallel() // nearly all of it is waiting
	c := lab.StartT(t, lab.Options{Nodes: 3})
	p := startControl(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	p.wait(t, 0, 5*time.Second, "start", func(t *route.Table) bool { return leads("n1")(t) && reads("n2 n3")(t) })

	var lags []time.Duration
	t.Run("switchover", func(t *testing.T) { lags = append(lags, stepSwitchover(ctx, t, c, p)) })
	t.Run("replica killed", func(t *testing.T) { stepReplica(ctx, t, c, p) })
	t.Run("primary killed", func(t *testing.T) { lags = append(lags, stepCrash(ctx, t, c, p)) })
	if best := slices.Min(lags); best > maxLag {
		t.Errorf("a new primary was writable %v before the table said so at best, want at most %v", best, maxLag)
	}
}

const (
	// maxLag is the time from PostgreSQL's first writable moment to the table that
	// says so: half of what a client is promised.
	maxLag = 50 * time.Millisecond
	// maxLagLoaded holds each time, also when the two cores of the machine are busy
	// with other tests; the best one has to meet maxLag.
	maxLagLoaded = time.Second
)

// stepSwitchover makes n2 the leader.
func stepSwitchover(ctx context.Context, t *testing.T, c *lab.Cluster, p *published) time.Duration {
	from, epoch := p.count(), p.epoch()
	writable := writableAt(t, c.Node("n2"))
	if err := c.Switchover(ctx, "n2"); err != nil {
		t.Fatal(err)
	}
	table, at, _ := p.wait(t, from, 10*time.Second, "switchover", leads("n2"))
	lag := at.Sub(<-writable)
	t.Logf("switchover epoch=%d writable_to_table_ms=%.1f", table.Epoch, float64(lag.Microseconds())/1000)
	if lag > maxLagLoaded {
		t.Errorf("n2 was writable %v before the table said so, want at most %v", lag, maxLagLoaded)
	}
	if table.Epoch < epoch+2 {
		t.Errorf("epoch went from %d to %d, want a fence and a proof", epoch, table.Epoch)
	}
	if err := c.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	p.wait(t, from, 15*time.Second, "all replicas after the switchover", func(t *route.Table) bool {
		return leads("n2")(t) && reads("n1 n3")(t)
	})
	return lag
}

func (p *published) epoch() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tables[len(p.tables)-1].Epoch
}

func stepReplica(ctx context.Context, t *testing.T, c *lab.Cluster, p *published) {
	from, epoch := p.count(), p.epoch()
	killed := time.Now()
	if err := c.Node("n3").Kill(); err != nil {
		t.Fatal(err)
	}
	_, at, _ := p.wait(t, from, 10*time.Second, "n3 out", reads("n1"))
	t.Logf("replica killed: out_ms=%d", at.Sub(killed).Milliseconds())
	if err := c.Node("n3").Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	p.wait(t, from, 20*time.Second, "n3 in", reads("n1 n3"))
	if p.epoch() != epoch {
		t.Errorf("a replica's death moved the epoch from %d to %d", epoch, p.epoch())
	}
}

// TestControlWithoutEtcd: rule 24, and nothing is dropped because of etcd alone.
func TestControlWithoutEtcd(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a cluster")
	}
	t.Parallel() // nearly all of it is waiting
	// Without failsafe_mode Patroni would demote the primary after retry_timeout.
	c := lab.StartT(t, lab.Options{Nodes: 2, DCS: map[string]any{"failsafe_mode": true}})
	p := startControl(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	normal := func(t *route.Table) bool { return leads("n1")(t) && reads("n2")(t) }
	p.wait(t, 0, 5*time.Second, "start", normal)
	from, epoch := p.count(), p.epoch()
	if err := c.Etcd[0].Freeze(); err != nil {
		t.Fatal(err)
	}
	p.wait(t, from, 5*time.Second, "stale", func(t *route.Table) bool { return t.Freshness == route.Stale })
	p.wait(t, from, 15*time.Second, "blind", func(t *route.Table) bool { return t.Freshness == route.Blind })
	if err := c.Etcd[0].Thaw(); err != nil {
		t.Fatal(err)
	}
	_, _, at := p.wait(t, from, 10*time.Second, "fresh after the thaw", func(t *route.Table) bool { return t.Freshness == route.Fresh })

	if err := c.Etcd[0].Kill(); err != nil {
		t.Fatal(err)
	}
	_, _, at = p.wait(t, at, 5*time.Second, "stale after the kill", func(t *route.Table) bool { return t.Freshness == route.Stale })
	if err := c.Etcd[0].Start(ctx); err != nil {
		t.Fatal(err)
	}
	p.wait(t, at, 10*time.Second, "fresh after the restart", func(t *route.Table) bool { return t.Freshness == route.Fresh })
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, table := range p.tables[from:] {
		if !normal(table) || table.Epoch != epoch {
			t.Errorf("etcd alone changed the table: %s", show(table))
		}
	}
}

// expireLeader does what the leader's lease does 20 s later, the least that
// Patroni takes: the key goes, and whoever watches it is told.
func expireLeader(ctx context.Context, t *testing.T, c *lab.Cluster) {
	t.Helper()
	etcd, err := clientv3.New(clientv3.Config{Endpoints: c.EtcdEndpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	if gone, err := etcd.Delete(ctx, c.Namespace+c.Scope+"/leader"); err != nil || gone.Deleted != 1 {
		t.Fatalf("leader key: %v, %v", gone, err)
	}
}

func stepCrash(ctx context.Context, t *testing.T, c *lab.Cluster, p *published) time.Duration {
	from := p.count()
	first, third := writableAt(t, c.Node("n1")), writableAt(t, c.Node("n3"))
	killed := time.Now()
	if err := c.Node("n2").Kill(); err != nil {
		t.Fatal(err)
	}
	_, at, _ := p.wait(t, from, 5*time.Second, "primary lost", func(t *route.Table) bool { return t.Primary == nil })
	t.Logf("primary killed: lost_ms=%d", at.Sub(killed).Milliseconds())
	expireLeader(ctx, t, c)
	table, at, _ := p.wait(t, from, time.Minute, "another primary", func(t *route.Table) bool {
		return t.Primary != nil && t.Primary.Name != "n2"
	})
	var writable time.Time
	select {
	case writable = <-first:
	case writable = <-third:
	}
	lag := at.Sub(writable)
	t.Logf("failover to=%s took_ms=%d writable_to_table_ms=%.1f", table.Primary.Name, at.Sub(killed).Milliseconds(), float64(lag.Microseconds())/1000)
	if lag > maxLagLoaded {
		t.Errorf("writable %v before the table said so, want at most %v", lag, maxLagLoaded)
	}
	return lag
}
