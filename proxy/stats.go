package proxy

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/stats"
	"github.com/pgvip/pgvip/tlsconf"
)

// origin is where a client comes from, for those who look at the clients.
type origin struct {
	addr, local netip.AddrPort // zero for a Unix socket
	tls         string         // version and cipher suite; empty for plain
}

// origin is that of the client who logs in.
func (a *attempt) origin() *origin {
	o := &origin{addr: addrPort(a.client), local: addrPort(a.socket.LocalAddr())}
	if a.tlsState != nil {
		o.tls = tlsconf.Describe(a.tlsState.conn)
	}
	return o
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort()
	}
	return netip.AddrPort{}
}

// seat is a session and the loop that it was seen on.
type seat struct {
	s    *session
	loop *loop.Loop
}

// ClientList tells what each client does now. One that is just moving to another
// loop may be missing.
func (p *Proxy) ClientList(ctx context.Context) ([]stats.Socket, error) {
	var seats []seat
	for _, s := range p.sessions.all() {
		seats = append(seats, seat{s, s.home.Load().loop})
	}
	return loop.Collect(ctx, seats, func(t seat) *loop.Loop { return t.loop }, func(t seat, list []stats.Socket) []stats.Socket {
		if t.s.home.Load().loop != t.loop || t.s.started.IsZero() || t.s.phase == ended {
			return list
		}
		return append(list, t.s.report())
	})
}

// report is the session's row. It runs on the session's loop.
func (s *session) report() stats.Socket {
	k := stats.Socket{
		ID: uint64(s.id), User: s.user, Database: s.who.database, State: "idle",
		Addr: s.from.addr, LocalAddr: s.from.local, TLS: s.from.tls,
		Connected: s.started, Requested: s.asked, CloseNeeded: s.proxy.draining.Load(),
		Replication: s.replication.String(),
		AppName:     s.profile.ApplicationName(), Unread: len(s.conn.Peek()), Unsent: s.conn.Queued(),
	}
	if s.statements != nil {
		k.Prepared = s.statements.Len()
	}
	now := s.conn.Loop().Now()
	k.Reason = s.obstacle()
	switch s.phase {
	case parked, moving, queued:
		k.State = "waiting"
		k.Waited = now.Sub(s.asked)
	case bound:
		k.State = "active"
		k.Link, k.Node = s.server.ID(), s.server.Pool().Key().Node.Name
		if at, running := s.server.Requested(); !at.IsZero() {
			k.Requested = at
			if running {
				k.Waited = now.Sub(at)
			}
		}
	}
	return k
}

// ID names the session among all clients of this process.
func (s *session) ID() uint64 { return uint64(s.id) }

// Accounts counts the clients of each database and user, and those that wait for a
// node to go to.
func (p *Proxy) Accounts(ctx context.Context) ([]stats.Account, error) {
	accounts, _, err := p.Census(ctx)
	return accounts, err
}

// Census counts the clients of each database and user, and those of each role, and
// who of them waits for a node to go to.
func (p *Proxy) Census(ctx context.Context) ([]stats.Account, []stats.Crowd, error) {
	waiting, err := p.parked(ctx)
	if err != nil {
		return nil, nil, err
	}
	accounts, roles := p.sessions.count()
	rows := make(map[account]*stats.Account)
	for key, n := range accounts {
		rows[key] = &stats.Account{Database: key.database, User: key.user, Clients: n}
	}
	crowds := []stats.Crowd{
		{Role: route.Primary.String(), Clients: roles[route.Primary]}, {Role: route.Replica.String(), Clients: roles[route.Replica]},
	}
	for _, w := range waiting {
		c := &crowds[w.s.role-route.Primary]
		c.Waiting++
		c.MaxWait = max(c.MaxWait, w.time)
		if a := rows[w.s.account()]; a != nil { // else it has left meanwhile
			a.Waiting++
			a.MaxWait = max(a.MaxWait, w.time)
		}
	}
	list := make([]stats.Account, 0, len(rows))
	for _, a := range rows {
		list = append(list, *a)
	}
	return list, crowds, nil
}

// parked lists the sessions that wait for a node.
func (p *Proxy) parked(ctx context.Context) ([]parkedFor, error) {
	shards := slices.Collect(maps.Values(p.shards))
	return loop.Collect(ctx, shards, func(sh *shard) *loop.Loop { return sh.loop }, func(sh *shard, list []parkedFor) []parkedFor {
		for _, parking := range sh.parked {
			list = append(list, parkedFor{parking.s, sh.loop.Now().Sub(parking.since)})
		}
		return list
	})
}

// parkedFor is how long a session has waited for a node.
type parkedFor struct {
	s    *session
	time time.Duration
}

// Streams is the number of clients of replication.
func (p *Proxy) Streams() int { return p.count.streaming() }

// Logins is the number of clients that are logging in.
func (p *Proxy) Logins() int { return max(0, p.Clients()-p.sessions.size()) }
