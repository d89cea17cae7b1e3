package main

import (
	"github.com/pgvip/pgvip/cluster"
	"github.com/pgvip/pgvip/config"
	"github.com/pgvip/pgvip/pool"
)

// ledger is the pools' as the cluster sees it: the kinds of limits have the same
// meaning on both sides, but neither package knows the other.
type ledger struct{ pools *pool.Set }

var (
	clusterKinds = map[pool.SharedKind]cluster.LimitKind{
		pool.SharedUser: cluster.UserLimit, pool.SharedDatabase: cluster.DatabaseLimit, pool.SharedNode: cluster.NodeLimit,
	}
	poolKinds = map[cluster.LimitKind]pool.SharedKind{
		cluster.UserLimit: pool.SharedUser, cluster.DatabaseLimit: pool.SharedDatabase, cluster.NodeLimit: pool.SharedNode,
	}
)

// Limits implements cluster.Ledger.
func (l ledger) Limits() []cluster.Limit {
	var list []cluster.Limit
	for _, s := range l.pools.SharedLimits() {
		key := cluster.LimitKey{Kind: clusterKinds[s.Kind], Addr: s.Addr, Name: s.Name}
		list = append(list, cluster.Limit{LimitKey: key, Max: s.Max, Used: s.Used, Demand: s.Demand})
	}
	return list
}

// Share implements cluster.Ledger.
func (l ledger) Share(key cluster.LimitKey, share int) int {
	return l.pools.Share(poolKinds[key.Kind], key.Addr, key.Name, share)
}

// Elsewhere implements cluster.Ledger.
func (l ledger) Elsewhere(addr string, used int) { l.pools.Elsewhere(addr, used) }

// shareLimits makes limits on server connections count for all nodes together, unless
// the configuration says otherwise. Until the cluster is there, this node has nothing.
func (n *node) shareLimits(c *config.Config) cluster.Ledger {
	if !c.Cluster.SharedLimits {
		return nil
	}
	n.pools.ShareLimits(
		func(most int) int {
			if k := n.sharing.Load(); k != nil {
				return k.InitialShare(most)
			}
			return 0
		},
		func() {
			if k := n.sharing.Load(); k != nil {
				k.Wake()
			}
		})
	return ledger{n.pools}
}
