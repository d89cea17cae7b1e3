package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// login takes one client from accept to its session. It owns conn, and the slot
// that its acceptor took for it.
func (p *Proxy) login(conn net.Conn, role route.Role) {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	free := p.unknown.enter(func() { conn.Close(); cancel() })
	defer free()
	p.clients.Add(1)
	if d := p.settings.Load().ClientLoginTimeout; d > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, d)
		defer stop()
		conn.SetDeadline(time.Now().Add(d))
	}
	a := &attempt{proxy: p, socket: conn, conn: conn, role: role, flow: p.flows.opened(conn), free: free, reader: reader{conn: conn}}
	// A stop must not wait for a client that says nothing. It may still be told.
	defer context.AfterFunc(p.ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })()
	err := a.run(ctx)
	if err == nil {
		return // the session has taken over
	}
	defer a.close()
	a.leave()
	p.clients.Add(-1)
	a.refuse(err)
}

// attempt is one login under way.
type attempt struct {
	proxy    *Proxy
	socket   net.Conn  // as accepted
	conn     net.Conn  // what the client is spoken to through: socket, or TLS on it
	tlsState *tlsState // nil without
	client   net.Addr  // whose conn is: its peer's, or whom a load balancer names
	role     route.Role
	place    place
	flow     *Flow  // its own until a session or the console has it; nil when nobody wants to know
	free     func() // gives back the slot of a client that is not known yet
	reader   reader
	startup  *wire.Startup
	ask      *request // once the client is known
	reason   string   // for the log, when the client is told less

	hbaLine  int        // of the rule that counts; 0 without
	lookedUp *AuthQuery // that the user's secret has come by
}

// run does all steps. A *wire.Error is for the client; errQuiet for nobody.
func (a *attempt) run(ctx context.Context) error {
	if err := a.identify(); err != nil {
		return err
	}
	var err error
	if a.startup, err = a.readStartup(); err != nil {
		return err
	}
	if a.startup.Code == wire.CancelRequestCode {
		a.proxy.cancel(a.startup, a.client)
		return errQuiet
	}
	if err := a.checkTLS(); err != nil {
		return err
	}
	if a.proxy.console.has(a.startup.Database()) {
		return a.operate(ctx)
	}
	if err := a.proxy.closed(); err != nil {
		return err
	}
	if err := a.enter(); err != nil {
		return err
	}
	ask, err := readRequest(a.startup)
	if err != nil {
		return err
	}
	if err := a.proxy.disabled(ask.database); err != nil {
		return err
	}
	if err := a.negotiate(); err != nil {
		return err
	}
	if err := a.authenticate(ctx, ask); err != nil {
		return err
	}
	if ask.replication != noReplication {
		a.free()
		return a.replicate(ctx, ask)
	}
	if err := a.know(ask); err != nil {
		return err
	}
	a.free() // nobody waits for a primary while holding one
	who, set, err := a.proxy.welcome(ctx, a.role, ask)
	if err != nil {
		return err
	}
	return a.begin(set, &session{proxy: a.proxy, who: who, user: ask.user, role: a.role, profile: pool.Profile{Origin: set.origin, AppName: a.appName(ask)}})
}

// appName is what the client's application_name becomes on its server.
func (a *attempt) appName(ask *request) string {
	if a.proxy.settings.Load().ApplicationNameAddHost {
		return ask.appName + " - " + a.client.String()
	}
	return ask.appName
}

// negotiate tells a client that asked for more than is spoken here what it gets.
func (a *attempt) negotiate() error {
	unknown, needed := a.startup.Negotiate()
	if !needed {
		return nil
	}
	if _, err := a.conn.Write(wire.AppendNegotiateProtocolVersion(nil, a.startup.Version(), unknown)); err != nil {
		return errQuiet
	}
	return nil
}

