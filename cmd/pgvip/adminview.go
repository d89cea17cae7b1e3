package main

import (
	"cmp"
	"net"
	"os"
	"slices"
	"time"

	"github.com/pgvip/pgvip/admin"
	"github.com/pgvip/pgvip/config"
	"github.com/pgvip/pgvip/route"
)

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "?" // nothing depends on it
	}
	return name
}

// View implements admin.Source.
func (w *window) View() admin.View {
	c, st := w.config(), w.control.record.state()
	v := admin.View{
		At: time.Now(), Started: w.started, PID: os.Getpid(), Host: w.host, Scope: c.Scope,
		Build:    admin.Build{Version: w.build.Version, Commit: w.build.Commit, Go: w.build.Go},
		Stopping: w.stopping.Load(),
		Ports:    w.ports(),
		Limits:   w.limits(),
		Counters: w.counters(),
		Alarms:   []string{}, Servers: []admin.Server{}, Decisions: []admin.Decision{},
	}
	v.VIP, v.Cluster = w.vipView(v.At), w.clusterView(v.At)
	v.Ready, v.NotReady = w.ready(&st)
	v.Source = w.sourceView(v.At, &st)
	for _, d := range slices.Backward(w.control.record.history()) {
		v.Decisions = append(v.Decisions, admin.Decision{
			At: d.at, Kind: d.kind(), Server: d.Node, Reason: d.Reason, Epoch: d.Epoch,
			Took: d.Took.Seconds(), Alarm: d.alarm(),
		})
	}
	if st.table != nil {
		w.addTable(&v, &st)
	}
	return v
}

// ready says whether clients should be sent here, and if not why.
func (w *window) ready(st *state) (bool, string) {
	select {
	case <-w.control.Ready():
	default:
		if st.newsAt.IsZero() {
			return false, "there is no news of the cluster yet"
		}
		return false, "not every server has been checked yet"
	}
	if !w.accepting.Load() {
		return false, "the ports are not open yet"
	}
	if w.drained.Load() {
		return false, "drained by an operator"
	}
	return true, ""
}

func (w *window) addTable(v *admin.View, st *state) {
	t, topo := st.table, &st.topology
	v.Epoch, v.Since, v.Reason = t.Epoch, st.since, t.Reason
	v.Alarms = append(v.Alarms, t.Alarms...)
	if p := t.Primary; p != nil {
		v.Primary = &admin.Primary{Name: p.Name, Addr: p.Addr, Timeline: st.probes[p.Name].Timeline}
	}
	if t.Candidate != nil {
		v.Candidate = t.Candidate.Name
	}
	if h := t.Hold; h != nil && v.At.Before(h.Until) {
		v.Hold = &admin.Hold{Since: h.Since, Until: h.Until}
		for _, n := range h.Warm {
			v.Hold.Warm = append(v.Hold.Warm, n.Name)
		}
	}
	for _, m := range []struct {
		on   bool
		name string
	}{{topo.Paused, "paused"}, {topo.Failsafe, "failsafe_mode"}, {topo.Standby, "standby cluster"}} {
		if m.on {
			v.Modes = append(v.Modes, m.name)
		}
	}
	v.Servers = w.servers(st)
}

