package admin

import (
	"time"

	"github.com/pgvip/pgvip/stats"
)

// View is everything there is to see, as plain values: all renderings are made
// of it, and /stats.json is its JSON. Durations are in seconds, for machines.
type View struct {
	At      time.Time `json:"at"`
	Build   Build     `json:"build"`
	Started time.Time `json:"started"`
	PID     int       `json:"pid"`
	Host    string    `json:"host"`
	Scope   string    `json:"scope"`

	Ready    bool   `json:"ready"`
	NotReady string `json:"not_ready,omitempty"` // why
	Stopping bool   `json:"stopping"`

	Primary   *Primary   `json:"primary"`             // nil while none is proven
	Candidate string     `json:"candidate,omitempty"` // named by the leader key, not proven
	Reason    string     `json:"reason,omitempty"`    // why there is no primary
	Since     time.Time  `json:"since"`               // since when there is this primary, or none
	Epoch     uint64     `json:"epoch"`
	Modes     []string   `json:"modes,omitempty"` // of the cluster: paused, failsafe, standby
	Hold      *Hold      `json:"hold,omitempty"`  // new transactions are held back for a switchover
	Source    SourceView `json:"source"`
	Alarms    []string   `json:"alarms"`

	VIP     *VIP         `json:"vip,omitempty"`     // nil without a virtual IP
	Cluster *ClusterView `json:"cluster,omitempty"` // nil without other nodes

	Servers   []Server   `json:"servers"` // by name
	Ports     []Port     `json:"ports"`   // that of the primary first
	Pools     []Pool     `json:"pools"`
	Databases []Database `json:"databases"`
	Limits    []Limit    `json:"limits"`
	Decisions []Decision `json:"decisions"` // newest first
	Counters  []Counter  `json:"counters"`

	// LoadAge is how old what the event loops said is, LoadError why it is not
	// newer; -1 before their first answer.
	LoadAge   float64 `json:"load_age_seconds"`
	LoadError string  `json:"load_error,omitempty"`
}

// Build says which binary this is.
type Build struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
}

// Primary is the proven primary.
type Primary struct {
	Name     string `json:"name"`
	Addr     string `json:"addr"`
	Timeline uint32 `json:"timeline,omitempty"`
}

// Hold is an announced switchover.
type Hold struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	Warm  []string  `json:"warm,omitempty"` // servers that are being prepared
}

// SourceView is where the truth about the cluster comes from, and how fresh it is.
type SourceView struct {
	Kind      string     `json:"kind"`
	Freshness string     `json:"freshness"`   // FRESH, STALE or BLIND
	Age       float64    `json:"age_seconds"` // of the news; -1 before the first
	Revision  int64      `json:"revision,omitempty"`
	Endpoints []Endpoint `json:"endpoints"`
	Error     string     `json:"error,omitempty"` // of the last attempt
}

// Endpoint is one place that the truth is read from.
type Endpoint struct {
	Name  string  `json:"name"`
	InUse bool    `json:"in_use"`
	Age   float64 `json:"age_seconds"` // of its last answer; -1 without one
	Error string  `json:"error,omitempty"`
}

// State is how a server does.
type State string

// The states of a server.
const (
	Unprobed State = "unprobed"
	Up       State = "up"
	Down     State = "down"
)

// Server is one PostgreSQL server of the cluster.
type Server struct {
	Name     string    `json:"name"`
	Addr     string    `json:"addr"`
	Role     string    `json:"role"` // primary, candidate, replica, or Patroni's word for another
	Patroni  string    `json:"patroni_state,omitempty"`
	State    State     `json:"state"`
	Since    time.Time `json:"since"`
	Admin    string    `json:"admin"` // ready, drain or maint
	Weight   int       `json:"weight"`
	Writes   bool      `json:"writes"`           // clients of 5000 are led here
	Reads    bool      `json:"reads"`            // clients of 5001 are led here
	Out      string    `json:"out,omitempty"`    // why neither
	Drained  bool      `json:"drained"`          // out, but not for being down: lag, tag or operator
	Throttle int       `json:"throttle_percent"` // of its weight that count now; below 100 in a slow start
	Downs    uint64    `json:"downs"`            // how often it went down
	Downtime float64   `json:"downtime_seconds"` // in all
	Timeline uint32    `json:"timeline"`         // 0 is unknown
	Lag      int64     `json:"lag_bytes"`        // -1 is unknown
	LagTime  float64   `json:"lag_seconds"`      // -1 is unknown
	Check    Check     `json:"check"`            // the last one
	Primary  Use       `json:"primary_use"`      // by clients of 5000
	Replica  Use       `json:"replica_use"`      // by clients of 5001
	Limit    int       `json:"connection_limit"` // of servers to it; 0 is none
}

