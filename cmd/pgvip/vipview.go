package main

import (
	"time"

	"github.com/pgvip/pgvip/admin"
	"github.com/pgvip/pgvip/cluster"
	"github.com/pgvip/pgvip/console"
	"github.com/pgvip/pgvip/vrrp/beat"
	"github.com/pgvip/pgvip/vrrp/supervise"
)

// What operators see of the virtual IP and of the other nodes.

// vipView is nil without a virtual IP.
func (w *window) vipView(now time.Time) *admin.VIP {
	if w.vip == nil {
		return nil
	}
	st, c := w.vip.Status(), &w.config().VIP
	v := &admin.VIP{
		Node: nodeName(w.config()), Addresses: vipAddresses(c.Addresses), Interface: c.Interface,
		State: admin.VIPState(st.State), Since: w.vipEvents.Since(), Holds: st.Holds, Owner: st.Owner, Epoch: st.Epoch,
		Arbiter: st.Arbiter, Until: st.Until.Seconds(), Priority: st.Priority, Reason: st.Reason, Drained: w.vip.Drained(),
		Fitness:  fitnessView(w.vip.fitness()),
		Keeper:   admin.Keeper{PID: st.PID, Age: -1, Starts: st.Starts, Trouble: st.Trouble},
		Peers:    []admin.VIPPeer{},
		Counters: admin.VIPCounters(st.Counters),
		Events:   w.vipEvents.list(),
	}
	if !st.Heard.IsZero() {
		v.Keeper.Age = now.Sub(st.Heard).Seconds()
	}
	for _, p := range st.Peers {
		peer := admin.VIPPeer{Name: p.Name, Healthy: p.Healthy, Heard: ageOf(p.Heard), Paths: []admin.VIPPath{}, Fitness: fitnessView(p.Fitness)}
		for _, path := range p.Paths {
			peer.Paths = append(peer.Paths, admin.VIPPath{Local: path.Local, Heard: ageOf(path.Heard)})
		}
		v.Peers = append(v.Peers, peer)
	}
	return v
}

func fitnessView(f beat.Fitness) admin.Fitness {
	return admin.Fitness{Listening: f.Listening, Blind: f.Blind, Healthy: f.Healthy, Weight: f.Weight, Fault: f.Fault}
}

// ageOf gives seconds, -1 for never.
func ageOf(d time.Duration) float64 {
	if d < 0 {
		return -1
	}
	return d.Seconds()
}

// clusterView is nil without other nodes.
func (n *node) clusterView(now time.Time) *admin.ClusterView {
	if n.cluster == nil {
		return nil
	}
	v := n.cluster.View()
	c := &admin.ClusterView{Self: v.Self, Nodes: []admin.ClusterNode{}, Counters: []admin.ClusterCounter{
		{Name: "malformed", Value: v.Counters.Malformed}, {Name: "strangers", Value: v.Counters.Strangers},
		{Name: "refused", Value: v.Counters.Refused}, {Name: "crowded", Value: v.Counters.Crowded},
		{Name: "join_errors", Value: v.Counters.JoinErrors},
		{Name: "send_errors", Value: v.Counters.SendErrors}, {Name: "flows_dropped", Value: v.Counters.FlowsDropped},
		{Name: "cancels_forwarded", Value: v.Counters.CancelsForwarded}, {Name: "cancels_served", Value: v.Counters.CancelsServed},
		{Name: "cancels_refused", Value: v.Counters.CancelsRefused},
	}}
	for i := range v.Nodes {
		c.Nodes = append(c.Nodes, clusterNodeView(&v.Nodes[i], now))
		if k := &c.Nodes[i]; k.Self && n.vip != nil { // what the others are told is some time old
			s := n.clusterVIP()
			k.State, k.Holds, k.Epoch = admin.VIPState(s.State), s.Holds, s.Epoch
		}
	}
	return c
}

func clusterNodeView(k *cluster.Node, now time.Time) admin.ClusterNode {
	s, f := &k.Status.VIP, &k.Status.Fitness
	return admin.ClusterNode{
		Name: k.Name, Self: k.Self, Address: k.Address, Presence: string(k.Presence), Since: now.Add(-k.Since), Heard: ageOf(k.Heard),
		Trouble: k.Trouble, Version: k.Version, PeerID: k.PeerID, SameConfig: k.SameConfig, Uptime: k.Uptime.Seconds(), Clients: k.Flows,
		State: admin.VIPState(s.State), Holds: s.Holds, Epoch: s.Epoch,
		Fitness: admin.Fitness{Listening: f.Listening, Blind: f.Blind, Healthy: f.Healthy, Weight: f.Weight, Fault: f.Fault},
	}
}

// VIP implements console.Target.
func (d *desk) VIP() []console.VIP {
	if d.vip == nil {
		return nil
	}
	st, c := d.vip.Status(), &d.config().VIP
	age := time.Duration(-1)
	if !st.Heard.IsZero() {
		age = time.Since(st.Heard)
	}
	var list []console.VIP
	for _, address := range vipAddresses(c.Addresses) {
		list = append(list, consoleVIP(&st, console.VIP{
			Address: address, Interface: c.Interface, Since: d.vipEvents.Since(), Drained: d.vip.Drained(), KeeperAge: age,
		}))
	}
	return list
}

func consoleVIP(st *supervise.Status, v console.VIP) console.VIP {
	v.State, v.Holds, v.Owner, v.Epoch, v.Arbiter = string(st.State), st.Holds, st.Owner, st.Epoch, st.Arbiter
	v.Until, v.Priority, v.Reason, v.KeeperPID = st.Until, st.Priority, st.Reason, st.PID
	k := &st.Counters
	v.AdvertsSent, v.AdvertsReceived, v.BecameActive, v.GaveUp, v.Refuted = k.AdvertsSent, k.AdvertsReceived, k.BecameActive, k.GaveUp, k.Refuted
	v.Announcements, v.Readded, v.Conflicts, v.Tickled = k.GARPSent, k.Readded, k.Conflicts, k.Tickled
	return v
}

// Cluster implements console.Target.
func (d *desk) Cluster() []console.ClusterNode {
	if d.cluster == nil {
		return nil
	}
	v := d.cluster.View()
	var list []console.ClusterNode
	for i := range v.Nodes {
		k := &v.Nodes[i]
		s, f := &k.Status.VIP, &k.Status.Fitness
		list = append(list, console.ClusterNode{
			Name: k.Name, Address: k.Address, Presence: string(k.Presence), Since: k.Since, Heard: k.Heard, Trouble: k.Trouble,
			State: s.State, Holds: s.Holds, Epoch: s.Epoch, Clients: k.Flows,
			Listening: f.Listening, Blind: f.Blind, Healthy: f.Healthy, Weight: f.Weight, Fault: f.Fault,
			Version: k.Version, PeerID: k.PeerID, SameConfig: k.SameConfig, Uptime: k.Uptime,
		})
	}
	return list
}
