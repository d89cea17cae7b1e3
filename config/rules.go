package config

import "time"

// Database gives the settings of the database that a client named, with DBName
// filled in.
func (c *Config) Database(name string) Database {
	d, ok := c.Databases[name]
	if !ok {
		d = c.Databases[AnyDatabase]
	}
	if d.DBName == "" {
		d.DBName = name
	}
	return d
}

// Rules is what counts for a user in a database: what the user has of its own,
// else what the database has, else what the file says for all. Their names are
// those of the keys.
type Rules struct {
	Database // with the name on the server and all that only a database has

	PoolMode     PoolMode
	SessionState SessionState

	PoolSize                 int
	MinPoolSize              int
	ReservePoolSize          int
	MaxDBConnections         int
	MaxDBClientConnections   int
	MaxUserConnections       int
	MaxUserClientConnections int

	QueryWaitTimeout       time.Duration
	QueryTimeout           time.Duration
	TransactionTimeout     time.Duration
	IdleTransactionTimeout time.Duration
	ClientIdleTimeout      time.Duration
	ClientWriteTimeout     time.Duration
	ServerLifetime         time.Duration

	AuthUser   string
	AuthQuery  string
	AuthDBName string
}

// Rules gives what counts for user in the database that clients call so. A pool
// is that of the user whom its servers log in as; ask with the client's own name
// for what counts for the client alone (MaxUserClientConnections,
// ClientIdleTimeout).
func (c *Config) Rules(database, user string) Rules {
	d, u := c.Database(database), c.Users[user]
	return Rules{
		Database: d,

		PoolMode:     u.PoolMode.Or(d.PoolMode.Or(c.PoolMode)),
		SessionState: u.SessionState.Or(d.SessionState.Or(c.SessionState)),

		PoolSize:                 u.PoolSize.Or(d.PoolSize.Or(c.DefaultPoolSize)),
		MinPoolSize:              d.MinPoolSize.Or(c.MinPoolSize),
		ReservePoolSize:          u.ReservePoolSize.Or(d.ReservePoolSize.Or(c.ReservePoolSize)),
		MaxDBConnections:         d.MaxDBConnections.Or(c.MaxDBConnections),
		MaxDBClientConnections:   d.MaxDBClientConnections.Or(c.MaxDBClientConnections),
		MaxUserConnections:       u.MaxUserConnections.Or(c.MaxUserConnections),
		MaxUserClientConnections: u.MaxUserClientConnections.Or(c.MaxUserClientConnections),

		QueryWaitTimeout:       u.QueryWaitTimeout.Or(d.QueryWaitTimeout.Or(c.QueryWaitTimeout)),
		QueryTimeout:           u.QueryTimeout.Or(c.QueryTimeout),
		TransactionTimeout:     u.TransactionTimeout.Or(c.TransactionTimeout),
		IdleTransactionTimeout: u.IdleTransactionTimeout.Or(c.IdleTransactionTimeout),
		ClientIdleTimeout:      u.ClientIdleTimeout.Or(c.ClientIdleTimeout),
		ClientWriteTimeout:     u.ClientWriteTimeout.Or(c.ClientWriteTimeout),
		ServerLifetime:         d.ServerLifetime.Or(c.ServerLifetime),

		AuthUser:   d.AuthUser.Or(c.AuthUser),
		AuthQuery:  d.AuthQuery.Or(c.AuthQuery),
		AuthDBName: d.AuthDBName.Or(c.AuthDBName),
	}
}
