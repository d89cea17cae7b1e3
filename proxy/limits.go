package proxy

import (
	"sync"
	"time"

	"github.com/pgvip/pgvip/wire"
)

// Rules are the settings that the clients of a database or a user may have of
// their own. 0 is no limit.
type Rules struct {
	MaxDBClientConnections   int
	MaxUserClientConnections int

	ClientIdleTimeout      time.Duration // of a client without a server
	QueryTimeout           time.Duration // from the request to its end, the wait for a server included
	TransactionTimeout     time.Duration
	IdleTransactionTimeout time.Duration
	ClientWriteTimeout     time.Duration // of a client that takes nothing of what it is sent
}

// timed reports that there are limits of time.
func (r *Rules) timed() bool {
	return r.ClientIdleTimeout > 0 || r.QueryTimeout > 0 || r.TransactionTimeout > 0 || r.IdleTransactionTimeout > 0 ||
		r.ClientWriteTimeout > 0
}

// rules are those for a client.
func (s *Settings) rules(database, user string) Rules {
	if s.RulesFor == nil {
		return Rules{}
	}
	return s.RulesFor(database, user)
}

// headcount counts clients: all those who want a session, from their startup
// packet on, and those who have proved who they are, by database and user, so
// that nobody can use up the places of others without a password. Those of the
// console and of replication are not counted (rule 3).
type headcount struct {
	mu        sync.Mutex
	all       int            // guarded by mu
	databases map[string]int // guarded by mu
	users     map[string]int // guarded by mu
	streams   int            // of replication; guarded by mu
}

// place is how a client is counted.
type place uint8

const (
	uncounted place = iota // not at all
	entered                // as one of all
	known                  // by its database and user as well
	streaming              // as one of replication, and nothing else
)

// enter counts one client more, unless there are limit of them.
func (h *headcount) enter(limit int) *wire.Error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.all >= limit {
		return wire.Fatal(wire.CodeTooManyConnections, "sorry, too many clients already", "The limit is max_client_conn of pgvip.")
	}
	h.all++
	return nil
}

// stream counts one client of replication more, unless there are limit of them.
func (h *headcount) stream(limit int) *wire.Error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.streams >= limit {
		return wire.Fatal(wire.CodeTooManyConnections, "too many replication connections", "The limit is max_replication_connections of pgvip.")
	}
	h.streams++
	return nil
}

// streaming is the number of clients of replication.
func (h *headcount) streaming() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.streams
}

// know counts a client that has entered by database and user too, unless these
// have too many.
func (h *headcount) know(database, user string, r Rules) *wire.Error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if limit := r.MaxDBClientConnections; limit > 0 && h.databases[database] >= limit {
		return wire.Fatal(wire.CodeTooManyConnections, "too many connections for database \""+database+"\"",
			"The limit is max_db_client_connections of pgvip.")
	}
	if limit := r.MaxUserClientConnections; limit > 0 && h.users[user] >= limit {
		return wire.Fatal(wire.CodeTooManyConnections, "too many connections for role \""+user+"\"",
			"The limit is max_user_client_connections of pgvip.")
	}
	h.databases[database]++
	h.users[user]++
	return nil
}

// leave ends the count of a client at p.
func (h *headcount) leave(p place, database, user string) {
	if p == uncounted {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if p == streaming {
		h.streams--
		return
	}
	h.all--
	if p == known {
		decrease(h.databases, database)
		decrease(h.users, user)
	}
}

// decrease forgets names that nobody has any more.
func decrease(counts map[string]int, name string) {
	counts[name]--
	if counts[name] == 0 {
		delete(counts, name)
	}
}

// enter counts the client against max_client_conn, or max_replication_connections.
func (a *attempt) enter() error {
	kind, err := replicationOf(a.startup)
	if err != nil {
		return err
	}
	if kind != noReplication {
		if err := a.proxy.count.stream(a.proxy.settings.Load().MaxReplicationConn); err != nil {
			return err
		}
		a.place = streaming
		return nil
	}
	if err := a.proxy.count.enter(a.proxy.settings.Load().MaxClientConn); err != nil {
		return err
	}
	a.place = entered
	return nil
}

// know counts the client, who has proved who it is, by database and user.
func (a *attempt) know(ask *request) error {
	if err := a.proxy.count.know(ask.database, ask.user, a.proxy.settings.Load().rules(ask.database, ask.user)); err != nil {
		return err
	}
	a.place, a.ask = known, ask
	return nil
}

// leave ends the count of a client that has not become a session.
func (a *attempt) leave() {
	var database, user string
	if a.ask != nil {
		database, user = a.ask.database, a.ask.user
	}
	a.proxy.count.leave(a.place, database, user)
}

// uncount ends the count of a session.
func (s *session) uncount() {
	s.proxy.count.leave(s.place, s.who.database, s.user)
	s.proxy.clients.Add(-1)
}
