package console

import (
	"context"
	"errors"
	"time"

	"github.com/pgvip/pgvip/stats"
)

// What a Target may answer. The console finds PgBouncer's words for them.
var (
	ErrNoDatabase = errors.New("no such database")
	ErrNoClient   = errors.New("client not found")
	ErrNoServer   = errors.New("no such server")
	ErrNotPaused  = errors.New("not paused")
	ErrPaused     = errors.New("already paused")
	ErrStopping   = errors.New("shutting down")
	ErrResumed    = errors.New("resumed while waiting")
)

// Target is the running pgvip as the console sees it. Its methods may be called
// from several goroutines. Names of databases are as clients use them; where a
// command takes one, "" means all of them.
type Target interface {
	// What SHOW asks for. Every answer belongs to the caller.

	Traffic(ctx context.Context) ([]Traffic, error)
	Pools(ctx context.Context) ([]stats.Pool, error)
	Accounts(ctx context.Context) ([]stats.Account, error)
	Clients(ctx context.Context) ([]stats.Socket, error)
	Servers(ctx context.Context) ([]stats.Socket, error)
	Databases(ctx context.Context) ([]Database, error)
	Users(ctx context.Context) ([]User, error)
	Counts(ctx context.Context) (Counts, error)
	Memory() []Memory
	Hosts() []Host
	Settings() []Setting
	Paused() bool
	Nodes(ctx context.Context) ([]Node, error)
	VIP() []VIP             // none without a virtual IP
	Cluster() []ClusterNode // none without other nodes

	// What the other commands tell it.

	Set(key, value string) error
	Reload() error
	Shutdown(mode ShutdownMode) error
	// Pause stops lending servers; idle ones are closed, lent ones as they come
	// back. AwaitPause returns when none is left.
	Pause(database string) error
	AwaitPause(ctx context.Context, database string) error
	Resume(database string) error
	// Reconnect closes servers as Pause does, and goes on with new ones.
	// AwaitClose returns when those that were to be closed are.
	Reconnect(database string) error
	AwaitClose(ctx context.Context, database string) error
	// Kill ends clients and servers at once and leaves the database paused.
	Kill(database string) error
	KillClient(id uint64) error
	Disable(database string) error
	Enable(database string) error
	// SetServer says what operators want of a server of the cluster. The error is
	// ErrNoServer where there is none of this name.
	SetServer(name string, state ServerState) error
}

// ShutdownMode says what a SHUTDOWN waits for.
type ShutdownMode uint8

// Modes of SHUTDOWN.
const (
	ShutdownNow ShutdownMode = iota
	WaitForServers
	WaitForClients
)

// Traffic is what a database's pools have counted.
type Traffic struct {
	Database string
	Total    stats.Traffic
	Average  stats.Traffic // of the last stats_period or two
	Query    stats.Histogram
	Xact     stats.Histogram
	Wait     stats.Histogram
}

// Database is a row of SHOW DATABASES.
type Database struct {
	Name                 string
	Host                 string // of the primary; empty without one
	Port                 int
	ServerName           string // on the server
	ForceUser            string
	PoolSize             int
	MinPoolSize          int
	ReservePoolSize      int
	ServerLifetime       time.Duration
	PoolMode             string // empty where it has none of its own
	MaxConnections       int
	Connections          int
	MaxClientConnections int
	ClientConnections    int
	Paused               bool
	Disabled             bool
}

// Unset stands for a number that a user does not have of its own.
const Unset = -1

// User is a row of SHOW USERS.
type User struct {
	Name                 string
	PoolSize             int // Unset without one
	ReservePoolSize      int // Unset without one
	PoolMode             string
	MaxConnections       int
	Connections          int
	MaxClientConnections int
	ClientConnections    int
}

// Counts are the numbers of SHOW LISTS.
type Counts struct {
	Databases    int
	Users        int
	Pools        int
	FreeClients  int // that may still come
	UsedClients  int
	LoginClients int
	FreeServers  int
	UsedServers  int
	Names        int // in DNS
}

// Memory is a row of SHOW MEM.
type Memory struct {
	Name  string
	Size  int // of one
	Used  int
	Free  int
	Total int // bytes
}

// Host is a name that was looked up in DNS.
type Host struct {
	Name      string
	TTL       time.Duration
	Addresses []string
}

// Setting is a row of SHOW CONFIG, its values in PgBouncer's plain form.
type Setting struct {
	Key        string
	Value      string
	Default    string
	Changeable bool
}
