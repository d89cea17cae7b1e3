package proxy

import (
	"context"
	"strings"

	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// replication is what a client asks for by the startup parameter of that name. Such
// a client speaks the streaming replication protocol: it has a server of its own
// from its login on, on port 5001 as well, where PostgreSQL itself says what a
// standby cannot do (logical decoding before version 16).
type replication uint8

const (
	noReplication replication = iota
	physical
	logical // "database": SQL as well
)

// String is what PgBouncer's console shows.
func (r replication) String() string {
	switch r {
	case noReplication:
		return "none"
	case physical:
		return "physical"
	case logical:
		return "logical"
	default:
		panic("BUG: unknown replication")
	}
}

// replicationOf gives what a startup packet asks for.
func replicationOf(s *wire.Startup) (replication, error) {
	if value, ok := s.Get("replication"); ok {
		return readReplication(value)
	}
	return noReplication, nil
}

// readReplication reads the parameter as PostgreSQL does: "database", or a boolean
// and any unambiguous beginning of one (parse_bool).
func readReplication(value string) (replication, error) {
	if value == "database" {
		return logical, nil
	}
	v := strings.ToLower(value)
	begins := func(word string, least int) bool { return len(v) >= least && strings.HasPrefix(word, v) }
	switch {
	case v == "1", begins("true", 1), begins("yes", 1), begins("on", 2):
		return physical, nil
	case v == "0", begins("false", 1), begins("no", 1), begins("off", 2):
		return noReplication, nil
	}
	return 0, wire.Fatal(wire.CodeInvalidParameterValue, "invalid value for parameter \"replication\": \""+value+"\"",
		`Valid values are: "false", 0, "true", 1, "database".`)
}

// replicate logs a server in for a client of replication, whose welcome is that
// server's own, and begins the session with it.
func (a *attempt) replicate(ctx context.Context, ask *request) error {
	p := a.proxy
	home := p.leastLoaded()
	private, conn, err := p.walsender(ctx, a.role, ask, home)
	if err != nil {
		return err
	}
	s := &session{
		proxy: p, user: ask.user, role: a.role, replication: ask.replication, private: private,
		who:     &identity{database: ask.database, user: ask.serverUser(), backend: ask.backend},
		profile: pool.Profile{Origin: &pool.Origin{Welcome: conn.Parameters()}},
	}
	s.home.Store(&p.shards[home].stay)
	welcome := appendStatuses(nil, conn.Parameters(), "")
	if err := a.handOver(s, home, welcome, func() { s.bind(conn) }); err != nil {
		conn.Close()
		home.Post(private.Dismiss)
		return err
	}
	return nil
}

// walsender logs in to a server of role as soon as there is one. What a server
// says against it is for the client, who else would wait for a place among
// max_wal_senders, say.
func (p *Proxy) walsender(ctx context.Context, role route.Role, ask *request, home *loop.Loop) (*pool.Pool, *pool.Conn, error) {
	wait := p.newWait(role, ask.database)
	defer wait.end()
	for {
		changed := p.tableChange()
		table := p.table.Load()
		if node := p.node(table, role); node != nil && !shut(table, node) && !p.pools.Paused(ask.database) {
			key := pool.Key{Node: node, Database: ask.database, User: ask.serverUser()}
			private := p.pools.Replication(key, role, home, ask.backend)
			conn, err := private.Connect(ctx)
			if err == nil {
				return private, conn, nil
			}
			home.Post(private.Dismiss)
			if told := pool.Told(err); told != nil {
				return nil, nil, told
			}
		}
		if err := wait.next(ctx, changed); err != nil {
			return nil, nil, err
		}
	}
}

// bind gives the session the server that was logged in for it alone.
func (s *session) bind(conn *pool.Conn) {
	if s.phase == ended {
		s.private.Dismiss() // and so it does not take what it is offered
	}
	s.private.Offer(conn)
	if s.phase == ended {
		return
	}
	s.phase = queued
	s.asked = s.conn.Loop().Now()
	if w := s.private.Acquire(s); w != nil {
		s.waiter = w
	}
}

// endReplication ends a session whose server is no longer to be used, as
// PostgreSQL ends one when it stops.
func (s *session) endReplication() {
	s.end(causeFenced, wire.Fatal(wire.CodeAdminShutdown, "terminating replication connection because its server is no longer in use", "Connect again."))
}
