package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/pgvip/pgvip/health"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/route"
)

// TestReadSetOnCluster follows the read set of a real cluster through what replicas
// go through: scenarios 28 to 32.
func TestReadSetOnCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a cluster")
	}
	t.Parallel() // nearly all of it is waiting
	c := lab.StartT(t, lab.Options{Nodes: 3})
	p, control := startControlWith(t, c,
		health.Config{Inter: 200 * time.Millisecond, Leader: 200 * time.Millisecond, DownInter: 200 * time.Millisecond},
		route.Policy{MaxLagBytes: 1 << 20, MaxLag: 5 * time.Second, Rise: 2, SlowStart: time.Minute})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	p.wait(t, 0, 10*time.Second, "start", func(t *route.Table) bool { return leads("n1")(t) && reads("n2 n3")(t) })

	t.Run("29 receiver frozen", func(t *testing.T) { stepLag(ctx, t, c, p, control) })
	t.Run("30 tag", func(t *testing.T) { stepTag(ctx, t, c, p) })
	t.Run("operator", func(t *testing.T) { stepOperator(t, p, control) })
	t.Run("checks", func(t *testing.T) { stepChecks(ctx, t, c) })
	t.Run("31 all gone", func(t *testing.T) { stepAllGone(t, p, control) })
	t.Run("32 reinit", func(t *testing.T) { stepReinit(ctx, t, c, p) })
}

// outBy is a table in which a replica is out for a cause.
func outBy(name string, cause route.Cause) func(*route.Table) bool {
	return func(t *route.Table) bool {
		for _, x := range t.Out {
			if x.Name == name && x.Cause == cause {
				return true
			}
		}
		return false
	}
}

