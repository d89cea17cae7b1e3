package proxy

import (
	"net/netip"
	"time"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/tlsconf"
)

// Logging says which events of clients have a line in the log each.
type Logging struct {
	Connections    bool // a login
	Disconnections bool // the end of a session
	PoolerErrors   bool // an error that pgvip itself gives to a client, at login or later
}

// Settings are what the configuration says about clients. Zero durations
// disable what they limit. They are replaced as a whole, by Proxy.Apply, and
// never changed.
type Settings struct {
	AuthMethod             auth.Method
	HBA                    *auth.HBA      // chooses a method for each client instead; may be nil
	Users                  *auth.UserList // never nil
	SCRAMIterations        int            // where no verifier says how many; 0 means auth.DefaultIterations
	MaxReplicationConn     int
	MaxClientConn          int
	ClientLoginTimeout     time.Duration
	FailoverWaitTimeout    time.Duration // for a node to go to
	FailoverWaitMaxClients int           // who wait for one; 0 is no limit
	FailoverWaitMaxBytes   int64         // that they have sent meanwhile; 0 is no limit
	ReadBalanceTransaction bool          // a reader gets a node for each transaction, where servers are shared
	QueryWaitNotify        time.Duration // after which a client that waits for a server is told so
	ApplicationNameAddHost bool

	// AuthQuery says how users of a database are looked up who are not in Users. It
	// is pure; any goroutine may call it. May be nil.
	AuthQuery func(database string) AuthQuery
	// MockSecret makes the salts of users who do not exist. Nodes that share it
	// answer alike; without one it is random for each process.
	MockSecret []byte
	// ServerUser gives whom the servers of a database log in as for every client;
	// empty for the client's user. May be nil.
	ServerUser func(database string) string

	// PeerID tells the cancel keys of this pgvip from those of the others: 0 to 255.
	PeerID int
	// ProxyNetworks are those from which every connection begins with a header of
	// the PROXY protocol.
	ProxyNetworks []netip.Prefix

	// AdminUsers may do everything on the console, StatsUsers look.
	AdminUsers []string
	StatsUsers []string

	// TLS serves TLS to clients; nil serves none. One with other files takes its
	// place after a reload.
	TLS *tlsconf.Acceptor

	Log Logging

	// RulesFor gives what is set for the clients of one database and user. It is
	// pure; any goroutine may call it. May be nil.
	RulesFor func(database, user string) Rules

	// Disabled reports whether a database refuses every client. May be nil.
	Disabled func(database string) bool
}
