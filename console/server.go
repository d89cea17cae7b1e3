package console

import (
	"cmp"
	"crypto/subtle"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgvip/pgvip/stats"
	"github.com/pgvip/pgvip/wire"
)

const (
	// adminDatabase is the database that an operator connects to.
	adminDatabase = "pgbouncer"
	// alias is its other name.
	alias = "pgvip"

	// bouncerVersion is that of the PgBouncer whose console this is.
	bouncerVersion = "1.25.2"

	// defaultLimit is how many operators there may be at once: monitoring that
	// hangs must not pile up for ever.
	defaultLimit = 100
)

// Databases are the names under which clients find the console.
func Databases() []string { return []string{adminDatabase, alias} }

// IsDatabase reports whether a client that names this database wants the console.
func IsDatabase(name string) bool { return name == adminDatabase || name == alias }

// Options are what a Server is made of.
type Options struct {
	Target  Target
	Version string // of pgvip
	Port    int    // that SHOW DATABASES shows for the console itself
	Limit   int    // operators at once; 0 for the default
}

// Server is the console of one pgvip.
type Server struct {
	// Immutable after New.
	target   Target
	version  string
	port     int
	limit    int
	shows    map[string]show
	patience time.Duration // with event loops that do not answer a SHOW

	queries atomic.Uint64

	// Guarded by mu.
	mu       sync.Mutex
	sessions map[*session]struct{}
	closed   bool
	running  sync.WaitGroup
}

// New makes a Server.
func New(o Options) *Server {
	return &Server{
		target: o.Target, version: o.Version, port: o.Port, limit: cmp.Or(o.Limit, defaultLimit),
		shows: shows(), patience: showLimit, sessions: map[*session]struct{}{},
	}
}

// Login is an operator who has been let in.
type Login struct {
	User    string
	Admin   bool // else there is only SHOW
	AppName string
	ID      uint32 // for cancel requests, with Key
	Key     []byte
	Unread  []byte // what came behind the login

	Addr, LocalAddr netip.AddrPort // zero for a Unix socket
	TLS             string         // version and cipher suite; empty for plain
}

// Serve begins to talk to an operator, AuthenticationOk having been sent, and goes
// on until one of the two has had enough; it does not wait for that. It owns conn.
func (v *Server) Serve(conn net.Conn, login Login) {
	s := newSession(v, conn, login)
	if err := v.enter(s); err != nil {
		conn.SetWriteDeadline(time.Now().Add(writeLimit))
		conn.Write(err.Append(nil))
		conn.Close()
		return
	}
	go func() {
		defer v.leave(s)
		defer conn.Close()
		s.run()
	}()
}

// enter takes one of the places.
func (v *Server) enter(s *session) *wire.Error {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.closed:
		return wire.Fatal(wire.CodeCannotConnectNow, "pgvip is shutting down", "")
	case len(v.sessions) >= v.limit:
		return wire.Fatal(wire.CodeTooManyConnections, "sorry, too many operators already", "")
	}
	v.sessions[s] = struct{}{}
	v.running.Add(1)
	return nil
}

func (v *Server) leave(s *session) {
	v.mu.Lock()
	delete(v.sessions, s)
	v.mu.Unlock()
	v.running.Done()
}

// Cancel ends what the operator waits for whom a cancel request names, if its key
// is right. It reports whether there is one.
func (v *Server) Cancel(id uint32, key []byte) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for s := range v.sessions {
		if s.login.ID == id && subtle.ConstantTimeCompare(s.login.Key, key) == 1 {
			s.interrupt(errCanceled)
			return true
		}
	}
	return false
}

// Close sends every operator away and waits until they are gone.
func (v *Server) Close() {
	v.mu.Lock()
	v.closed = true
	for s := range v.sessions {
		s.close()
	}
	v.mu.Unlock()
	v.running.Wait()
}

// sockets are the operators as SHOW CLIENTS shows them.
func (v *Server) sockets() []stats.Socket {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := make([]stats.Socket, 0, len(v.sessions))
	for s := range v.sessions {
		list = append(list, stats.Socket{
			ID: uint64(s.login.ID), User: s.login.User, Database: adminDatabase, State: "idle",
			Addr: s.login.Addr, LocalAddr: s.login.LocalAddr, TLS: s.login.TLS,
			Connected: s.started, Requested: time.Unix(0, s.requested.Load()), AppName: s.login.AppName,
		})
	}
	return list
}

// kill ends the operator with this ID, and reports whether there is one.
func (v *Server) kill(id uint64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for s := range v.sessions {
		if uint64(s.login.ID) == id {
			s.close()
			return true
		}
	}
	return false
}