// begin sends the rest of the welcome and hands the socket to the loop of the
// pool that the client will use.
func (a *attempt) begin(set *welcomeSet, s *session) error {
	p := a.proxy
	s.reads(p.node(p.table.Load(), a.role))
	home := p.leastLoaded()
	if s.node != nil {
		joins := p.pools.Pool(pool.Key{Node: s.node, Database: s.who.database, User: s.who.user}, a.role)
		home = joins.Loop()
		if s.who.backend == nil {
			s.join(joins)
		}
	}
	s.home.Store(&p.shards[home].stay)
	return a.handOver(s, home, set.append(nil, s.profile.AppName), nil)
}

// handOver sends a welcome and gives the socket to the session's loop, where then
// runs, if there is something, before anything is read.
func (a *attempt) handOver(s *session, home *loop.Loop, welcome []byte, then func()) error {
	p := a.proxy
	s.place = a.place
	s.from, s.flow = a.origin(), a.flow
	s.secret = newSecret(a.startup.Version())
	p.sessions.add(s, p.settings.Load().PeerID) // from now on it can be found, and must have a home

	b := wire.AppendBackendKeyData(welcome, s.id, s.secret)
	b = wire.AppendReadyForQuery(b, 'I')
	if _, err := a.conn.Write(b); err != nil {
		s.withdraw()
		return errQuiet
	}
	fd, err := dup(a.socket)
	if err != nil {
		s.withdraw()
		p.log.Error("client's socket could not be taken over", zap.Error(err))
		return errQuiet
	}
	unread := append([]byte(nil), a.reader.unread()...)
	a.socket.Close()
	var conn *tls.Conn
	if a.tlsState != nil {
		conn = a.tlsState.conn
	}
	p.counters.Logins.Add(1)
	p.counters.LoginsBy[s.role].Add(1)
	a.logBegin(s)
	if err := home.Post(func() {
		s.start(home, fd, conn, unread)
		if then != nil {
			then()
		}
	}); err != nil {
		unix.Close(fd)
		s.withdraw()
		return errQuiet
	}
	return nil
}

// dup gives the socket a descriptor of our own. net.Conn.File would make it
// blocking.
func dup(conn net.Conn) (int, error) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return 0, errors.New("no socket")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var fd int
	var failed error
	err = raw.Control(func(original uintptr) {
		fd, failed = unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0)
	})
	return fd, errors.Join(err, failed)
}

// refuse tells the client why it cannot come in, and the log what the client is
// not told.
func (a *attempt) refuse(err error) {
	if errors.Is(err, errQuiet) {
		return
	}
	p := a.proxy
	if p.ctx.Err() != nil {
		err = wire.Fatal(wire.CodeCannotConnectNow, "pgvip is shutting down", "")
	}
	p.counters.LoginsFailed.Add(1)
	var e *wire.Error
	if !errors.As(err, &e) {
		e = wire.Fatal(wire.CodeInternalError, err.Error(), "")
	}
	fields := []zap.Field{zap.String("code", e.Code), zap.String("cause", e.Message)}
	if a.startup != nil {
		user, _ := a.startup.Get("user")
		fields = append(fields, zap.String("user", user), zap.String("db", a.startup.Database()))
	}
	if a.reason != "" {
		fields = append(fields, zap.String("reason", a.reason))
	}
	a.logRefusal(fields...)
	a.conn.SetDeadline(time.Now().Add(time.Second))
	a.conn.Write(e.Append(nil))
	if a.tlsState != nil {
		a.tlsState.conn.CloseWrite()
	}
	lingerClose(a.socket)
}

// lingerClose lets the client read what was written: a close with unread input
// would reset the connection and take the message with it.
func lingerClose(conn net.Conn) {
	type closeWriter interface{ CloseWrite() error }
	if cw, ok := conn.(closeWriter); ok && cw.CloseWrite() == nil {
		var sink [512]byte
		for {
			if _, err := conn.Read(sink[:]); err != nil {
				return
			}
		}
	}
}
