// Package beat is what the main process and the keeper, its child that holds the
// virtual IP, tell each other: one JSON object for each packet of a
// SOCK_SEQPACKET pair, at least every Interval in both directions. Either side
// takes the other for dead when the pair ends or nothing came for Silence.
//
// The package is plain data. The keeper is in vrrp/keeper, the main process's
// side in vrrp/supervise.
package beat

import (
	"net/netip"
	"time"
)

// Rule 43: how often each side speaks, and how long a silence is borne.
const (
	Interval = 100 * time.Millisecond
	Silence  = 600 * time.Millisecond
)

// MaxPacket bounds one packet; longer lists of clients are sent in parts.
const MaxPacket = 64 << 10

// ToKeeper is a packet of the main process. The first one carries Config.
type ToKeeper struct {
	Config  *Config  `json:"config,omitempty"`
	Fitness *Fitness `json:"fitness,omitempty"`
	// Move asks for a planned move: to the peer of this name, "*" for the best one.
	// It stands until the address has moved or Move is sent as "-".
	Move string `json:"move,omitempty"`
	// Leave has the keeper hand the address over, end its part in the election
	// (priority 0, release of the key) and exit once the address is gone.
	Leave bool `json:"leave,omitempty"`
	// Tickle lists clients of a dead owner whose connections are to be reset
	// (once for each packet).
	Tickle []Flow `json:"tickle,omitempty"`
}

// FromKeeper is a packet of the keeper.
type FromKeeper struct {
	Status Status `json:"status"`
	// Events since the last packet, in their order.
	Events []Event `json:"events,omitempty"`
}

// Config is what a keeper works by; it is fixed for the keeper's life, and a
// reload that changes it starts a new keeper. It holds secrets: it is never logged.
type Config struct {
	Node    string `json:"node"`    // name of this node, unique among Peers
	Boot    string `json:"boot"`    // of the main process: random, new with each start
	Cluster string `json:"cluster"` // Patroni's scope
	VIP     VIP    `json:"vip"`
	Peers   []Peer `json:"peers"`
	// Heartbeat are the local ends of the paths on which this node sends and
	// answers pings; Keys seal them, the first is used for sending.
	Heartbeat []netip.AddrPort `json:"heartbeat"`
	Keys      [][]byte         `json:"keys"`
	// Etcd is nil when there is no arbiter: then it is VRRP as it stands (rule 41).
	Etcd *Etcd `json:"etcd,omitempty"`
}

// VIP is the virtual router: one election for all of Addresses, which move together.
// Names are keepalived's where it has the thing.
type VIP struct {
	Interface string         `json:"interface"`
	Addresses []netip.Prefix `json:"addresses"` // the first names the owner key and chooses the family of adverts

	VirtualRouterID  uint8         `json:"virtual_router_id"`
	Priority         uint8         `json:"priority"` // 1..254
	Version          uint8         `json:"version"`  // 2 or 3
	AdvertInt        time.Duration `json:"advert_int"`
	DownTimerAdverts int           `json:"down_timer_adverts"`
	Preempt          bool          `json:"preempt"`
	PreemptDelay     time.Duration `json:"preempt_delay"`
	StartupDelay     time.Duration `json:"startup_delay"`
	// UnicastSource and UnicastPeers replace multicast when there are peers.
	UnicastSource netip.Addr   `json:"unicast_src_ip"`
	UnicastPeers  []netip.Addr `json:"unicast_peer"`
	// Checksum of sent adverts over IPv4: "pseudo-header" as keepalived sums
	// them, or "rfc" (only the payload). All are accepted.
	Checksum string `json:"checksum"`
	AuthPass string `json:"auth_pass"` // version 2: keepalived's auth_type PASS; "" for none

	// EtcdDownTakeover is rule 40's: "arp" or "never".
	EtcdDownTakeover string `json:"etcd_down_takeover"`

	GARPMasterDelay   time.Duration `json:"garp_master_delay"`
	GARPMasterRepeat  int           `json:"garp_master_repeat"`
	GARPMasterRefresh time.Duration `json:"garp_master_refresh"` // 0 for never
}

// Peer is another node that may own the address.
type Peer struct {
	Name      string           `json:"name"`
	Heartbeat []netip.AddrPort `json:"heartbeat"` // its ends of the paths
}

