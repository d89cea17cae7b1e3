package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/pgvip/pgvip/config"
	"github.com/pgvip/pgvip/vrrp/beat"
)

// keeperConfig is what the keeper works by.
func keeperConfig(c *config.Config, boot string) (beat.Config, error) {
	name := nodeName(c)
	if _, ok := c.Cluster.Peers[name]; ok {
		return beat.Config{}, fmt.Errorf("cluster.peers.%s is this node itself, by the name of its host: set cluster.name", name)
	}
	keys, err := c.Cluster.Keys()
	if err != nil {
		return beat.Config{}, ofKey("cluster.keys", err)
	}
	k := beat.Config{
		Node: name, Boot: boot, Cluster: c.Scope,
		VIP:       keeperVIP(&c.VIP),
		Heartbeat: config.Ends(c.Cluster.Address, c.Cluster.Heartbeat),
		Keys:      keys,
	}
	for _, name := range slices.Sorted(maps.Keys(c.Cluster.Peers)) {
		p := c.Cluster.Peers[name]
		k.Peers = append(k.Peers, beat.Peer{Name: name, Heartbeat: config.Ends(p.Address, p.Heartbeat)})
	}
	if c.Arbiter() == config.ArbiterEtcd {
		e := &c.Etcd
		k.Etcd = &beat.Etcd{
			Endpoints: etcdEndpoints(c), TLS: e.Protocol == "https",
			CACert: e.CACert, Cert: e.Cert, Key: e.Key, Username: e.Username, Password: e.Password.Reveal(),
		}
	}
	return k, nil
}

func keeperVIP(v *config.VIP) beat.VIP {
	return beat.VIP{
		Interface: v.Interface, Addresses: v.Addresses,
		VirtualRouterID: uint8(v.VirtualRouterID), Priority: uint8(v.Priority), Version: uint8(v.Version),
		AdvertInt: v.AdvertInt, DownTimerAdverts: v.DownTimerAdverts,
		Preempt: v.Preempt, PreemptDelay: v.PreemptDelay, StartupDelay: v.StartupDelay,
		UnicastSource: v.UnicastSource, UnicastPeers: v.UnicastPeers,
		Checksum: v.Checksum, AuthPass: v.AuthPass.Reveal(), EtcdDownTakeover: v.EtcdDownTakeover,
		GARPMasterDelay: v.GARPMasterDelay, GARPMasterRepeat: v.GARPMasterRepeat, GARPMasterRefresh: v.GARPMasterRefresh,
	}
}
