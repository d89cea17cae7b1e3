package main

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/pgvip/pgvip/dcs"
	"github.com/pgvip/pgvip/health"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/route"
)

// runSource runs a control on any source until the test ends.
func runSource(t *testing.T, name string, source dcs.Source) *published {
	t.Helper()
	rest := health.NewREST(health.RESTConfig{})
	p := &published{moved: make(chan struct{}, 1)}
	log := zaptest.NewLogger(t, zaptest.Level(zap.InfoLevel)).Named(name)
	control := newControl(source, health.NewMonitor(health.Config{Login: probeLogin()}), p.publish, log)
	control.questions.ask = rest.Primary
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { control.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		rest.Close()
	})
	return p
}

// sourcesOf gives a source of each kind on a cluster.
func sourcesOf(t *testing.T, c *lab.Cluster) (etcd, patroni, static dcs.Source) {
	t.Helper()
	etcd, err := dcs.NewEtcd(dcs.EtcdConfig{Endpoints: c.EtcdEndpoints(), Namespace: c.Namespace, Scope: c.Scope})
	if err != nil {
		t.Fatal(err)
	}
	var hosts []string
	var list []dcs.Server
	for _, n := range c.Nodes {
		hosts = append(hosts, "http://"+n.RESTAddr)
		list = append(list, dcs.Server{Name: n.Name, Addr: n.Postgres.Addr})
	}
	patroni, err = dcs.NewPatroni(dcs.PatroniConfig{
		Hosts: hosts, Scope: c.Scope, Interval: 500 * time.Millisecond, Get: health.NewREST(health.RESTConfig{}).Get,
	})
	if err != nil {
		t.Fatal(err)
	}
	return etcd, patroni, dcs.NewStatic(func() []dcs.Server { return list })
}

// TestSourcesOnCluster: the same switchover and the same orphan, seen in Patroni's
// keys, through its REST interface, and by SQL alone.
func TestSourcesOnCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a cluster")
	}
	t.Parallel() // nearly all of it is waiting
	c := lab.StartT(t, lab.Options{Nodes: 2})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	etcd, patroni, static := sourcesOf(t, c)
	names := []string{"etcd", "patroni", "static"}
	tables := map[string]*published{}
	for i, source := range []dcs.Source{etcd, patroni, static} {
		tables[names[i]] = runSource(t, names[i], source)
	}
	for _, name := range names {
		tables[name].wait(t, 0, 10*time.Second, name+": start", func(t *route.Table) bool { return leads("n1")(t) && reads("n2")(t) })
	}

	writable := writableAt(t, c.Node("n2"))
	epochs := map[string]uint64{}
	for _, name := range names {
		epochs[name] = tables[name].epoch()
	}
	if err := c.Switchover(ctx, "n2"); err != nil {
		t.Fatal(err)
	}
	moment := <-writable
	for name, limit := range map[string]time.Duration{
		// Patroni's REST interface is polled, and says 200 some time after it leads.
		"etcd": maxLagLoaded, "static": maxLagLoaded, "patroni": 2 * time.Second,
	} {
		table, at, _ := tables[name].wait(t, 0, 10*time.Second, name+": switchover", leads("n2"))
		t.Logf("source=%s switchover writable_to_table_ms=%.1f", name, at.Sub(moment).Seconds()*1000)
		if at.Sub(moment) > limit || table.Epoch != epochs[name]+2 {
			t.Errorf("%s: %v after the writable moment, epoch %d to %d; want %v, a fence and a proof",
				name, at.Sub(moment), epochs[name], table.Epoch, limit)
		}
	}
	if err := c.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	stepOrphan(ctx, t, c, tables)
}

// stepOrphan kills Patroni of n2, which leads; PostgreSQL there goes on.
func stepOrphan(ctx context.Context, t *testing.T, c *lab.Cluster, tables map[string]*published) {
	from := map[string]int{}
	for name, p := range tables {
		from[name] = p.count()
	}
	if err := c.Node("n2").Patroni.Kill(); err != nil {
		t.Fatal(err)
	}
	expireLeader(ctx, t, c)
	deleted := time.Now()
	// Beside other tests; make failover holds it to the 100 ms that are promised.
	for name, limit := range map[string]time.Duration{"etcd": 500 * time.Millisecond, "patroni": 2 * time.Second} {
		_, at, _ := tables[name].wait(t, from[name], 10*time.Second, name+": fence", func(t *route.Table) bool { return !leads("n2")(t) })
		t.Logf("source=%s orphan deleted_to_fence_ms=%.1f", name, at.Sub(deleted).Seconds()*1000)
		if at.Sub(deleted) > limit {
			t.Errorf("%s: fenced %v after the key was gone, want %v", name, at.Sub(deleted), limit)
		}
		tables[name].wait(t, from[name], 30*time.Second, name+": failover, and an orphan in sight", func(t *route.Table) bool {
			return leads("n1")(t) && fmt.Sprint(t.Alarms) != "[]"
		})
	}
	// SQL alone cannot tell an orphan from the primary: it stays, with an alarm.
	table, _, _ := tables["static"].wait(t, from["static"], 10*time.Second, "static: two writable", func(t *route.Table) bool {
		return len(t.Alarms) > 0
	})
	if !leads("n2")(table) {
		t.Errorf("static: %s, want n2 to stay while it is writable", show(table))
	}
	// When it goes, the other one is the only one.
	if err := c.Node("n2").Postgres.Kill(); err != nil {
		t.Fatal(err)
	}
	tables["static"].wait(t, from["static"], 10*time.Second, "static: failover", leads("n1"))
}

