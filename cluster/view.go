package cluster

import (
	"maps"
	"slices"
	"time"
)

// View is what this node knows of the cluster, as plain values.
type View struct {
	Self     string
	Nodes    []Node // this node first, then by name
	Counters Counters
}

// Presence says whether a node is here.
type Presence string

// Presences.
const (
	Here        Presence = "here"
	Left        Presence = "left"        // it has said goodbye
	Unreachable Presence = "unreachable" // it was here
	Never       Presence = "never seen"
)

// Node is one node of the cluster.
type Node struct {
	Name     string
	Self     bool
	Address  string
	Presence Presence
	Since    time.Duration // how long it has been so
	Heard    time.Duration // how long ago its last message came; -1 for never
	// Trouble says why a node that is not here could not be reached.
	Trouble string

	Boot       string
	Version    string
	PeerID     int
	ConfigHash string
	// SameConfig is false when what must be equal on all nodes differs here.
	SameConfig bool
	Uptime     time.Duration // as of its last report
	Flows      int           // clients on the virtual IP
	Status     Status
}

// Counters only grow.
type Counters struct {
	Malformed  uint64 // messages that were not understood
	Strangers  uint64 // packets and connections from addresses of no peer
	Refused    uint64 // words of nodes that are not admitted
	Crowded    uint64 // connections beyond those that one peer may have
	JoinErrors uint64 // attempts to reach a peer that is not here
	SendErrors uint64 // messages that could not be sent

	CancelsForwarded uint64 // cancel requests sent to a peer
	CancelsServed    uint64 // carried out for a peer
	CancelsRefused   uint64 // of a peer that is not here, or one too many

	FlowsDropped uint64 // clients beyond MaxFlows
}

// View gives the cluster as this node sees it now. It is the caller's.
func (c *Cluster) View() View {
	names := c.roster.names()
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	v := View{Self: c.options.Name, Counters: c.counters}
	v.Counters.Strangers, v.Counters.Crowded = c.transport.strangers.Load(), c.transport.crowded.Load()
	v.Counters.FlowsDropped = c.flows.dropped
	v.Nodes = append(v.Nodes, Node{
		Name: c.options.Name, Self: true, Address: c.transport.self.String(), Presence: Here, Since: now, Heard: 0,
		Boot: c.options.Boot, Version: c.options.Version, PeerID: c.options.PeerID,
		ConfigHash: c.configHash, SameConfig: true, Uptime: now, Flows: len(c.flows.set), Status: c.status.bounded(),
	})
	for _, name := range names {
		v.Nodes = append(v.Nodes, c.nodeLocked(name, now))
	}
	return v
}

func (c *Cluster) nodeLocked(name string, now time.Duration) Node {
	n := Node{Name: name, Address: c.roster.address(name), Presence: Never, Since: now, Heard: -1, SameConfig: true}
	m := c.members[name]
	if m == nil {
		return n
	}
	n.Trouble, n.Since = m.trouble, now-m.since
	switch {
	case m.alive:
		n.Presence = Here
	case m.left:
		n.Presence = Left
	case m.node != nil:
		n.Presence = Unreachable
	}
	if m.heard >= 0 {
		n.Heard = now - m.heard
	}
	r := &m.news
	n.Boot, n.Version, n.PeerID, n.ConfigHash = m.boot, r.Version, r.PeerID, r.ConfigHash
	n.SameConfig = r.ConfigHash == "" || r.ConfigHash == c.configHash
	n.Uptime, n.Flows = time.Duration(r.UptimeMS)*time.Millisecond, len(m.flows.set)
	n.Status = r.Status.bounded()
	return n
}

// bounded is a copy with as many counters as may be sent.
func (s Status) bounded() Status {
	if len(s.Counters) == 0 {
		s.Counters = nil
		return s
	}
	kept := make(map[string]uint64, len(s.Counters))
	for _, name := range slices.Sorted(maps.Keys(s.Counters)) {
		if len(kept) < MaxCounters && len(name) <= maxName {
			kept[name] = s.Counters[name]
		}
	}
	s.Counters = kept
	return s
}