// Check is a server's last check, and what the checks have come to.
type Check struct {
	At       time.Time `json:"at"`
	Took     float64   `json:"took_seconds"`
	Status   string    `json:"status"`           // HAProxy's check_status: L7OK, L4CON, ...; UNK before the first
	Code     int       `json:"code,omitempty"`   // of HTTP, where that was asked
	Report   string    `json:"report,omitempty"` // what it saw
	Error    string    `json:"error,omitempty"`
	Rise     int       `json:"rise"`
	Fall     int       `json:"fall"`
	Health   int       `json:"health"`   // 0 is down, rise+fall-1 is up; between them a change is on its way
	Failures uint64    `json:"failures"` // while it was up
}

// Use is what one role's clients do with a server.
type Use struct {
	Active  int     `json:"sv_active"`
	Idle    int     `json:"sv_idle"`
	Testing int     `json:"sv_tested"`
	Login   int     `json:"sv_login"`
	Waiting int     `json:"cl_waiting"` // in queues for it
	MaxWait float64 `json:"maxwait_seconds"`

	Assignments uint64 `json:"assignments"` // since the start: of servers to clients
	Received    uint64 `json:"received_bytes"`
	Sent        uint64 `json:"sent_bytes"`
}

// Port is one of the two roles' ports.
type Port struct {
	Role      string   `json:"role"` // primary or replica
	Addresses []string `json:"addresses"`
	Clients   int      `json:"clients"`
	Waiting   int      `json:"waiting"` // for a node or for a server
	MaxWait   float64  `json:"maxwait_seconds"`
	Limit     int      `json:"limit"`
	Balance   string   `json:"balance"` // how a client gets its server, in HAProxy's words
	Logins    uint64   `json:"logins"`
}

// Pool is a row of PgBouncer's SHOW POOLS, under its names.
type Pool struct {
	Database string  `json:"database"`
	User     string  `json:"user"`
	ClActive int     `json:"cl_active"`
	Waiting  int     `json:"cl_waiting"`
	Cancel   int     `json:"sv_active_cancel"`
	Canceled int     `json:"sv_being_canceled"`
	Active   int     `json:"sv_active"`
	Idle     int     `json:"sv_idle"`
	Tested   int     `json:"sv_tested"`
	Login    int     `json:"sv_login"`
	MaxWait  float64 `json:"maxwait_seconds"`
	Mode     string  `json:"pool_mode,omitempty"`
	Reason   string  `json:"wait_reason,omitempty"`
}

// Database is what happened in the pools of one database since the start.
type Database struct {
	Name    string  `json:"name"`
	Host    string  `json:"host"` // of the primary
	Port    int     `json:"port"`
	DBName  string  `json:"dbname"` // on the server
	User    string  `json:"force_user,omitempty"`
	Mode    string  `json:"pool_mode,omitempty"`
	Size    int     `json:"pool_size"`
	Reserve int     `json:"reserve_pool_size"`
	MaxConn int     `json:"max_connections"`
	Conns   int     `json:"current_connections"`
	Clients int     `json:"current_client_connections"`
	Paused  bool    `json:"paused"`
	Off     bool    `json:"disabled"`
	Traffic Traffic `json:"traffic"`
}

// Traffic is counted since the start.
type Traffic struct {
	Xacts        uint64  `json:"xacts"`
	Queries      uint64  `json:"queries"`
	Assignments  uint64  `json:"assignments"`
	Received     uint64  `json:"received_bytes"`
	Sent         uint64  `json:"sent_bytes"`
	XactTime     float64 `json:"xact_seconds"`
	QueryTime    float64 `json:"query_seconds"`
	WaitTime     float64 `json:"wait_seconds"`
	ClientParses uint64  `json:"client_parses"`
	ServerParses uint64  `json:"server_parses"`
	Binds        uint64  `json:"binds"`
	QueryP50     float64 `json:"query_p50_seconds"`
	QueryP99     float64 `json:"query_p99_seconds"`
	WaitP99      float64 `json:"wait_p99_seconds"`

	query, xact, wait *stats.Histogram // for /metrics; nil without
}

// Limit is a bound that clients or servers may run into.
type Limit struct {
	Name string `json:"name"` // its setting
	Used int    `json:"used"`
	Max  int    `json:"max"` // 0 is none
}

// Decision is something that was decided about the route, and why.
type Decision struct {
	At     time.Time `json:"at"`
	Kind   string    `json:"kind"`
	Server string    `json:"server,omitempty"`
	Reason string    `json:"reason"`
	Epoch  uint64    `json:"epoch"`
	Took   float64   `json:"took_seconds,omitempty"` // how long there was no primary
	Alarm  bool      `json:"alarm,omitempty"`        // somebody may have to act
}

// Counter is a counter of some part, by the name that Prometheus sees.
type Counter struct {
	Name  string  `json:"name"`
	Help  string  `json:"-"`
	Label string  `json:"label,omitempty"` // its name; "" for none
	Of    string  `json:"of,omitempty"`    // its value
	Value float64 `json:"value"`
	Gauge bool    `json:"-"` // it may go down
}
