package admin

import (
	"strings"
	"testing"
	"time"
)

// withVIP is the healthy cluster behind two nodes, of which this one has the address.
func withVIP() *stage {
	s := healthy()
	s.view.VIP = &VIP{
		Node: "lb1", Addresses: []string{"10.0.0.100"}, Interface: "eth0",
		State: VIPActive, Since: ago(26 * time.Hour), Holds: true, Owner: "lb1", Epoch: 12, Arbiter: "etcd", Until: 0.431, Priority: 150,
		Reason:  "owns the address, term 12",
		Fitness: Fitness{Listening: true, Healthy: 3},
		Keeper:  Keeper{PID: 4712, Age: 0.04, Starts: 1},
		Peers: []VIPPeer{{Name: "lb2", Healthy: true, Heard: 0.06, Fitness: Fitness{Listening: true, Healthy: 3, Weight: -20},
			Paths: []VIPPath{{"10.0.0.5:7947", 0.06}, {"192.168.9.5:7947", 0.09}}}},
		Counters: VIPCounters{AdvertsSent: 936004, BecameActive: 1, GARPSent: 1570},
	}
	s.view.Cluster = &ClusterView{Self: "lb1", Nodes: []ClusterNode{
		{Name: "lb1", Self: true, Address: "10.0.0.5:7946", Presence: here, Since: ago(26 * time.Hour), Version: "0.9.0", PeerID: 1, SameConfig: true,
			Uptime: 93780, Clients: 400, State: VIPActive, Holds: true, Epoch: 12, Fitness: Fitness{Listening: true, Healthy: 3}},
		{Name: "lb2", Address: "10.0.0.6:7946", Presence: here, Since: ago(4 * time.Hour), Heard: 0.3, Version: "0.9.0", PeerID: 2, SameConfig: true,
			Uptime: 14400, State: VIPBackup, Epoch: 12, Fitness: Fitness{Listening: true, Healthy: 3, Weight: -20}},
	}, Counters: []ClusterCounter{{"refused", 2}}}
	return s
}

// lostVIP is a node that an operator has drained, whose peers are not as they
// should be, and which has no arbiter.
func lostVIP() *stage {
	s := withVIP()
	v := &s.view
	v.Ready, v.NotReady = false, "drained by an operator"
	p, c := v.VIP, v.Cluster
	p.State, p.Since, p.Holds, p.Owner, p.Epoch, p.Arbiter, p.Until, p.Drained = VIPFault, ago(40*time.Second), false, "", 0, "none", 0, true
	p.Reason = `gives up the address: "drained"`
	p.Keeper = Keeper{PID: 0, Age: 3.2, Starts: 4, Trouble: "no beat for 612ms"}
	p.Fitness.Fault = "drained by an operator"
	p.Peers[0].Healthy, p.Peers[0].Heard, p.Peers[0].Paths[0].Heard, p.Peers[0].Paths[1].Heard = false, 41, 41, -1
	p.Counters = VIPCounters{AdvertsSent: 9, AdvertsReceived: 8, AdvertsBad: 7, BecameActive: 6, GaveUp: 5, Refuted: 4, GARPSent: 3, Readded: 2, Conflicts: 1, Tickled: 400}
	c.Nodes[0].State, c.Nodes[0].Holds, c.Nodes[0].Clients = VIPFault, false, 0
	c.Nodes[1].Presence, c.Nodes[1].Trouble, c.Nodes[1].SameConfig, c.Nodes[1].Heard = "unreachable", "10.0.0.6:7946: connect: no route to host", false, 41
	return s
}

func TestStateOfTheVIPInAHeader(t *testing.T) {
	for _, tt := range []struct {
		s    *stage
		want string
	}{{healthy(), ""}, {withVIP(), "ACTIVE"}, {lostVIP(), "FAULT"}} {
		url := serve(t, tt.s, Rules{})
		for _, path := range []string{"/healthz", "/readyz"} {
			answer, _ := ask(t, "GET", url+path)
			if got := answer.Header.Get(stateHeader); got != tt.want {
				t.Errorf("%s: %q, want %q", path, got, tt.want)
			}
		}
	}
}

func TestVIPInMetrics(t *testing.T) {
	url := serve(t, lostVIP(), Rules{})
	_, body := ask(t, "GET", url+"/metrics")
	wants(t, body,
		`pgvip_vip_state{state="fault"} 1`, `pgvip_vip_state{state="active"} 0`, "pgvip_vip_active 0", "pgvip_vip_holds 0",
		"pgvip_vip_arbiter 0", "pgvip_vip_drained 1", "pgvip_vip_tickled_total 400", "pgvip_vip_readded_total 2", "pgvip_vip_keeper_starts_total 4",
		`pgvip_vip_peer_up{peer="lb2"} 0`, `pgvip_vip_peer_heard_age_seconds{path="10.0.0.5:7947",peer="lb2"} 41`,
		`pgvip_cluster_node_here{node="lb2"} 0`, `pgvip_cluster_node_same_config{node="lb2"} 0`, "pgvip_cluster_refused_total 2")
	if strings.Contains(body, `path="192.168.9.5:7947"`) {
		t.Error("a path on which nothing was ever heard has an age")
	}
	_, body = ask(t, "GET", serve(t, healthy(), Rules{})+"/metrics")
	if strings.Contains(body, "pgvip_vip_") || strings.Contains(body, "pgvip_cluster_") {
		t.Error("there are metrics of a virtual IP that there is not")
	}
}
