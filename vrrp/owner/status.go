package owner

import "time"

// Status is the machine's view.
type Status struct {
	Owns   bool          // this node is the owner
	Holds  bool          // and has asked for the address to be on the interface
	Owner  string        // the owner as far as known, "" for unknown
	Term   int64         // its term: the epoch
	Etcd   bool          // etcd has answered lately
	Outage bool          // nobody has etcd, as far as known
	Until  time.Duration // when this ownership ends if nothing confirms it

	Priority int  // effective; 0 when this node must not own
	Ready    bool // the first election has come to a result, or is waited for no longer
	Left     bool // Leave, or MainGone, is done and told to the peers
	Reason   string
	Peers    []PeerStatus
	Counters Counters
}

// PeerStatus is another node as this machine sees it.
type PeerStatus struct {
	Name     string
	Heard    time.Duration // when the last message came; -1 for never
	Alive    bool
	Dark     bool
	Fitness  Fitness
	Priority int
}

// Counters only grow.
type Counters struct{ Owned, GaveUp, Claimed, Refuted uint64 }
