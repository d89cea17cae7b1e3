package admin

import "time"

// VIP is this node's part in the virtual IP.
type VIP struct {
	Node      string   `json:"node"` // this node's name among its peers
	Addresses []string `json:"addresses"`
	Interface string   `json:"interface"`

	State VIPState  `json:"state"`
	Since time.Time `json:"since"` // of State; zero when it has never changed
	Holds bool      `json:"holds"` // the address is on this node's interface
	// Owner is the node that has the address, "" when that is not known. Without an
	// arbiter it is the address of the Active router.
	Owner    string  `json:"owner"`
	Epoch    int64   `json:"epoch"`   // of the ownership; 0 without an arbiter
	Arbiter  string  `json:"arbiter"` // etcd, outage, or none: two owners are possible
	Until    float64 `json:"until_seconds"`
	Priority int     `json:"priority"`
	Reason   string  `json:"reason,omitempty"` // of the last decision
	Drained  bool    `json:"drained"`          // by an operator

	Fitness  Fitness     `json:"fitness"`
	Keeper   Keeper      `json:"keeper"`
	Peers    []VIPPeer   `json:"peers"`
	Counters VIPCounters `json:"counters"`
	Events   []VIPEvent  `json:"events"` // the last ones, oldest first
}

// VIPEvent is something that happened to the virtual IP at this node.
type VIPEvent struct {
	Number uint64   `json:"number"`       // counted from 1
	Boot   float64  `json:"boot_seconds"` // when, by this machine's clock since its boot
	Kind   string   `json:"kind"`
	State  VIPState `json:"state,omitempty"`
	Text   string   `json:"text"`
	Warn   bool     `json:"warn,omitempty"`
}

// VIPState is RFC 9568's, and keepalived's FAULT.
type VIPState string

// States of the virtual IP at one node.
const (
	VIPInit   VIPState = "INIT"
	VIPBackup VIPState = "BACKUP"
	VIPActive VIPState = "ACTIVE"
	VIPFault  VIPState = "FAULT"
)

// Without an arbiter ownership is VRRP's alone.
const (
	noArbiter     = "none"
	arbiterOutage = "outage"
)

// Fitness is how well a node could serve clients.
type Fitness struct {
	Listening bool   `json:"listening"`
	Blind     bool   `json:"blind"` // it has had no news of the cluster for long
	Healthy   int    `json:"healthy_servers"`
	Weight    int    `json:"weight"` // of track scripts
	Fault     string `json:"fault,omitempty"`
}

// Keeper is the process that holds the address.
type Keeper struct {
	PID     int     `json:"pid"`
	Age     float64 `json:"age_seconds"` // of its last beat; -1 before the first
	Starts  uint64  `json:"starts"`
	Trouble string  `json:"trouble,omitempty"` // why the last one had to be replaced
}

// VIPPeer is another node as this one's keeper sees it.
type VIPPeer struct {
	Name    string    `json:"name"`
	Healthy bool      `json:"healthy"`           // it answers
	Heard   float64   `json:"heard_age_seconds"` // -1 for never
	Paths   []VIPPath `json:"paths"`
	Fitness Fitness   `json:"fitness"`
}

// VIPPath is one of the ways to a peer.
type VIPPath struct {
	Local string  `json:"local"`
	Heard float64 `json:"heard_age_seconds"` // -1 for never
}

// VIPCounters count since the start of pgvip.
type VIPCounters struct {
	AdvertsSent     uint64 `json:"adverts_sent"`
	AdvertsReceived uint64 `json:"adverts_received"`
	AdvertsBad      uint64 `json:"adverts_bad"`
	BecameActive    uint64 `json:"became_active"`
	GaveUp          uint64 `json:"gave_up"`
	Refuted         uint64 `json:"refuted"`
	GARPSent        uint64 `json:"garp_sent"`
	Readded         uint64 `json:"readded"`
	Conflicts       uint64 `json:"conflicts"`
	Tickled         uint64 `json:"tickled"`
}

// ClusterView is what this node knows of all pgvips of the cluster.
type ClusterView struct {
	Self     string           `json:"self"`
	Nodes    []ClusterNode    `json:"nodes"` // this node first
	Counters []ClusterCounter `json:"counters"`
}

// ClusterCounter is one of the cluster's.
type ClusterCounter struct {
	Name  string `json:"name"`
	Value uint64 `json:"value"`
}

// ClusterNode is one pgvip.
type ClusterNode struct {
	Name       string    `json:"name"`
	Self       bool      `json:"self"`
	Address    string    `json:"address"`
	Presence   string    `json:"presence"` // here, left, unreachable, never seen
	Since      time.Time `json:"since"`
	Heard      float64   `json:"heard_age_seconds"` // -1 for never
	Trouble    string    `json:"trouble,omitempty"`
	Version    string    `json:"version,omitempty"`
	PeerID     int       `json:"peer_id,omitempty"`
	SameConfig bool      `json:"same_config"`
	Uptime     float64   `json:"uptime_seconds"`
	Clients    int       `json:"vip_clients"` // on the virtual IP
	State      VIPState  `json:"vip_state,omitempty"`
	Holds      bool      `json:"vip_holds"`
	Epoch      int64     `json:"vip_epoch,omitempty"`
	Fitness    Fitness   `json:"fitness"`
}

// here is the presence of a node that takes part.
const here = "here"