// stepLag: what does not move is found out by bytes or by time, and comes back.
func stepLag(ctx context.Context, t *testing.T, c *lab.Cluster, p *published, control *control) {
	sql := func(text string) string {
		out, err := c.Node("n1").Postgres.SQL(ctx, "postgres", text)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	sql("CREATE TABLE heap (x text)")
	for _, step := range []struct{ what, write string }{
		{"bytes", "INSERT INTO heap SELECT repeat('x', 1000) FROM generate_series(1, 3000)"},
		{"time", "INSERT INTO heap VALUES ('a single row, then idleness')"},
	} {
		from := p.count()
		thaw, err := c.Node("n2").Postgres.FreezeWALReceiver(ctx)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(thaw)
		began := time.Now()
		sql(step.write)
		table, at, seen := p.wait(t, from, 15*time.Second, "n2 out by "+step.what, outBy("n2", route.OutLag))
		h := control.monitor.Health()["n2"]
		t.Logf("%s: out_ms=%d lag_bytes=%d lag_ms=%d reason=%q", step.what, at.Sub(began).Milliseconds(), h.LagBytes, h.LagTime.Milliseconds(), table.Out[0].Reason)
		if n2 := table.Lookup("n2"); !table.Standing(n2).Lagging || table.Standing(n2).Dead || !h.LagKnown {
			t.Errorf("n2 stands %+v, known %v", table.Standing(n2), h.LagKnown)
		}
		if step.what == "time" && h.LagTime < 4*time.Second {
			t.Errorf("lag of %v, want about 5s", h.LagTime)
		}
		thaw()
		table, _, _ = p.wait(t, seen, 30*time.Second, "n2 in again", reads("n2 n3"))
		if s := table.Standing(table.Lookup("n2")); s.Throttle != 100 {
			t.Errorf("n2 stands %+v: a replica that was only behind is warm", s)
		}
	}
}

// stepTag: a member key that changes is followed within 100 ms of etcd's news.
func stepTag(ctx context.Context, t *testing.T, c *lab.Cluster, p *published) {
	etcd, err := clientv3.New(clientv3.Config{Endpoints: c.EtcdEndpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	for _, on := range []bool{true, false} {
		from, want := p.count(), map[bool]string{true: "n2", false: "n2 n3"}[on]
		watching, stop := context.WithCancel(ctx)
		events := etcd.Watch(watching, fmt.Sprintf("%s%s/members/n3", c.Namespace, c.Scope), clientv3.WithCreatedNotify())
		<-events
		if err := c.Node("n3").SetTags(ctx, map[string]any{"noloadbalance": on}); err != nil {
			t.Fatal(err)
		}
		var changed time.Time
		for changed.IsZero() {
			for _, ev := range (<-events).Events {
				var m struct{ Tags map[string]any }
				if json.Unmarshal(ev.Kv.Value, &m) == nil && (m.Tags["noloadbalance"] == true) == on {
					changed = time.Now()
				}
			}
			if ctx.Err() != nil {
				t.Fatal("the key has not changed")
			}
		}
		stop()
		_, at, _ := p.wait(t, from, 10*time.Second, "read set "+want, reads(want))
		t.Logf("noloadbalance=%v key_to_table_ms=%.1f", on, float64(at.Sub(changed).Microseconds())/1000)
		if late := at.Sub(changed); late > 100*time.Millisecond {
			t.Errorf("noloadbalance %v: the table is %v behind the key, want at most 100ms", on, late)
		}
	}
}

// stepOperator: rule 10's drain and maint, on a cluster that lives.
func stepOperator(t *testing.T, p *published, control *control) {
	for _, state := range []route.AdminState{route.Drain, route.Maint} {
		from := p.count()
		if err := control.SetAdmin("n2", state); err != nil {
			t.Fatal(err)
		}
		cause := map[route.AdminState]route.Cause{route.Drain: route.OutDrain, route.Maint: route.OutMaint}[state]
		_, _, seen := p.wait(t, from, 5*time.Second, "n2 in "+state.String(), outBy("n2", cause))
		if _, checked := control.monitor.Health()["n2"]; checked == (state == route.Maint) {
			// The checks of a table follow it at once, but not before it.
			eventually(t, "checks follow "+state.String(), func() bool {
				_, checked := control.monitor.Health()["n2"]
				return checked == (state == route.Drain)
			})
		}
		if err := control.SetAdmin("n2", route.Ready); err != nil {
			t.Fatal(err)
		}
		table, _, _ := p.wait(t, seen, 5*time.Second, "n2 ready", reads("n2 n3"))
		if s := table.Standing(table.Lookup("n2")); (s.Throttle < 100) != (state == route.Maint) {
			t.Errorf("after %v n2 stands %+v", state, s)
		}
	}
	if err := control.SetAdmin("n9", route.Drain); err == nil {
		t.Error("a server that does not exist was drained")
	}
}

// stepAllGone: the primary serves reads, and no longer than it has to.
func stepAllGone(t *testing.T, p *published, control *control) {
	from := p.count()
	control.SetAdmin("n2", route.Drain)
	control.SetAdmin("n3", route.Drain)
	table, _, seen := p.wait(t, from, 5*time.Second, "the primary serves reads", func(t *route.Table) bool { return t.Reads == route.ReadsOnPrimary })
	if got := table.Replica(0); got != table.Primary {
		t.Errorf("a reader goes to %v", got)
	}
	control.SetAdmin("n3", route.Ready)
	p.wait(t, seen, 5*time.Second, "n3 serves reads", func(t *route.Table) bool { return t.Reads == route.ReadsOnReplicas && reads("n3")(t) })
	control.SetAdmin("n2", route.Ready)
	p.wait(t, seen, 5*time.Second, "both", reads("n2 n3"))
}

// stepReinit: out while it is copied, in when it runs, with a slow start.
func stepReinit(ctx context.Context, t *testing.T, c *lab.Cluster, p *published) {
	from := p.count()
	if err := c.Node("n3").Reinitialize(ctx); err != nil {
		t.Fatal(err)
	}
	_, _, seen := p.wait(t, from, 30*time.Second, "n3 out", reads("n2"))
	table, _, _ := p.wait(t, seen, 60*time.Second, "n3 in", reads("n2 n3"))
	if s := table.Standing(table.Lookup("n3")); s.Throttle >= 100 {
		t.Errorf("n3 stands %+v, want a slow start", s)
	}
	if err := c.WaitReady(ctx); err != nil {
		t.Error(err)
	}
}

// stepChecks: what Patroni and a port say of each node, in HAProxy's words.
func stepChecks(ctx context.Context, t *testing.T, c *lab.Cluster) {
	for _, kind := range []health.Check{health.ByREST, health.ByTCP} {
		rest := health.NewREST(health.RESTConfig{})
		defer rest.Close()
		m := health.NewMonitor(health.Config{Login: probeLogin(), Check: kind, Connect: new(net.Dialer).DialContext, Get: rest.Get,
			Inter: 100 * time.Millisecond, FastInter: 20 * time.Millisecond})
		defer m.Close()
		var targets []health.Target
		for _, n := range c.Nodes {
			targets = append(targets, health.Target{Name: n.Name, Addr: n.Postgres.Addr, API: "http://" + n.RESTAddr})
		}
		m.Watch(targets)
		want := map[string]string{"n1": "down L7STS 503", "n2": "up L7OK 200", "n3": "up L7OK 200"}
		if kind == health.ByTCP {
			want = map[string]string{"n1": "up L4OK 0", "n2": "up L4OK 0", "n3": "up L4OK 0"}
		}
		eventually(t, fmt.Sprintf("%v: %v", kind, want), func() bool {
			for name, h := range m.Health() {
				if fmt.Sprintf("%v %s %d", h.State, h.Check, h.Code) != want[name] || h.Dead {
					return false
				}
			}
			return ctx.Err() == nil
		})
	}
}
