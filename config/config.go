package config

import (
	"io/fs"
	"net/netip"
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

	// Source says who tells about the cluster, EtcdBlind what may be believed
	// while etcd does not: "probe" or "static".
	Source     Source
	Etcd       Etcd
	EtcdBlind  string
	Patroni    Patroni
	PatroniAPI PatroniAPI
	Static     Static

	Listen Listen
	Admin  Admin
	Probe  Probe
	Reads  Reads
	Log    Log

	// VIP is the address that clients connect to, Cluster the other nodes.
	VIP     VIP
	Cluster Cluster

	Auth
	ClientTLS TLS
	ServerTLS TLS

	// AdminUsers may do everything on the console, StatsUsers look.
	AdminUsers []string
	StatsUsers []string

	PoolMode     PoolMode
	SessionState SessionState
	// DefaultPoolSize bounds the server connections of one pool, which is one
	// (node, database, user); 0 is no limit.
	DefaultPoolSize int
	// MinPoolSize is how many servers a pool with clients keeps.
	MinPoolSize int
	// ReservePoolSize more servers help a pool whose client has waited for
	// ReservePoolTimeout; 0 in either means none.
	ReservePoolSize    int
	ReservePoolTimeout time.Duration
	// Server connections of a database and of a user; 0 is no limit.
	MaxDBConnections   int
	MaxUserConnections int
	// MaxClientConn bounds the clients that are logged in or waiting.
	MaxClientConn int
	// Clients of a database and of a user; 0 is no limit.
	MaxDBClientConnections   int
	MaxUserClientConnections int
	// MaxReplicationConnections bounds the clients of the replication protocol,
	// which count nowhere else.
	MaxReplicationConnections int
	// MaxPreparedStatements of clients are kept on each server in transaction
	// and statement mode; 0 leaves named statements alone.
	MaxPreparedStatements int

	// QueryWaitTimeout ends a client that has waited this long for a server
	// while there is a primary; 0 waits for ever.
	QueryWaitTimeout time.Duration
	// QueryWaitNotify is when a waiting client gets a notice; 0 is never.
	QueryWaitNotify time.Duration
	// FailoverWaitTimeout is QueryWaitTimeout while no primary is proven (rule 26).
	FailoverWaitTimeout time.Duration
	// FailoverWaitMaxClients and FailoverWaitMaxBytes bound those who wait then and
	// what they have sent; 0 is no limit.
	FailoverWaitMaxClients int
	FailoverWaitMaxBytes   int64
	// SwitchoverHold is how long no new transaction begins on a primary that an
	// announced switchover is about to close; 0 holds none (rule 27).
	SwitchoverHold time.Duration
	// ClientLoginTimeout bounds the time from accept to a finished login; 0 is no limit.
	ClientLoginTimeout time.Duration
	// What ends a client or its server after so long; 0 never does.
	ClientIdleTimeout      time.Duration // without a server
	QueryTimeout           time.Duration // from the query to its end, waiting included
	TransactionTimeout     time.Duration
	IdleTransactionTimeout time.Duration
	ClientWriteTimeout     time.Duration // in which the client takes nothing of what it is sent
	// CancelWaitTimeout bounds how long a cancel request may take to its server.
	CancelWaitTimeout time.Duration
	// PeerID tells the cancel keys of this pgvip from those of the others.
	PeerID int
	// DrainTimeout bounds how long a stop waits for open transactions; 0 does not wait.
	DrainTimeout time.Duration

	// ServerResetQuery runs on a server after each session that used it; ""
	// runs nothing. ServerResetQueryAlways runs it in every pool mode.
	ServerResetQuery       string
	ServerResetQueryAlways bool
	// ServerResetTimeout bounds each statement of pgvip's own on a server: reset,
	// check, parameters of a client; 0 is no limit.
	ServerResetTimeout time.Duration
	// ServerRoundRobin lends the server that was idle longest, and not the one
	// used last.
	ServerRoundRobin bool
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
	// ServerFastClose ends sessions, between transactions, whose server is to be
	// closed because of RECONNECT or a reload.
	ServerFastClose bool
	// DNSMaxTTL is how long a resolved name is used.
	DNSMaxTTL time.Duration

	// ApplicationNameAddHost appends the client's address to application_name.
	ApplicationNameAddHost bool
	// ListenBacklog is the listen(2) queue of each address, in connections.
	ListenBacklog int
	Keepalive     Keepalive
	// Loops is the number of event loops; 0 chooses by the CPUs (rule 9).
	Loops int

	// StatsPeriod is how often the averages of SHOW and the log are made.
	StatsPeriod time.Duration

	// Servers by their names in Patroni. "*" is always there and stands for every
	// server that is not named; use Server to look up.
	Servers map[string]Server
	// Databases by the name that clients ask for. "*" is always there and
	// stands for every database that is not named; use Database to look up.
	Databases map[string]Database
	Users     map[string]User
}

