package stats

import (
	"net/netip"
	"time"
)

// Pool is what one pool says of itself: servers by what they do, and who waits
// for them.
type Pool struct {
	Node     string // its name in the cluster
	Addr     string // host:port
	Role     string
	Database string // as clients call it
	User     string
	Mode     string // session, transaction or statement

	Lent      int // to a client, or being made ready for one
	Idle      int
	Tested    int // being cleaned or checked
	Login     int // logins under way
	Canceling int // cancel requests under way
	Canceled  int // servers kept back because of a cancel request

	Waiting int           // clients in the queue
	MaxWait time.Duration // of the oldest of them
	Reason  string        // why they wait

	Traffic Traffic
	Query   Histogram
	Xact    Histogram
	Wait    Histogram
}

// Socket is one connection, of a client or to a server: a row of SHOW CLIENTS and
// SHOW SERVERS.
type Socket struct {
	ID          uint64 // unique among those of its kind
	Link        uint64 // ID of the other end: of a client its server, and the reverse; 0 without one
	User        string
	Database    string
	Replication string // none, logical or physical
	State       string
	Addr        netip.AddrPort // the peer's; zero for a Unix socket
	LocalAddr   netip.AddrPort
	Connected   time.Time
	Requested   time.Time     // when the last request began
	Waited      time.Duration // of a request that waits or runs
	CloseNeeded bool          // ends when it becomes free
	PID         uint32        // of the peer's process, where known
	TLS         string        // version and cipher; empty for plain
	AppName     string
	Prepared    int
	Node        string // that it is connected to
	Reason      string // what it waits for

	Unread int // bytes read and not passed on
	Unsent int // bytes that its peer has not taken yet
}

// Crowd is the clients of one role's port.
type Crowd struct {
	Role    string
	Clients int           // all of them
	Waiting int           // those that wait for a node to go to, in no pool's queue
	MaxWait time.Duration // of the oldest of these
}

// Account is what the clients of one database and user are, wherever their servers
// may be.
type Account struct {
	Database string
	User     string
	Clients  int           // all of them
	Waiting  int           // those that wait for a node to go to, in no pool's queue
	MaxWait  time.Duration // of the oldest of these
}