// TestFailsafeOnCluster: scenario 17. Only the primary loses etcd, and its keys go
// with its lease; failsafe_mode keeps it going, and so do we, in the same epoch,
// also while it takes its lock back. When its Patroni is killed, nobody claims it
// any more.
func TestFailsafeOnCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a cluster")
	}
	t.Parallel() // nearly all of it is waiting
	c := lab.StartT(t, lab.Options{Nodes: 2, EtcdLinks: true, DCS: map[string]any{"failsafe_mode": true}})
	etcd, _, _ := sourcesOf(t, c)
	p := runSource(t, "etcd", etcd)
	p.wait(t, 0, 10*time.Second, "start", func(t *route.Table) bool { return leads("n1")(t) && reads("n2")(t) })
	from, epoch := p.count(), p.epoch()
	i := keepWithoutEtcd(t, c.Node("n1"), p, from, epoch)
	takeLockBack(t, c.Node("n1"), p, epoch)
	i = keepWithoutEtcd(t, c.Node("n1"), p, i, epoch)
	if err := c.Node("n1").Patroni.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	_, at, _ := p.wait(t, i, 5*time.Second, "fenced once Patroni is gone", func(t *route.Table) bool { return t.Epoch > epoch })
	t.Logf("failsafe patroni_killed_to_fence_ms=%.0f", at.Sub(killed).Seconds()*1000)
	if at.Sub(killed) > 2*time.Second {
		t.Error("want it with the next question, a second later at most")
	}
	p.wait(t, i, 60*time.Second, "the other one", leads("n2"))
}

// keepWithoutEtcd cuts a leader off from etcd: nothing is lent once its key is
// gone, until its Patroni has claimed failsafe mode.
func keepWithoutEtcd(t *testing.T, n *lab.Node, p *published, from int, epoch uint64) int {
	t.Helper()
	if err := n.CutEtcd(); err != nil {
		t.Fatal(err)
	}
	// The lease lasts 20 s, and up to 0.5 s until etcd revokes it.
	_, asked, i := p.wait(t, from, 40*time.Second, "the key is gone, nothing is lent", func(t *route.Table) bool { return t.Primary == nil })
	table, at, i := p.wait(t, i, 5*time.Second, "kept by failsafe_mode", leads(n.Name))
	t.Logf("failsafe asked_to_kept_ms=%.1f", at.Sub(asked).Seconds()*1000)
	if table.Epoch != epoch {
		t.Errorf("epoch went from %d to %d", epoch, table.Epoch)
	}
	time.Sleep(4 * time.Second) // longer than one good answer counts
	stillLeads(t, n, p, epoch)
	return i
}

// takeLockBack gives a leader etcd again. Its Patroni says 503 from when it has
// read that nobody holds the lock until it has taken it: neither the question that
// meets that moment nor any other may cost it its epoch.
func takeLockBack(t *testing.T, n *lab.Node, p *published, epoch uint64) {
	t.Helper()
	rest := health.NewREST(health.RESTConfig{})
	defer rest.Close()
	if err := n.RestoreEtcd(); err != nil {
		t.Fatal(err)
	}
	between := 0
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		a := rest.Primary(t.Context(), "http://"+n.RESTAddr)
		if a.Primary && !a.Failsafe {
			break
		}
		if a.Code == 503 {
			between++
			if !a.Failsafe || a.State != "running" || a.Role != "master" && a.Role != "primary" {
				t.Errorf("Patroni says %+v before it has its lock back; want the flag, and a running primary", a)
			}
		}
		if time.Now().After(limit) {
			t.Fatalf("Patroni does not take its lock back: %+v", a)
		}
	}
	t.Logf("failsafe answers_503_before_the_lock=%d", between)
	time.Sleep(4 * time.Second) // longer than the last good answer counts
	stillLeads(t, n, p, epoch)
}

func stillLeads(t *testing.T, n *lab.Node, p *published, epoch uint64) {
	t.Helper()
	if at := p.count(); p.epoch() != epoch || !leads(n.Name)(p.tables[at-1]) {
		t.Errorf("%s does not lead in epoch %d any more: %s", n.Name, epoch, p.last())
	}
}
