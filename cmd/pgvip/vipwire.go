package main

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/pgvip/pgvip/cluster"
	"github.com/pgvip/pgvip/config"
	"github.com/pgvip/pgvip/vrrp/beat"
)

// vipAddresses are the virtual addresses as operators write them.
func vipAddresses(all []netip.Prefix) []string {
	list := make([]string, len(all))
	for i, p := range all {
		list[i] = p.Addr().String()
		if !p.IsSingleIP() {
			list[i] = p.String()
		}
	}
	return list
}

// onVIP reports which addresses are virtual ones. They stay the same while pgvip runs.
func onVIP(c *config.Config) func(netip.Addr) bool {
	all := make(map[netip.Addr]bool)
	for _, p := range c.VIP.Addresses {
		all[p.Addr()] = true
	}
	return func(a netip.Addr) bool { return all[a.Unmap().WithZone("")] }
}

// watchedFlows says whose connections the other nodes are to know; nil for nobody's.
func watchedFlows(c *config.Config) func(netip.Addr) bool {
	if !c.VIP.Enabled() {
		return nil
	}
	return onVIP(c)
}

// newVIPClients makes what keeps the clients of the virtual IP.
func (n *node) newVIPClients(c *config.Config) *vipClients {
	return &vipClients{
		self: nodeName(c), log: n.log,
		take: n.proxy.TakeFlows, end: n.proxy.EndMoved, isVIP: onVIP(c),
		status: func() beat.Status { return n.vip.Status().Status },
		tickle: n.vip.Tickle,
		publish: func(opened, closed []cluster.Flow) {
			if n.cluster != nil {
				n.cluster.Publish(opened, closed)
			}
		},
		flowsOf: func(name string) []cluster.Flow {
			if n.cluster == nil {
				return nil
			}
			return n.cluster.FlowsOf(name)
		},
		tookOver: func() {
			if n.cluster != nil {
				n.cluster.TookOver()
			}
		},
		peers: func() []string { return slices.Sorted(maps.Keys(n.config().Cluster.Peers)) },
		wake:  make(chan struct{}, 1),
	}
}
