package main

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/config"
	"github.com/pgvip/pgvip/health"
	"github.com/pgvip/pgvip/route"
)

func TestRoutePolicy(t *testing.T) {
	c := config.Default()
	got := routePolicy(c, []string{"n1"})
	want := route.Policy{MaxLag: 5 * time.Minute, Rise: 1, SwitchoverHold: 500 * time.Millisecond,
		Servers: map[string]route.ServerPolicy{"n1": {}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("default: %+v, want %+v", got, want)
	}
	c.Reads = config.Reads{MaxLag: time.Second, MaxLagBytes: 100, NoReplicas: "reject", Balance: "leastconn",
		SlowStart: time.Minute, Tags: map[string]string{"zone": "z1"}, PreferTags: true}
	c.Servers["*"] = config.Server{MaxConn: 90, MaxQueue: 8}
	c.Servers["n2"] = config.Server{Weight: config.Some(0), Tags: map[string]string{"zone": "z2"}}
	got = routePolicy(c, []string{"n1", "n2"})
	want = route.Policy{MaxLag: time.Second, MaxLagBytes: 100, Rise: 1, SwitchoverHold: 500 * time.Millisecond,
		NoReplicas: route.RejectReads, Balance: route.LeastConn, SlowStart: time.Minute,
		ReplicaTags: map[string]string{"zone": "z1"}, PreferTags: true,
		Servers: map[string]route.ServerPolicy{
			"n1": {MaxConn: 90, MaxQueue: 8},
			"n2": {Weighted: true, Tags: map[string]string{"zone": "z2"}},
		}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestBlindCheckWarning: what a check other than SQL cannot do is said by check.
func TestBlindCheckWarning(t *testing.T) {
	c := config.Default()
	if text := blindCheckWarning(c); text != "" || checkOf(c) != health.BySQL {
		t.Errorf("sql: %q, %v", text, checkOf(c))
	}
	c.Probe.Check = "rest"
	if text := blindCheckWarning(c); !strings.Contains(text, "proven by SQL") || !strings.Contains(text, "replica_max_lag") || checkOf(c) != health.ByREST {
		t.Errorf("rest: %q, %v", text, checkOf(c))
	}
	c.Probe.Check, c.Reads.MaxLag = "tcp", 0
	if text := blindCheckWarning(c); !strings.Contains(text, "probe.check tcp") || strings.Contains(text, "replica_max_lag") || checkOf(c) != health.ByTCP {
		t.Errorf("tcp: %q, %v", text, checkOf(c))
	}
}

// TestMaintEndsChecks, except of who leads.
func TestMaintEndsChecks(t *testing.T) {
	n1, n2, n3 := &route.Node{Name: "n1"}, &route.Node{Name: "n2"}, &route.Node{Name: "n3"}
	maint := route.Standing{Admin: route.Maint}
	table := &route.Table{Primary: n1, Replicas: []*route.Node{n3}, Nodes: []*route.Node{n1, n2, n3},
		Standings: []route.Standing{maint, maint, {Admin: route.Drain}}}
	topo := &route.Topology{Members: []route.Member{{Name: "n3", APIURL: "http://n3:8008"}}}
	want := []health.Target{{Name: "n1", Pace: health.Leader}, {Name: "n3", API: "http://n3:8008"}}
	if got := targets(table, topo, time.Now()); !reflect.DeepEqual(got, want) {
		t.Errorf("targets %+v, want %+v", got, want)
	}
	if !probed(table, route.Health{"n1": {LastCheck: time.Now()}, "n3": {LastCheck: time.Now()}}) {
		t.Error("a start waits for the check of a server in maint")
	}
}
