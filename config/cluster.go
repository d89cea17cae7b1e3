package config

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Cluster is what this pgvip and the others know of each other.
type Cluster struct {
	Name    string  // of this node; "" is the host's
	Address Address // where membership listens, TCP and UDP; zero without peers
	// Heartbeat are this node's ends of the paths of the VIP's pings; use Ends.
	Heartbeat []netip.AddrPort
	// Secrets seals all of it: base64, one key a line or between blanks; use Keys.
	Secrets Secret
	Peers   map[string]Peer // the other nodes, by the names they give themselves
	// SharedLimits makes limits on server connections count for all nodes together.
	SharedLimits bool
}

// Peer is another pgvip node.
type Peer struct {
	Address   Address
	Heartbeat []netip.AddrPort // empty is Address's host and the port after it
}

// Bounds of package cluster.
const (
	mostOtherNodes = 16
	mostNodeName   = 64
)

func clusterSectionKeys() []setting[Cluster] {
	return slices.Concat([]setting[Cluster]{
		atStart(key("name", "", nodeName, func(c *Cluster) *string { return &c.Name })),
		atStart(key("address", "", peerAddress, func(c *Cluster) *Address { return &c.Address })),
		atStart(list("heartbeat", "", ipPort, func(c *Cluster) *[]netip.AddrPort { return &c.Heartbeat })),
	}, secret("keys", func(c *Cluster) *Secret { return &c.Secrets }), []setting[Cluster]{
		atStart(key("shared_limits", "true", flag, func(c *Cluster) *bool { return &c.SharedLimits })),
		atStart(table("peers", peerKeys(), func(c *Cluster) *map[string]Peer { return &c.Peers })),
	})
}

func peerKeys() []setting[Peer] {
	return []setting[Peer]{
		must(key("address", "", peerAddress, func(p *Peer) *Address { return &p.Address })),
		list("heartbeat", "", ipPort, func(p *Peer) *[]netip.AddrPort { return &p.Heartbeat }),
	}
}

// Keys gives the keys that seal what nodes tell each other; the first one sends.
func (c *Cluster) Keys() ([][]byte, error) {
	var keys [][]byte
	for i, text := range strings.Fields(c.Secrets.Reveal()) {
		// The text of a faulty key stands in no error: it is a secret.
		k, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("must be base64, key %d is not", i+1)
		}
		if n := len(k); n != 16 && n != 24 && n != 32 {
			return nil, fmt.Errorf("must have 16, 24 or 32 bytes, key %d has %d", i+1, n)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// Ends gives a node's ends of the heartbeat paths: those that it names, or the
// port after its address; none when that has a name for a host.
func Ends(address Address, heartbeat []netip.AddrPort) []netip.AddrPort {
	if len(heartbeat) > 0 {
		return heartbeat
	}
	a, err := netip.ParseAddr(address.Host)
	if err != nil || address.Port >= 1<<16-1 {
		return nil
	}
	return []netip.AddrPort{netip.AddrPortFrom(a.Unmap(), uint16(address.Port+1))}
}

// checkPeers applies the rules of the cluster section.
func (r *reader) checkPeers(c *Config) {
	k := &c.Cluster
	keys, err := k.Keys()
	if err != nil {
		r.faultAt(r.firstGiven("cluster.keys", "cluster.keys_file", "cluster.keys_env"), "%s", err)
	}
	if len(k.Peers) == 0 {
		return
	}
	if len(k.Peers) > mostOtherNodes {
		r.faultAt("cluster.peers", "must be at most %d, are %d", mostOtherNodes, len(k.Peers))
	}
	if k.Address == (Address{}) && !r.faulty("cluster.address") {
		r.faultAt("cluster.address", "is required with peers")
	}
	if len(keys) == 0 && err == nil && !r.faulty("cluster.keys_file") && !r.faulty("cluster.keys_env") {
		r.faultAt("cluster.keys_file", "is required with peers, or keys_env: "+
			"what nodes tell each other decides who owns the virtual IP")
	}
	r.checkNames(k)
	r.checkPaths(k)
}

// checkNames wants every node once.
func (r *reader) checkNames(k *Cluster) {
	taken := map[Address]string{}
	if k.Address != (Address{}) {
		taken[k.Address] = "this node"
	}
	for _, name := range slices.Sorted(maps.Keys(k.Peers)) {
		path, p := join("cluster.peers", name), k.Peers[name]
		if _, err := nodeName(name); err != nil {
			r.faultAt(path, "%s", err)
		}
		if name == k.Name {
			r.faultAt(path, "is this node's own name: name the others only")
		}
		if other, ok := taken[p.Address]; ok && p.Address != (Address{}) {
			r.faultAt(path+".address", "is %s, which %s has", p.Address, other)
		}
		taken[p.Address] = name
	}
}

// checkPaths wants each end of a heartbeat path once, and as many as can be paired.
func (r *reader) checkPaths(k *Cluster) {
	taken := map[netip.AddrPort]string{}
	one := func(path, who string, address Address, list []netip.AddrPort) {
		ends := Ends(address, list)
		if len(ends) == 0 && address != (Address{}) && !r.faulty(path) {
			r.faultAt(path, "is required, for address has no IP address that it could be derived from")
		}
		for _, end := range ends {
			if other, ok := taken[end]; ok {
				r.faultAt(path, "has %s, which %s has", end, other)
			}
			taken[end] = who
		}
	}
	one("cluster.heartbeat", "this node", k.Address, k.Heartbeat)
	for _, name := range slices.Sorted(maps.Keys(k.Peers)) {
		p := k.Peers[name]
		one(join("cluster.peers", name)+".heartbeat", name, p.Address, p.Heartbeat)
	}
}

// firstGiven gives the first of some keys that the file has, else the first.
func (r *reader) firstGiven(paths ...string) string {
	for _, p := range paths {
		if r.given(p) {
			return p
		}
	}
	return paths[0]
}
