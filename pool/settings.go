package pool

import (
	"slices"
	"time"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/tlsconf"
	"github.com/pgvip/pgvip/wire"
)

// Settings are what PgBouncer's settings of the same names mean for servers.
// Zero durations disable what they limit. They are replaced as a whole, by
// Set.Apply, and never changed.
type Settings struct {
	ServerCheckQuery     string        // sent before a server is lent that was idle for ServerCheckDelay
	ServerCheck          bool          // whether there is a check query; it may be the empty one
	ServerCheckDelay     time.Duration // since the last use
	ServerIdleTimeout    time.Duration // idle time after which a server is closed
	ServerConnectTimeout time.Duration // dial and login together
	ServerLoginRetry     time.Duration // pause after a login that failed for lack of a server
	// ServerResetTimeout bounds each of our own statements on a server: a reset, a
	// check, the parameters of a client. One that hangs costs the server, and the
	// client that waits gets another.
	ServerResetTimeout time.Duration
	// ServerResetQueryAlways sends ServerResetQuery after each transaction too,
	// where a server is shared, even if the client has left nothing.
	ServerResetQueryAlways bool
	ServerFastClose        bool               // end sessions, between transactions, whose server is to be replaced
	ServerRoundRobin       bool               // lend the server first that was idle for longest, and not the one used last
	CancelWaitTimeout      time.Duration      // for a cancel request to reach its server
	Keepalive              *dial.Keepalive    // of connections to servers; nil means dial's default
	TLS                    *tlsconf.Connector // of connections to servers; nil means none
	MinIterations          int                // of SCRAM that a server may ask for; 0 means auth.DefaultMinIterations
	MaxPreparedStatements  int                // that a shared server keeps; 0 does not follow clients' statements

	// Rules are those of every pool, unless RulesFor is set.
	Rules
	// RulesFor gives the rules of one pool, by the client's names of database
	// and user, where these differ. It is pure; any goroutine may call it.
	RulesFor func(database, user string) Rules
}

// Rules are the settings that a database or a user may have of its own.
type Rules struct {
	Database         string          // on the server; empty for the client's name
	Credential       auth.Credential // to log in with; one that opens nothing leaves it to what clients have brought
	Mode             Mode            // when a server is taken back
	SessionState     StatePolicy     // in TransactionMode and StatementMode
	PoolSize         int             // servers a pool may have; 0 is unlimited
	ServerResetQuery string          // sent when a session ends; empty for none
	ServerLifetime   time.Duration   // age from which a server is not lent again; 0 lends it once
	QueryWaitTimeout time.Duration   // in the queue of a pool

	Params       []wire.Param // that servers start with, unless the client says otherwise
	ConnectQuery string       // runs on each new server; empty for none

	MinPoolSize        int           // servers that a pool keeps while it has clients
	ReservePoolSize    int           // more servers, for a client that has waited for ReservePoolTimeout
	ReservePoolTimeout time.Duration // 0 is never
	MaxDBConnections   int           // servers of the database on a node, of all users; 0 is unlimited
	MaxUserConnections int           // servers of the user on a node, in all databases; 0 is unlimited
}

// sameServers reports that a server made under one set of rules is what the other
// asks for.
func (r *Rules) sameServers(o *Rules) bool {
	return r.Database == o.Database && r.ConnectQuery == o.ConnectQuery && slices.Equal(r.Params, o.Params)
}

// Mode says how long a client keeps its server: PgBouncer's pool_mode.
type Mode uint8

// Modes.
const (
	SessionMode     Mode = iota // until the client leaves
	TransactionMode             // until its transaction ends
	StatementMode               // as TransactionMode, and transactions of more than one statement are refused
)

// rules are those of the pool for key.
func (s *Settings) rules(key Key) Rules {
	r := s.Rules
	if s.RulesFor != nil {
		r = s.RulesFor(key.Database, key.User)
	}
	if r.Database == "" {
		r.Database = key.Database
	}
	return r
}

// DefaultCancelWait is PgBouncer's default of cancel_wait_timeout.
const DefaultCancelWait = 10 * time.Second