// Etcd says where the arbiter is.
type Etcd struct {
	Endpoints  []string `json:"endpoints"` // host:port
	TLS        bool     `json:"tls"`
	CACert     string   `json:"cacert"` // files; they are read anew for each connection
	Cert       string   `json:"cert"`
	Key        string   `json:"key"`
	Username   string   `json:"username"`
	Password   string   `json:"password"`
	ServerName string   `json:"server_name"`
}

// Fitness is how well the main process could serve clients now (rule 42).
type Fitness struct {
	Listening bool `json:"listening"` // client ports accept
	Blind     bool `json:"blind"`     // the main process's own news of the cluster is BLIND
	Healthy   int  `json:"healthy"`   // servers that are up
	// Weight is the sum of track_script's weights that apply, added to the priority.
	Weight int `json:"weight"`
	// Fault asks to leave the election: a script of weight 0 fails, or the
	// operator drains this node.
	Fault string `json:"fault,omitempty"`
}

// State is RFC 9568's, and keepalived's Fault.
type State string

// States.
const (
	Initialize State = "INIT"
	Backup     State = "BACKUP"
	Active     State = "ACTIVE"
	Fault      State = "FAULT"
)

// Status is the keeper's view.
type Status struct {
	State State `json:"state"`
	// Holds says that the address is on this node's interface.
	Holds bool `json:"holds"`
	// Owner is the node that owns the address as far as this one knows, "" for unknown;
	// without arbiter it is the address of the Active router.
	Owner string `json:"owner,omitempty"`
	// Epoch is the ownership's, 0 without arbiter.
	Epoch int64 `json:"epoch,omitempty"`
	// Arbiter is "etcd", "outage" (etcd is out of reach and ownership rests on
	// the peers) or "none": two owners are possible.
	Arbiter string `json:"arbiter"`
	// Until is how long this ownership may go on unconfirmed, 0 when not owning.
	Until    time.Duration `json:"until"`
	Priority int           `json:"priority"` // effective
	Reason   string        `json:"reason,omitempty"`
	Peers    []PeerStatus  `json:"peers"`
	Counters Counters      `json:"counters"`
	// Ready says that the first election has come to a result: main's start waits for it no longer.
	Ready bool `json:"ready"`
	// Left says that Leave is done.
	Left bool `json:"left"`
}

// PeerStatus is another node as this keeper sees it.
type PeerStatus struct {
	Name string `json:"name"`
	// Heard is how long ago the last packet of it came, on any path; -1 for never.
	Heard   time.Duration `json:"heard"`
	Paths   []PathStatus  `json:"paths"`
	Fitness Fitness       `json:"fitness"`
	Healthy bool          `json:"healthy"` // it answers
}

// PathStatus is one heartbeat path.
type PathStatus struct {
	Local string        `json:"local"`
	Heard time.Duration `json:"heard"`
}

// Counters only grow within a keeper's life; main adds up those of successive keepers.
type Counters struct {
	AdvertsSent     uint64 `json:"adverts_sent"`
	AdvertsReceived uint64 `json:"adverts_received"`
	AdvertsBad      uint64 `json:"adverts_bad"`
	BecameActive    uint64 `json:"became_active"`
	GaveUp          uint64 `json:"gave_up"`
	Refuted         uint64 `json:"refuted"` // claims of others
	GARPSent        uint64 `json:"garp_sent"`
	Readded         uint64 `json:"readded"`   // the address had been removed by somebody
	Conflicts       uint64 `json:"conflicts"` // ARP or NDP of a rival for the address
	Tickled         uint64 `json:"tickled"`
}

// Event is something an operator wants to know of: a line of the log and of the timeline.
type Event struct {
	// Kind is a short stable word: "state", "claim", "refute", "conflict",
	// "readded", "outage", "release", "peer", "announce", "error"; "keeper" is the
	// main process's own, of a keeper that had to be replaced.
	Kind string `json:"kind"`
	Warn bool   `json:"warn,omitempty"`
	// State is the new one with kind "state", and what notify hooks go by.
	State State  `json:"state,omitempty"`
	Text  string `json:"text"`
	// Age is how long before the packet it happened.
	Age time.Duration `json:"age"`
}

// Flow is one TCP connection of a client to the virtual IP.
type Flow struct {
	Client netip.AddrPort `json:"c"`
	VIP    netip.AddrPort `json:"v"`
}
