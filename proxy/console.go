package proxy

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/wire"
)

// ownUser is the name under which whoever runs pgvip may come in by a Unix socket
// without a password, as in PgBouncer.
const ownUser = "pgbouncer"

// Console is where those go who log in to one of its databases. They count for no
// limit of the clients, and have no session.
type Console struct {
	// Databases are the names that lead there.
	Databases []string
	// Serve takes over a connection on which AuthenticationOk was sent. It must
	// not block.
	Serve func(net.Conn, Operator)
	// Cancel serves a cancel request that is for no client, and reports whether it
	// is for an operator.
	Cancel func(id uint32, key []byte) bool
}

// Operator is somebody who has been let in to the console.
type Operator struct {
	User    string
	Admin   bool // one of admin_users; else of stats_users
	AppName string
	ID      uint32 // of BackendKeyData, with Key
	Key     []byte
	Unread  []byte // what was read of the connection, and is the console's

	Addr, LocalAddr netip.AddrPort // zero for a Unix socket
	TLS             string         // version and cipher suite; empty for plain
}

// has reports whether a database is the console.
func (c *Console) has(database string) bool { return slices.Contains(c.Databases, database) }

// operate lets an operator in, or says why not.
func (a *attempt) operate(ctx context.Context) error {
	p, s := a.proxy, a.startup
	ask := &request{database: s.Database()}
	ask.user, _ = s.Get("user")
	if err := a.negotiate(); err != nil {
		return err
	}
	o := Operator{User: ask.user, ID: p.sessions.free(p.settings.Load().PeerID), Key: newSecret(s.Version())}
	o.AppName, _ = s.Get("application_name")
	if err := a.admit(ctx, ask, &o); err != nil {
		return err
	}
	a.free()
	p.clients.Add(-1)
	p.counters.Logins.Add(1)
	if p.settings.Load().Log.Connections {
		p.log.Info("operator logged in", zap.Stringer("client", a.client), zap.String("user", o.User), zap.Bool("admin", o.Admin))
	}
	from := a.origin()
	o.Addr, o.LocalAddr, o.TLS = from.addr, from.local, from.tls
	o.Unread = slices.Clone(a.reader.unread())
	a.conn.SetDeadline(time.Time{})
	conn := a.conn
	if a.flow != nil {
		conn = &operatorConn{conn, sync.OnceFunc(func() { p.flows.closed(a.flow) })}
	}
	p.console.Serve(conn, o)
	return nil
}

// admit finds out whether somebody may come in, and what for. AuthenticationOk is
// sent when the password was right, before it is known whether that is enough: as
// PgBouncer does, and PostgreSQL with databases.
func (a *attempt) admit(ctx context.Context, ask *request, o *Operator) error {
	settings := a.proxy.settings.Load()
	if ask.user == ownUser && ofOwnUser(a.conn) {
		o.Admin = true
		if _, err := a.conn.Write(wire.AppendAuthentication(nil, wire.AuthOk, nil)); err != nil {
			return errQuiet
		}
		return nil
	}
	if err := a.authenticate(ctx, ask); err != nil {
		return err
	}
	// As with PgBouncer, where names mean nothing everybody is an administrator.
	o.Admin = settings.AuthMethod == auth.Any || slices.Contains(settings.AdminUsers, ask.user)
	if !o.Admin && !slices.Contains(settings.StatsUsers, ask.user) {
		return wire.Fatal(wire.CodeInvalidAuthorization, "not allowed", "The user must be one of admin_users or stats_users of pgvip.")
	}
	return nil
}
