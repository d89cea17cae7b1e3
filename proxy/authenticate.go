package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/wire"
)

// maintenance is the database that every cluster has.
const maintenance = "postgres"

// authenticate runs the exchange that auth_type asks for, AuthenticationOk
// included: like PostgreSQL, pgvip looks at the database only afterwards.
func (a *attempt) authenticate(ctx context.Context, ask *request) error {
	settings := a.proxy.settings.Load()
	method, idents, err := a.method(settings, ask)
	if err != nil {
		return err
	}
	if settings.ServerUser != nil {
		ask.forced = settings.ServerUser(ask.database)
	}
	var secret auth.Secret
	var found bool
	if method != auth.Any {
		secret, found, err = a.secret(ctx, settings, ask)
	} else if ask.forced == "" && !a.proxy.console.has(ask.database) {
		// Whoever came would be whom they say, with the secrets that others brought.
		err = wire.Fatal(wire.CodeInvalidAuthorization, "database \""+ask.database+"\" has no user of its own, which auth_type any needs", "")
	}
	if err != nil {
		return err
	}
	l := a.proxy.auth.Load().Begin(method, ask.user, secret, found)
	l.Identify(a.systemUser(method), idents)
	if a.tlsState != nil {
		l.Bind(a.tlsState.binding)
	}
	return a.converse(l, ask)
}

// method finds out how the client has to prove itself.
func (a *attempt) method(settings *Settings, ask *request) (auth.Method, *auth.IdentMap, error) {
	if settings.HBA == nil {
		return settings.AuthMethod, nil, nil
	}
	c := a.connection(ask)
	rule, ok := settings.HBA.Match(c)
	switch {
	case !ok:
		return 0, nil, c.NoEntry()
	case rule.Method == auth.Reject:
		a.reason = fmt.Sprintf("line %d of auth_hba_file", rule.Line)
		return 0, nil, c.Rejected()
	}
	a.hbaLine = rule.Line
	return rule.Method, rule.Map, nil
}

// connection is what the rules of the hba file look at. Whether it is local is
// the socket's to say: a load balancer may name an address of any kind.
func (a *attempt) connection(ask *request) auth.Connection {
	c := auth.Connection{Database: ask.database, User: ask.user, Encrypted: a.tlsState != nil, Replication: ask.replication == physical}
	if _, local := a.socket.(*net.UnixConn); local {
		return c
	}
	c.Address = netip.IPv6Unspecified() // valid, so that no local line is meant
	for _, addr := range []net.Addr{a.client, a.socket.RemoteAddr()} {
		if tcp, ok := addr.(*net.TCPAddr); ok {
			c.Address = tcp.AddrPort().Addr()
			break
		}
	}
	return c
}

// secret finds what is stored for the user, and whether there is such a user: in
// the user list, or else by auth_query.
func (a *attempt) secret(ctx context.Context, settings *Settings, ask *request) (auth.Secret, bool, error) {
	secret, found := settings.Users.Lookup(ask.user)
	if found || settings.AuthQuery == nil {
		return secret, found, nil
	}
	database := ask.database
	if ask.replication == physical {
		database = maintenance // the client's, if it has given one, means nothing
	}
	q := settings.AuthQuery(database)
	if q.User == "" {
		return secret, false, nil
	}
	secret, found, err := a.proxy.lookups.find(ctx, &q, ask.user)
	if err == nil {
		a.lookedUp = &q
		return secret, found, nil
	}
	var own *wire.Error
	if errors.As(err, &own) && (own.Raw == nil || own.Code == wire.CodeInvalidCatalogName) {
		// The database is not there, so nobody can be found in it; PgBouncer tells
		// that, too.
		return secret, false, own
	}
	a.reason = err.Error()
	return secret, false, wire.Fatal(wire.CodeInvalidAuthorization, "pgvip could not look up the user",
		"The log of pgvip says why auth_query failed.")
}

// systemUser is who the connection itself says the client is; "" when it does
// not.
func (a *attempt) systemUser(method auth.Method) string {
	switch method {
	case auth.Cert:
		if a.tlsState != nil && a.tlsState.certificate != nil {
			return a.tlsState.certificate.Subject.CommonName
		}
	case auth.Peer:
		return peerName(a.socket)
	}
	return ""
}

// converse exchanges messages until the client is in or an error is due. A proof
// takes time to check, so that only one is checked at a time.
func (a *attempt) converse(l *auth.Login, ask *request) error {
	p := a.proxy
	p.compute <- struct{}{}
	send, done, failed := l.Start()
	<-p.compute
	for failed == nil {
		if _, err := a.conn.Write(send); err != nil {
			return errQuiet
		}
		if done {
			if ask.forced == "" && l.Method() != auth.Any {
				p.pools.SetCredential(ask.user, l.Credential())
			}
			return nil
		}
		body, err := readPassword(&a.reader, l.MaxMessage())
		if err != nil {
			return err
		}
		p.compute <- struct{}{}
		send, done, failed = l.Step(body)
		<-p.compute
	}
	a.reason = l.Reason()
	if a.hbaLine > 0 {
		a.reason += fmt.Sprintf(" (%s is asked for by line %d of auth_hba_file)", l.Method(), a.hbaLine)
	}
	if a.lookedUp != nil {
		p.lookups.doubt(a.lookedUp, ask.user)
	}
	return failed
}

// authServer makes what logs clients in. Made-up salts stay the same from one
// set of settings to the next.
func (p *Proxy) authServer(s *Settings) *auth.Server {
	secret := s.MockSecret
	if len(secret) == 0 {
		secret = p.mockSecret[:]
	}
	config := auth.ServerConfig{MockSecret: secret, Iterations: s.SCRAMIterations, Cache: p.keys}
	if s.AuthQuery == nil && s.Users != nil {
		config.MD5Share = s.Users.MD5Share() // else most users are unknown to the list
	}
	return auth.NewServer(config)
}

// warm has keys ready for the users of the list, unless other settings come.
func (p *Proxy) warm(a *auth.Server, users *auth.UserList) {
	a.Warm(users, func(derive func()) bool {
		select {
		case p.compute <- struct{}{}:
		case <-p.ctx.Done():
			return false
		}
		derive()
		<-p.compute
		return p.auth.Load() == a
	})
}