// Listen says where clients connect.
type Listen struct {
	// Primary leads to the proven primary. Never empty.
	Primary []Address
	// Replicas leads to the replicas; empty without that role.
	Replicas []Address
	// Admin is where operators look: HTTP; empty without it.
	Admin []Address
	// UnixSocketDir holds .s.PGSQL.<port> with the port of the first address of
	// each role (rule 15); "" without Unix sockets.
	UnixSocketDir   string
	UnixSocketMode  fs.FileMode
	UnixSocketGroup string // "" leaves it to the system
	// ProxyProtocolNetworks are those from which every connection begins with a
	// PROXY header.
	ProxyProtocolNetworks []netip.Prefix
}

// Admin says who may do what on the operators' port.
type Admin struct {
	Token    Secret // of those who may act; without one nobody may
	User     string // of those who may look; "" lets everybody
	Password Secret
	CertFile string // "" for plain HTTP
	KeyFile  string
	// Refresh is how often the page loads itself again, whole seconds; 0 is never.
	Refresh time.Duration
}

// Auth says how clients prove who they are.
type Auth struct {
	AuthType AuthType
	// AuthFile is the path of the user list in PgBouncer's format; "" without one.
	AuthFile      string
	AuthHBAFile   string // pg_hba.conf's format
	AuthIdentFile string // pg_ident.conf's format

	// AuthUser runs AuthQuery for users who are not in the user list; "" for no
	// such query. Without AuthUserPassword its secret is that in the user list.
	AuthUser         string
	AuthUserPassword Secret
	AuthQuery        string
	// AuthDBName is the database AuthQuery runs in; "" is the client's.
	AuthDBName string

	// SCRAMIterations is the count for users whose secret is no verifier.
	SCRAMIterations int
	// ServerSCRAMMinIterations is the least count that a server may ask for.
	ServerSCRAMMinIterations int
	// MockAuthenticationNonce makes the salts of users who do not exist; one that
	// is not set is random.
	MockAuthenticationNonce Secret
}

// Probe says how nodes are checked; the names are HAProxy's.
type Probe struct {
	User     string
	Password Secret
	DBName   string

	Check string // of replicas: sql, rest or tcp; the primary is always asked by SQL

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

	Connections    bool // successful logins
	Disconnections bool // with their reasons
	PoolerErrors   bool // errors that clients get from pgvip
	Stats          bool // one line each StatsPeriod
	Verbose        int  // from 1 on, Level is debug
}

// CheckQuery is server_check_query: what a server must answer before it is lent
// after ServerCheckDelay.
type CheckQuery struct {
	Enabled bool
	SQL     string // "" is PostgreSQL's empty query
}

// Database is what is set for one database.
type Database struct {
	// DBName is its name on the servers; "" is the name that the client gave.
	DBName string
	// Disabled refuses every client.
	Disabled bool
	// User is who servers log in as; "" is the client's user.
	User     string
	Password Secret

	AuthUser   Optional[string]
	AuthQuery  Optional[string]
	AuthDBName Optional[string]

	PoolMode               Optional[PoolMode]
	SessionState           Optional[SessionState]
	PoolSize               Optional[int]
	MinPoolSize            Optional[int]
	ReservePoolSize        Optional[int]
	MaxDBConnections       Optional[int]
	MaxDBClientConnections Optional[int]
	QueryWaitTimeout       Optional[time.Duration]
	ServerLifetime         Optional[time.Duration]

	// ConnectQuery runs on each new server; "" runs nothing.
	ConnectQuery string
	// Parameters that servers log in with; "" leaves them to PostgreSQL.
	ClientEncoding string
	DateStyle      string
	TimeZone       string
}

// User is what is set for one user. It wins over what the database has.
type User struct {
	PoolMode                 Optional[PoolMode]
	SessionState             Optional[SessionState]
	PoolSize                 Optional[int]
	ReservePoolSize          Optional[int]
	MaxUserConnections       Optional[int]
	MaxUserClientConnections Optional[int]
	QueryWaitTimeout         Optional[time.Duration]
	QueryTimeout             Optional[time.Duration]
	TransactionTimeout       Optional[time.Duration]
	IdleTransactionTimeout   Optional[time.Duration]
	ClientIdleTimeout        Optional[time.Duration]
	ClientWriteTimeout       Optional[time.Duration]
}

// AnyDatabase is the name under which Databases keeps the settings of every
// database that has none of its own.
const AnyDatabase = "*"

// Default gives the configuration of an empty file. It lacks what has no
// default (scope, etcd.hosts, probe.user), so it is a start for tests and the
// demo and not a valid configuration.
func Default() *Config {
	c := new(Config)
	fillDefaults(topKeys(), c)
	c.Servers = map[string]Server{AnyServer: {}}
	c.Databases = map[string]Database{AnyDatabase: {}}
	c.Users = map[string]User{}
	return c
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
