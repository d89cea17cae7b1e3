package pool

import (
	"time"

	"github.com/pgvip/pgvip/dial"
)

// Settings are what PgBouncer's settings of the same names mean for servers.
// Zero durations disable what they limit.
type Settings struct {
	DefaultPoolSize      int             // servers a pool may have; 0 is unlimited
	ServerResetQuery     string          // sent when a session ends; empty for none
	ServerCheckQuery     string          // sent before a server is lent that was idle for ServerCheckDelay
	ServerCheck          bool            // whether there is a check query; it may be the empty one
	ServerCheckDelay     time.Duration   // since the last use
	ServerLifetime       time.Duration   // age from which a server is not lent again; 0 lends it once
	ServerIdleTimeout    time.Duration   // idle time after which a server is closed
	ServerConnectTimeout time.Duration   // dial and login together
	ServerLoginRetry     time.Duration   // pause after a login that failed for lack of a server
	QueryWaitTimeout     time.Duration   // in the queue of a pool
	CancelWaitTimeout    time.Duration   // for a cancel request to reach its server
	Keepalive            *dial.Keepalive // of connections to servers; nil means dial's default

	// Databases maps a client's database name to what is special about it; the
	// name "*" stands for all others.
	Databases map[string]Database
}

// Database is what a pool of one database has different from the others.
type Database struct {
	Name     string // on the server; empty for the same name
	PoolSize int    // 0 for DefaultPoolSize
}

// database returns the entry that applies to a client's database name.
func (s *Settings) database(name string) Database {
	d, ok := s.Databases[name]
	if !ok {
		d = s.Databases["*"]
	}
	if d.Name == "" {
		d.Name = name
	}
	if d.PoolSize == 0 {
		d.PoolSize = s.DefaultPoolSize
	}
	return d
}

// DefaultCancelWait is PgBouncer's default of cancel_wait_timeout.
const DefaultCancelWait = 10 * time.Second
