package main

import (
	"context"
	"maps"
	"net"

	"github.com/pgvip/pgvip/config"
	"github.com/pgvip/pgvip/health"
	"github.com/pgvip/pgvip/route"
)

// routePolicy is what the configuration asks of the routes. "*" stands for the
// servers among names that have no section of their own.
func routePolicy(c *config.Config, names []string) route.Policy {
	r := &c.Reads
	p := route.Policy{
		SwitchoverHold: c.SwitchoverHold,

		MaxLagBytes: uint64(r.MaxLagBytes), MaxLag: r.MaxLag, Rise: c.Probe.Rise,
		SlowStart: r.SlowStart, ReplicaTags: r.Tags, PreferTags: r.PreferTags,
		Servers: make(map[string]route.ServerPolicy, len(names)),
	}
	if r.NoReplicas == "reject" {
		p.NoReplicas = route.RejectReads
	}
	if r.Balance == "leastconn" {
		p.Balance = route.LeastConn
	}
	for _, name := range names {
		s := c.Server(name)
		p.Servers[name] = route.ServerPolicy{
			Weight: s.Weight.Or(0), Weighted: s.Weight.IsSet(),
			MaxConn: s.MaxConn, MaxQueue: s.MaxQueue, Tags: maps.Clone(s.Tags),
		}
	}
	return p
}

// memberNames are those of a topology.
func memberNames(topo *route.Topology) []string {
	names := make([]string, len(topo.Members))
	for i := range topo.Members {
		names[i] = topo.Members[i].Name
	}
	return names
}

// checkOf gives how replicas are checked.
func checkOf(c *config.Config) health.Check {
	return map[string]health.Check{"sql": health.BySQL, "rest": health.ByREST, "tcp": health.ByTCP}[c.Probe.Check]
}

// connectProbe opens a connection only to see that it can be done.
func (n *node) connectProbe(ctx context.Context, network, address string) (net.Conn, error) {
	return n.names.DialContext(ctx, network, address)
}

// blindCheckWarning says what a check other than SQL cannot see; "" for SQL.
func blindCheckWarning(c *config.Config) string {
	if c.Probe.Check == "sql" {
		return ""
	}
	text := "probe.check " + c.Probe.Check + " is for replicas: the primary is proven by SQL all the same, as probe.user;" +
		" another cluster's data on a replica is not seen, nor a new primary while etcd is away"
	if c.Reads.MaxLag > 0 || c.Reads.MaxLagBytes > 0 {
		text += ", nor how far one is behind: replica_max_lag and replica_max_lag_bytes count for nothing"
	}
	return text
}
