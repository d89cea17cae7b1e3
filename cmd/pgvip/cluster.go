package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/cluster"
	"github.com/pgvip/pgvip/config"
	"github.com/pgvip/pgvip/route"
)

// statusInterval is how often the others' picture of this node is renewed.
const statusInterval = 250 * time.Millisecond

// newBoot makes a name for this process that no other has.
func newBoot() string { return rand.Text() }

// nodeName is the name under which the other nodes know this one.
func nodeName(c *config.Config) string {
	if c.Cluster.Name != "" {
		return c.Cluster.Name
	}
	name, err := os.Hostname()
	if err != nil {
		return "pgvip"
	}
	return name
}

// startCluster makes this node known to the others; without any it does nothing.
func (n *node) startCluster() error {
	c := n.config()
	if len(c.Cluster.Peers) == 0 || !c.Cluster.Secrets.IsSet() {
		return nil
	}
	keys, err := c.Cluster.Keys()
	if err != nil {
		return err
	}
	ledger := n.shareLimits(c)
	n.cluster, err = cluster.New(cluster.Options{
		Name: nodeName(c), Scope: c.Namespace + c.Scope, Boot: n.boot, Version: version,
		PeerID: c.PeerID, ConfigHash: configHash(c),
		Address: c.Cluster.Address.String(), Keys: keys, Peers: clusterPeers(c),
		Log: n.log, Event: n.clusterEvent, Cancel: n.cancelFor, Ledger: ledger,
	})
	if err != nil {
		return err
	}
	n.sharing.Store(n.cluster)
	if c.PeerID == 0 {
		n.log.Warn("peer_id is 0: cancel requests that come to another node are not forwarded to this one")
	}
	return nil
}

func clusterPeers(c *config.Config) []cluster.Peer {
	var list []cluster.Peer
	for _, name := range slices.Sorted(maps.Keys(c.Cluster.Peers)) {
		list = append(list, cluster.Peer{Name: name, Address: c.Cluster.Peers[name].Address.String()})
	}
	return list
}

// reloadCluster makes new keys and peers count.
func (n *node) reloadCluster(c *config.Config) {
	if n.cluster == nil {
		return
	}
	keys, err := c.Cluster.Keys()
	if err == nil {
		err = n.cluster.Reload(keys, clusterPeers(c), configHash(c))
	}
	if err != nil {
		n.log.Error("reload: cluster", zap.Error(err)) // config has found what can be wrong
	}
}

// stopCluster says goodbye to the other nodes.
func (n *node) stopCluster() {
	if n.cluster != nil {
		n.cluster.Close()
	}
}

// clusterEvent logs what happens to the other nodes, and keeps it for the timeline.
func (n *node) clusterEvent(e cluster.Event) {
	log := n.log.Info
	if e.Warn {
		log = n.log.Warn
	}
	log("cluster: "+e.Text, zap.String("node", e.Node), zap.String("event", string(e.Kind)))
	n.control.record.noteOther(time.Now(), "cluster: "+string(e.Kind), e.Node+": "+e.Text, e.Warn)
}

// keepStatus tells the other nodes how this one is, until ctx ends.
func (n *node) keepStatus(ctx context.Context) {
	tick := time.NewTicker(statusInterval)
	defer tick.Stop()
	for {
		n.cluster.SetStatus(n.clusterStatus())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// clusterStatus is what the others are told of this node.
func (n *node) clusterStatus() cluster.Status {
	s := cluster.Status{
		Fitness: cluster.Fitness{Listening: n.accepting.Load() && !n.stopping.Load()},
		Counters: map[string]uint64{
			"clients": uint64(n.proxy.Clients()),
			"logins":  n.proxy.Counters().Logins.Load(),
			"cancels": n.proxy.Counters().Cancels.Load(),
		},
	}
	if t := n.proxy.Table(); t != nil {
		for _, node := range t.Nodes {
			if p, known := n.control.record.state().probes[node.Name]; known && p.State == route.Up {
				s.Fitness.Healthy++
			}
		}
	}
	if n.vip != nil {
		s.Fitness, s.VIP = cluster.Fitness(n.vip.fitness()), n.clusterVIP()
	}
	return s
}

// clusterVIP is this node's part in the virtual IP.
func (n *node) clusterVIP() cluster.VIP {
	st := n.vip.Status()
	return cluster.VIP{
		State: string(st.State), Holds: st.Holds, Epoch: st.Epoch, Address: vipAddresses(n.config().VIP.Addresses)[0],
	}
}

// forwardCancel has another node carry out a cancel request.
func (n *node) forwardCancel(ctx context.Context, peer int, id uint32, key []byte, from net.Addr) (bool, error) {
	if n.cluster == nil {
		return false, cluster.ErrNoPeer
	}
	r := cluster.CancelRequest{ProcessID: id, Secret: key}
	if tcp, ok := from.(*net.TCPAddr); ok {
		r.From = tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return n.cluster.ForwardCancel(ctx, peer, r)
}

// cancelFor carries out a cancel request that came to another node.
func (n *node) cancelFor(r cluster.CancelRequest) bool {
	var from net.Addr = &net.UnixAddr{Net: "unix"}
	if r.From.IsValid() {
		from = net.TCPAddrFromAddrPort(netip.AddrPortFrom(r.From, 0))
	}
	return n.proxy.CancelFor(r.ProcessID, r.Secret, from)
}

// ownSettings are keys, or beginnings of keys, whose values may differ from node to
// node.
var ownSettings = []string{
	"listen.", "admin.", "log.", "cluster.", "vip.", "loops", "peer_id", "verbose", "log_", "listen_backlog",
	"auth_file", "auth_hba_file", "auth_ident_file", "client_tls_", "server_tls_", "unix_socket",
	"etcd.", "patroni.", "patroni_api.", "etcd_", "stats_period",
}

// configHash is equal on nodes that treat clients and servers alike.
func configHash(c *config.Config) string {
	h := sha256.New()
	for _, e := range config.Entries(c) {
		own := slices.ContainsFunc(ownSettings, func(s string) bool { return strings.HasPrefix(e.Key, s) })
		if !own {
			fmt.Fprintf(h, "%s=%q\n", e.Key, e.Value)
		}
	}
	hashTable(h, "databases", c.Databases)
	hashTable(h, "users", c.Users)
	hashTable(h, "servers", c.Servers)
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// hashTable writes the entries of a section in order; secrets show as such only.
func hashTable[T any](w io.Writer, section string, table map[string]T) {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		fmt.Fprintf(w, "%s.%q=%+v\n", section, name, table[name])
	}
}
