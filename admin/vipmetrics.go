package admin

import "strings"

func (m *meter) vip(p *VIP) {
	if p == nil {
		return
	}
	for _, s := range []VIPState{VIPInit, VIPBackup, VIPActive, VIPFault} {
		m.gauge("pgvip_vip_state", "1 for the state of this node in the election of the virtual IP, 0 for the others.",
			truth(p.State == s), "state", strings.ToLower(string(s)))
	}
	m.gauge("pgvip_vip_active", "1 while this node is Active.", truth(p.State == VIPActive))
	m.gauge("pgvip_vip_holds", "1 while the virtual IP is on this node's interface.", truth(p.Holds))
	m.gauge("pgvip_vip_epoch", "Epoch of the ownership of the virtual IP; 0 without an arbiter.", float64(p.Epoch))
	m.gauge("pgvip_vip_priority", "Priority in the election, with the weights that apply.", float64(p.Priority))
	m.gauge("pgvip_vip_arbiter", "1 while etcd arbitrates, 0 while it is out of reach or there is no arbiter.",
		truth(p.Arbiter != noArbiter && p.Arbiter != arbiterOutage))
	m.gauge("pgvip_vip_drained", "1 while an operator keeps this node out of the election.", truth(p.Drained))
	m.gauge("pgvip_vip_unconfirmed_seconds", "How long the ownership may go on unconfirmed; 0 when not owning.", p.Until)
	for _, c := range []struct {
		name, help string
		n          uint64
	}{
		{"adverts_sent", "VRRP adverts sent.", p.Counters.AdvertsSent},
		{"adverts_received", "VRRP adverts received.", p.Counters.AdvertsReceived},
		{"adverts_bad", "VRRP adverts that were not accepted.", p.Counters.AdvertsBad},
		{"became_active", "How often this node became Active.", p.Counters.BecameActive},
		{"gave_up", "How often it gave the virtual IP up.", p.Counters.GaveUp},
		{"refuted", "Claims of other nodes that were refuted.", p.Counters.Refuted},
		{"announcements", "Gratuitous ARP packets and neighbour advertisements sent.", p.Counters.GARPSent},
		{"readded", "How often the address had been removed by somebody and was added again.", p.Counters.Readded},
		{"conflicts", "ARP packets and neighbour advertisements of a rival for the address.", p.Counters.Conflicts},
		{"tickled", "Clients of another owner that were reset after a takeover.", p.Counters.Tickled},
		{"keeper_starts", "Starts of the keeper process.", p.Keeper.Starts},
	} {
		m.total("pgvip_vip_"+c.name+"_total", c.help, float64(c.n))
	}
	for i := range p.Peers {
		peer := &p.Peers[i]
		m.gauge("pgvip_vip_peer_up", "1 while a node answers this one's keeper.", truth(peer.Healthy), "peer", peer.Name)
		for _, path := range peer.Paths {
			if path.Heard >= 0 {
				m.gauge("pgvip_vip_peer_heard_age_seconds", "Time since a node was last heard on a path.", path.Heard,
					"peer", peer.Name, "path", path.Local)
			}
		}
	}
}

func (m *meter) cluster(c *ClusterView) {
	if c == nil {
		return
	}
	for i := range c.Nodes {
		n := &c.Nodes[i]
		m.gauge("pgvip_cluster_node_here", "1 while a pgvip of the cluster is here.", truth(n.Presence == here), "node", n.Name)
		m.gauge("pgvip_cluster_node_same_config", "0 when what must be equal on all nodes differs from this node's.", truth(n.SameConfig), "node", n.Name)
		m.gauge("pgvip_cluster_node_vip_clients", "Clients of a node on the virtual IP.", float64(n.Clients), "node", n.Name)
	}
	for _, k := range c.Counters {
		m.total("pgvip_cluster_"+k.Name+"_total", "Of this node's part in the cluster; see docs/cluster.md.", float64(k.Value))
	}
}