// servers are the members of the cluster, also those without an address.
func (w *window) servers(st *state) []admin.Server {
	probes := w.control.monitor.Health() // newer than those of the last decision
	list := []admin.Server{}
	for i := range st.topology.Members {
		list = append(list, w.server(st, &st.topology.Members[i], probes))
	}
	for _, n := range st.table.Nodes {
		if st.topology.Member(n.Name) == nil { // a primary that is kept without its key
			list = append(list, w.server(st, &route.Member{Name: n.Name, Addr: n.Addr}, probes))
		}
	}
	slices.SortFunc(list, func(a, b admin.Server) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func (w *window) server(st *state, m *route.Member, probes route.Health) admin.Server {
	t, h := st.table, probes[m.Name]
	n := t.Lookup(m.Name)
	standing := t.Standing(n)
	s := admin.Server{
		Name: m.Name, Addr: m.Addr, Patroni: m.State, State: admin.State(h.State.String()), Since: h.Since,
		Admin: standing.Admin.String(), Weight: standing.Weight, Throttle: 100, Limit: standing.MaxConn,
		Writes: t.Has(route.Primary, n), Reads: t.Has(route.Replica, n),
		Timeline: cmp.Or(h.Timeline, m.Timeline), Lag: -1, LagTime: -1,
		Downs: h.Downs, Downtime: h.Downtime.Seconds(),
	}
	if n != nil {
		s.Addr, s.Throttle = n.Addr, standing.Throttle
	}
	s.Role = m.Role
	switch {
	case s.Writes:
		s.Role = "primary"
	case n != nil && n == t.Candidate:
		s.Role = "candidate"
	case m.Role == "master": // Patroni 3's word
		s.Role = "primary (by Patroni)"
	}
	if !s.Writes && !s.Reads {
		s.Out, s.Drained = exclusion(t, m.Name)
	}
	if h.State == route.Down {
		s.Downtime += time.Since(h.Since).Seconds()
	}
	s.Lag, s.LagTime = lag(t, probes, m.Name)
	s.Check = lastCheck(w.config(), &h)
	return s
}

// exclusion says why a member gets no reads, and whether it could.
func exclusion(t *route.Table, name string) (why string, drained bool) {
	for _, x := range t.Out {
		if x.Name == name {
			return x.Reason, x.Cause >= route.OutMaint
		}
	}
	return t.Reason, false
}

// lag is how far a replica is behind, -1 where that is not known.
func lag(t *route.Table, probes route.Health, name string) (bytes int64, seconds float64) {
	h := probes[name]
	switch {
	case t.Primary != nil && t.Primary.Name == name, !h.InRecovery, h.State == route.Down:
		return -1, -1
	case h.LagKnown:
		return int64(h.LagBytes), h.LagTime.Seconds()
	case t.Primary != nil && h.LSN > 0 && probes[t.Primary.Name].LSN > 0:
		// By two checks at two times: at most some too much or too little.
		return max(int64(probes[t.Primary.Name].LSN)-int64(h.LSN), 0), -1
	default:
		return -1, -1
	}
}

func lastCheck(c *config.Config, h *route.NodeHealth) admin.Check {
	k := admin.Check{
		At: h.LastCheck, Took: h.Took.Seconds(), Status: cmp.Or(h.Check, "UNK"), Code: h.Code, Report: h.Report, Error: h.Err,
		Rise: cmp.Or(h.Rise, c.Probe.Rise), Fall: cmp.Or(h.Fall, c.Probe.Fall), Health: h.Rated, Failures: h.Failures,
	}
	switch {
	case h.Check != "" || h.LastCheck.IsZero():
	case h.Err == "":
		k.Status = "L7OK"
	case h.CheckError:
		k.Status = "L7RSP"
	default:
		k.Status = "L4CON"
	}
	if h.Rise == 0 && h.State == route.Up {
		k.Health = k.Rise + k.Fall - 1
	}
	return k
}

// sourceView tells of etcd, or of what takes its place.
func (w *window) sourceView(now time.Time, st *state) admin.SourceView {
	c, s := w.config(), w.control.source.Stats()
	v := admin.SourceView{
		Kind: c.Source.String(), Freshness: route.Blind.String(), Age: -1, Revision: s.Revision, Error: s.LastErr,
		Endpoints: []admin.Endpoint{},
	}
	if !st.newsAt.IsZero() {
		age := now.Sub(st.newsAt)
		v.Age, v.Freshness = age.Seconds(), route.FreshnessOf(age).String()
	}
	for _, name := range endpoints(c) {
		e := admin.Endpoint{Name: name, Age: -1}
		for _, f := range s.Following {
			if f.Endpoint != name {
				continue
			}
			e.InUse, e.Error = true, f.Err
			if !f.LastRead.IsZero() {
				e.Age = now.Sub(f.LastRead).Seconds()
			}
		}
		v.Endpoints = append(v.Endpoints, e)
	}
	return v
}

// endpoints are whom the source may ask, by the names in its Stats.
func endpoints(c *config.Config) []string {
	switch c.Source {
	case config.SourceEtcd:
		return etcdEndpoints(c)
	case config.SourcePatroni:
		return patroniURLs(&c.Patroni)
	case config.SourceStatic:
		return nil
	default:
		panic("BUG: source " + c.Source.String())
	}
}

func (w *window) ports() []admin.Port {
	c, logins := w.config(), &w.proxy.Counters().LoginsBy
	return []admin.Port{
		{Role: route.Primary.String(), Addresses: listening(w.primary), Limit: c.MaxClientConn, Logins: logins[route.Primary].Load(), Balance: "first"},
		{Role: route.Replica.String(), Addresses: listening(w.replicas), Limit: c.MaxClientConn, Logins: logins[route.Replica].Load(), Balance: w.proxy.Table().Balance.String()},
	}
}

func listening(all []net.Listener) []string {
	list := []string{}
	for _, l := range all {
		if l.Addr().Network() == "tcp" {
			list = append(list, l.Addr().String())
		}
	}
	return list
}

func (w *window) limits() []admin.Limit {
	c := w.config()
	return []admin.Limit{
		{Name: "max_client_conn", Used: w.proxy.Clients(), Max: c.MaxClientConn},
		{Name: "failover_wait_max_clients", Used: int(w.proxy.Counters().Parked.Load() + w.proxy.Counters().LoginsParked.Load()), Max: c.FailoverWaitMaxClients},
		{Name: "max_replication_connections", Used: w.proxy.Streams(), Max: c.MaxReplicationConnections},
	}
}
