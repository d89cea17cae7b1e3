package config

import (
	"os"
	"time"
)

// maxFileBytes bounds what Parse looks at. The largest sensible file, some
// thousand databases, is far below; a mistaken path to a log or a device is above.
const maxFileBytes = 1 << 20

// Config is a whole valid configuration. It is made by Load, Parse or Default
// and is not changed afterwards, so that it may be shared freely.
//
// Names and meanings follow PgBouncer, HAProxy and Patroni; where a default
// differs, docs/configuration.md says why.
type Config struct {
	// File is the path that the configuration was read from, "" for Default.
	File string

	// Scope and Namespace are Patroni's. Namespace begins and ends with "/".
	Scope     string
	Namespace string

	Etcd   Etcd
	Listen Listen
	Probe  Probe
	Log    Log

	AuthType AuthType
	// AuthFile is the path of the user list in PgBouncer's format; "" without one.
	AuthFile string

	PoolMode PoolMode
	// DefaultPoolSize bounds the server connections of one pool, which is one
	// (node, database, user); 0 is no limit.
	DefaultPoolSize int
	// MaxClientConn bounds the clients that are logged in or waiting.
	MaxClientConn int

	// QueryWaitTimeout ends a client that has waited this long for a server
	// while there is a primary; 0 waits for ever.
	QueryWaitTimeout time.Duration
	// FailoverWaitTimeout is the same while no primary is proven (rule 26).
	FailoverWaitTimeout time.Duration
	// ClientLoginTimeout bounds the time from accept to a finished login; 0 is no limit.
	ClientLoginTimeout time.Duration
	// DrainTimeout bounds how long a stop waits for open transactions; 0 does not wait.
	DrainTimeout time.Duration

	// ServerResetQuery runs on a server after each session that used it; ""
	// runs nothing.
	ServerResetQuery string
	// ServerLifetime is the age at which a server connection is not lent again;
	// 0 uses each once.
	ServerLifetime time.Duration
	// ServerIdleTimeout closes a server connection unused for this long; 0 never does.
	ServerIdleTimeout time.Duration
	ServerCheckQuery  CheckQuery
	// ServerCheckDelay is how long a returned server is trusted without a check.
	ServerCheckDelay time.Duration
	// ServerConnectTimeout bounds a dial and login to PostgreSQL; 0 is no limit.
	ServerConnectTimeout time.Duration
	// ServerLoginRetry is the pause after a failed login to a server.
	ServerLoginRetry time.Duration

	// ApplicationNameAddHost appends the client's address to application_name.
	ApplicationNameAddHost bool
	// ListenBacklog is the listen(2) queue of each address, in connections.
	ListenBacklog int
	Keepalive     Keepalive
	// Loops is the number of event loops; 0 chooses by the CPUs (rule 9).
	Loops int

	// Databases by the name that clients ask for. "*" is always there and
	// stands for every database that is not named; use Database to look up.
	Databases map[string]Database
	Users     map[string]User
}

// Etcd says where Patroni's keys are.
type Etcd struct {
	Hosts    []Address
	Username string // "" without authentication
	Password Secret
}

// Listen says where clients connect.
type Listen struct {
	// Primary leads to the proven primary. Never empty.
	Primary []Address
	// Replicas leads to the replicas; empty without that role.
	Replicas []Address
	// UnixSocketDir holds .s.PGSQL.<port> with the port of the first address of
	// each role (rule 15); "" without Unix sockets.
	UnixSocketDir string
}

// Probe says how nodes are checked; the names are HAProxy's.
type Probe struct {
	User     string
	Password Secret
	DBName   string

	Inter     time.Duration // between probes of a settled, healthy node
	FastInter time.Duration // between probes while the state is changing or unknown
	DownInter time.Duration // between probes of a node that is down
	Timeout   time.Duration // of a probe's query, and of its login
	Rise      int           // good probes in a row that bring a replica up
	Fall      int           // probes without an answer in a row that take a node down
}

// Keepalive is the TCP liveness of both sides. PgBouncer's keys begin with tcp_.
type Keepalive struct {
	Enabled  bool
	Idle     time.Duration // silence before the first probe, whole seconds
	Interval time.Duration // between probes, whole seconds
	Count    int           // unanswered probes that end the connection
	// UserTimeout is TCP_USER_TIMEOUT, whole milliseconds; 0 leaves it to the kernel.
	UserTimeout time.Duration
}

// Log says what is logged and how.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // console or json
}

// CheckQuery is server_check_query: what a server must answer before it is lent
// after ServerCheckDelay.
type CheckQuery struct {
	Enabled bool
	SQL     string // "" is PostgreSQL's empty query
}

// Database is the settings of one database, defaults filled in.
type Database struct {
	// DBName is its name on the servers; "" is the name that the client gave.
	DBName   string
	PoolSize int
	PoolMode PoolMode
	// Disabled refuses every client.
	Disabled bool
}

// User is what is set for one user.
type User struct {
	PoolMode PoolMode // PoolInherit unless set
}

// AnyDatabase is the name under which Databases keeps the settings of every
// database that has none of its own.
const AnyDatabase = "*"

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

// Mode gives the pool mode of a user's sessions in a database. The user's
// setting wins over the database's, as in PgBouncer.
func (c *Config) Mode(database, user string) PoolMode {
	if m := c.Users[user].PoolMode; m != PoolInherit {
		return m
	}
	return c.Database(database).PoolMode
}

// Default gives the configuration of an empty file. It lacks what has no
// default (scope, etcd.hosts, probe.user), so it is a start for tests and the
// demo and not a valid configuration.
func Default() *Config {
	c := new(Config)
	fillDefaults(topKeys(), c)
	c.Databases = map[string]Database{AnyDatabase: c.databaseDefaults()}
	c.Users = map[string]User{}
	return c
}

func (c *Config) databaseDefaults() Database {
	return Database{PoolSize: c.DefaultPoolSize, PoolMode: c.PoolMode}
}

// Load reads and validates the file at path. The error is always Faults: a file
// that cannot be read is one fault.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, Faults{{File: path, Text: "cannot be read: " + cause(err)}}
	}
	return Parse(path, data, os.LookupEnv, os.ReadFile)
}

// Parse validates data. name stands in front of each fault and is what relative
// paths in the file are relative to the folder of. env and readFile fetch the
// secrets that keys ending in _env and _file name. The error is always Faults.
func Parse(
	name string, data []byte,
	env func(string) (string, bool), readFile func(string) ([]byte, error),
) (*Config, error) {
	r := &reader{file: name, env: env, readFile: readFile, seen: map[string]position{}}
	c := Default()
	c.File = name
	// That of Default has the default pool size; check adds one with the file's.
	delete(c.Databases, AnyDatabase)
	root, ok := r.tree(data)
	if ok {
		read(r, topKeys(), c, root)
		r.check(c)
	}
	if len(r.faults) > 0 {
		return nil, r.faults.sorted()
	}
	return c, nil
}
