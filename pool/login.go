package pool

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// retryPause is the least time between two rounds of logins after one failed
// because the server was not there; jitter keeps many pools from knocking at
// the same moment.
const retryPause = 100 * time.Millisecond

// login runs on a goroutine of its own, and has a permit.
func (p *Pool) login(ctx context.Context, generation int) {
	conn, err := p.set.connect(ctx, p, p.params)
	if posted := p.loop.Post(func() { p.loggedIn(conn, err, generation) }); posted != nil && conn != nil {
		conn.Close()
	}
}

func (p *Pool) loggedIn(conn *Conn, err error, generation int) {
	p.dialing--
	if p.heir != nil {
		p.loginArrived(conn, err, generation)
		return
	}
	switch {
	case errors.Is(err, errLeft): // who waited has gone elsewhere
	case err != nil:
		p.loginFailed(err)
	default:
		p.adopt(conn, generation)
	}
}

// Offer gives the pool a connection that was logged in for another reason, with
// neutral parameters. The pool takes it if there is room and no settings have
// changed meanwhile.
func (p *Pool) Offer(conn *Conn) {
	if current := conn.settings == p.set.settings.Load(); current && !p.retired && !p.paused && p.room() {
		p.adopt(conn, p.generation)
		return
	}
	p.set.closeLater(conn)
}

// closeLater closes a connection away from the loop.
func (t *Set) closeLater(conn *Conn) {
	if !t.background(func(context.Context) { conn.Close() }) {
		conn.Close()
	}
}

// adopt makes a logged-in connection a server of this pool.
func (p *Pool) adopt(conn *Conn, generation int) {
	s, err := p.newServer(conn, generation)
	if err != nil {
		p.retryLater(retryPause)
		return
	}
	found := p.trouble
	p.trouble = false
	p.servers[s] = struct{}{}
	p.returned(s)
	if found {
		p.fill()
	}
}

// newServer makes a server of a logged-in connection, which its loop owns then.
func (p *Pool) newServer(conn *Conn, generation int) (*Server, error) {
	s := &Server{
		pool:     p,
		id:       p.set.lastID.Add(1),
		permit:   conn.permit,
		stale:    generation != p.generation,
		secure:   conn.TLS() != nil,
		created:  p.loop.Now(),
		reported: append([]wire.Param(nil), conn.Parameters()...),
		frames:   wire.NewBackendFramer(),
		state:    idle,
		mode:     p.rules.Mode,

		givenKnown: true,
	}
	s.pid, s.key = conn.BackendKey()
	if p.params == nil {
		p.set.loggedIn(p.key, p.role, s.reported)
	}
	s.replies.SetStatus('I')
	s.lastUse = s.created
	if err := p.take(s, conn); err != nil {
		p.log.Warn("server connection could not be taken over", zap.Error(err))
		s.permit.giveBack()
		return nil, err
	}
	p.set.counters.ServerLogins.Add(1)
	return s, nil
}

// take makes the loop the owner of the connection's socket.
func (p *Pool) take(s *Server, conn *Conn) error {
	fd, unread, err := conn.Detach()
	if err != nil {
		conn.Conn.Close()
		return err
	}
	s.local = localAddr(fd)
	if err := p.loop.AddTLS(&s.conn, fd, loop.ClassServer, s, conn.TLS(), unread); err != nil {
		syscall.Close(fd)
		return err
	}
	return nil
}

// loginFailed decides between telling the waiters and trying again. What every
// client of this pool would be told by PostgreSQL itself ends their wait; what
// may pass does not.
func (p *Pool) loginFailed(err error) {
	p.set.counters.LoginFailures.Add(1)
	p.trouble = true
	if refused := Refusal(err); refused != nil {
		for w := p.queue.pop(); w != nil; w = p.queue.pop() {
			b := w.borrower
			p.recycle(w)
			b.Refused(refused)
		}
		p.armQueueTimer()
		return
	}
	p.log.Warn("server login failed", zap.Error(err), zap.Int("waiting", p.queue.size))
	pause := retryPause
	var fatal *wire.Error
	if errors.As(err, &fatal) && fatal.Code == wire.CodeTooManyConnections {
		// The node is full. A server that comes back serves the queue meanwhile.
		pause = max(pause, p.set.settings.Load().ServerLoginRetry)
		p.set.ledger.nodeFull(p.account)
	}
	p.retryLater(pause)
}

func (p *Pool) retryLater(pause time.Duration) {
	if p.retry.Pending() || p.retired {
		return
	}
	p.retry = p.loop.After(pause+rand.N(pause/2), p.fill)
}

// Refusal says what a failed login means to the clients that wait for it: the
// error to tell them, or nil when they may wait and try again.
func Refusal(err error) *wire.Error {
	var fatal *wire.Error
	var missing *auth.SecretError
	switch {
	case errors.As(err, &fatal) && !passing(fatal.Code):
		return coded(fatal)
	case errors.As(err, &missing):
		e := wire.Fatal(wire.CodeInvalidAuthorization, "pgvip cannot log in to the server as \""+missing.User+"\"",
			"For the operator of pgvip: "+missing.Remedy+".")
		e.Detail = "The server asks for " + missing.Method + "; pgvip holds " + missing.Held + "."
		return e
	}
	return nil
}

// coded completes an error that a server sent without an SQLSTATE, by which every
// driver decides: to leave it out breaks the protocol.
func coded(e *wire.Error) *wire.Error {
	if e.Code != "" {
		return e
	}
	whole := wire.Fatal(wire.CodeProtocolViolation, cmp.Or(e.Message, "server refused the login without saying why"), e.Hint)
	whole.Detail = e.Detail
	return whole
}

// Told is what a server has said against a login, unless it is about to start or
// stop; nil for all else.
func Told(err error) *wire.Error {
	var fatal *wire.Error
	if errors.As(err, &fatal) && fatal.Code == wire.CodeTooManyConnections {
		return fatal
	}
	return Refusal(err)
}

// passing reports the SQLSTATEs of a failed login that say nothing about the
// client.
func passing(code string) bool {
	switch code {
	case wire.CodeCannotConnectNow, wire.CodeTooManyConnections, wire.CodeAdminShutdown, "57P02":
		return true
	}
	return false
}

// noteFatal logs what a server said when it closed.
func (p *Pool) noteFatal(s *Server, message []byte) {
	e := wire.ParseError(message[wire.HeaderSize:])
	p.log.Info("server ended the connection", zap.String("code", e.Code), zap.String("message", e.Message), zap.Uint32("pid", s.pid))
	p.set.observe(route.Observation{Node: p.key.Node, Kind: route.SawBroken, At: time.Now(), Err: e})
}
