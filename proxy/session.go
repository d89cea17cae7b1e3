package proxy

import (
	"crypto/tls"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/statement"
	"github.com/pgvip/pgvip/wire"
)

// phase is where a session stands; see the drawing in doc.go.
type phase uint8

const (
	resting phase = iota // no server and no request
	parked               // its request waits for a node to go to
	moving               // on its way to another loop
	queued               // its request waits for a server
	bound                // has a server
	ended                // over; the socket may still be lingering
)

// session is one logged-in client. It belongs to the loop of its socket.
type session struct {
	// Immutable after start.
	proxy  *Proxy
	who    *identity
	id     uint32
	secret []byte // of its BackendKeyData
	role   route.Role
	user   string // as whom the client has logged in
	place  place
	from   *origin
	flow   *Flow // nil when nobody wants to know
	// replication is what the client streams; its server is private from the login on.
	replication replication

	// Atomic: where it is, for those who come from elsewhere.
	home atomic.Pointer[stay]

	// Owned by the loop.
	conn    loop.Conn
	profile pool.Profile // what it expects of its servers
	node    *route.Node  // for reads: where this client goes as long as it can
	counted *route.Node  // where it counts as a reader
	server  *pool.Server
	waiter  *pool.Waiter
	private *pool.Pool // of a client that needs a server of its own
	last    *pool.Pool // of the last server
	large   collected

	statements *statement.Client // prepared; nil until it has used any

	joined    *pool.Pool // that counts it among its clients
	shard     *shard     // of its loop
	rules     *Rules     // that count for it
	slot      int        // in shard.sessions, plus one; 0 while it is in none
	started   time.Time
	since     time.Time // see clock
	notified  bool      // that it waits
	taken     time.Time // clogged: when the client was last seen to take something
	looked    time.Time // clogged: when we last looked
	untaken   int       // clogged: how much it had not taken then
	asked     time.Time // when its last request began that needed a server
	frames    wire.Framer
	phase     phase
	doomed    bool        // killed before it has started
	inData    bool        // the loop's Data is running: bytes are not in conn yet
	clogged   bool        // the client has not taken all of its replies yet
	fault     *wire.Error // what the client has broken; it is told behind its replies
	goodbye   bool        // the client has said Terminate
	shares    bool        // its server goes to others between its transactions
	prepares  bool        // and its prepared statements are followed
	request   byte        // type of the message forwarded last
	inBatch   bool        // and it stood in a batch: after an error PostgreSQL skips it
	skipping  bool        // the client's messages, up to a Sync, after an error of ours
	resetting bool        // a statement that takes parameters away is on its way
	waiting   bool        // what the client has sent since waits for that
	held      bool        // it begins with what waits for an answer on this very server
	leaving   bool        // the client has sent all it had to say
	left      pool.State  // what it has left on servers that others get
	again     bool        // no byte of its request has left for a server that is lost
	weight    int64       // while parked: bytes that it has sent
	mayCommit bool        // what was sent since the last ReadyForQuery may end in a commit
}

// start begins the session on its loop; conn is its TLS, nil without.
func (s *session) start(l *loop.Loop, fd int, conn *tls.Conn, unread []byte) {
	s.started = l.Now()
	if err := l.AddTLS(&s.conn, fd, loop.ClassClient, s, conn, unread); err != nil {
		s.proxy.flows.closed(s.flow)
		unix.Close(fd)
		s.phase = ended
		s.forget()
		s.proxy.log.Error("client's socket could not be taken over", zap.Error(err))
		return
	}
	s.proxy.shards[l].add(s)
	s.rests()
	switch {
	case s.doomed:
		s.kill()
	case s.proxy.draining.Load():
		s.shutdown()
	}
}

// stay is a session's time on one loop. Each move begins another one, so that a
// session that has come back can be told from one that has not left yet.
type stay struct{ loop *loop.Loop }

// post runs f on the session's loop, wherever it is by then.
func (s *session) post(f func()) {
	home := s.home.Load()
	home.loop.Post(func() {
		if now := s.home.Load(); now != home {
			s.post(f)
			return
		}
		f()
	})
}

// Data implements loop.Handler.
func (s *session) Data(c *loop.Conn, b []byte) int {
	if s.phase == resting {
		b = s.skip(b)
		if s.clogged || !s.wake(b) {
			return len(b)
		}
		if s.phase == ended {
			return 0
		}
	}
	if s.phase == parked && !s.weigh(len(b)) {
		return 0
	}
	switch {
	case s.phase != bound || s.waiting:
		return len(b)
	case s.goodbye, s.fault != nil:
		return 0
	default:
		return s.forward(b)
	}
}

// skip passes over what PostgreSQL ignores between requests: a Flush, and the end
// of a COPY that the server has broken off. No server is needed for that.
func (s *session) skip(b []byte) []byte {
	for len(b) > 0 {
		f := s.frames
		typ, n, piece := f.Next(b)
		ignored := typ == 'd' || typ == 'c' || typ == 'f' || typ == 'H' && n == wire.HeaderSize
		if piece != wire.More && piece != wire.Last && !(ignored && (piece == wire.Whole || piece == wire.First)) {
			break
		}
		s.frames = f
		b = b[n:]
	}
	return b
}

// wake looks at what a session without a server has got, and looks for a server
// once that is a request. It returns false while it is not.
func (s *session) wake(b []byte) bool {
	f := s.frames
	typ, _, piece := f.Next(b)
	switch {
	case piece == wire.Short && (len(b) == 0 || wire.Frontend(b[0])):
		return false
	case piece == wire.Bad || !wire.Frontend(b[0]):
		s.end(causeProtocol, wire.CheckFrontend(b))
	case typ == 'X':
		s.end(causeClient, nil)
	default:
		s.asks()
		s.inData = true
		s.asked = s.conn.Loop().Now()
		s.seek()
		s.inData = false
	}
	return true
}

// pass sends the client's messages on and returns how many bytes, of a message that
// is not whole, are to be kept.
func (s *session) pass(b []byte) int {
	s.sends()
	out := outgoing{in: b, buffer: s.server.Scratch()}
	at := 0
	s.waiting = !s.release(&out, 0)
	for at < len(b) && !s.waiting {
		frames := s.frames
		typ, n, piece := s.next(b[at:])
		begins := piece == wire.Whole || piece == wire.First
		if begins {
			s.inBatch = s.server.InBatch()
		}
		switch {
		case piece == wire.Bad, (begins || piece == wire.Short) && !wire.Frontend(b[at]):
			s.send(out.until(at))
			s.breach(wire.CheckFrontend(b[at:]))
			return 0
		case piece == wire.Short:
			s.send(out.until(at))
			return len(b) - at
		case begins && typ == 'X':
			s.terminate(out.until(at))
			return 0
		case piece == wire.Whole && !s.noteReset(typ, b[at+wire.HeaderSize:at+n]):
			s.waiting, s.held = true, true
			continue
		case s.prepares && piece != wire.Whole && s.gather(&out, at, n, piece):
			if s.phase == ended {
				return 0
			}
			at += n
			s.request = 'P'
			s.waiting = !s.release(&out, at)
			continue
		case begins && s.refused(&out, typ, at, n, piece):
			s.request = 0 // the server has nothing to answer
		case begins && s.prepares:
			if !s.exchange(&out, b[at:at+n], at, n, piece) {
				s.frames, s.waiting, s.held = frames, true, true
				continue
			}
			s.request = typ
		case begins:
			s.note(typ, b[at:at+n])
			if s.shares {
				s.inspect(&out, at, n, piece)
			}
			s.request = typ
		}
		at += n
		s.waiting = s.pauses(piece)
	}
	s.send(out.until(at))
	if s.shares && s.phase == bound && s.frames.Between() && s.server.Done() {
		s.giveBack() // what was sent is answered by nothing
	}
	return len(b) - at
}

func (s *session) send(b []byte) {
	if len(b) == 0 {
		s.server.Push()
	} else if !s.server.Send(b) {
		s.conn.Pause(loop.PausePeer)
	}
	s.watch()
}

// Drained implements loop.Handler: the client takes more.
func (s *session) Drained(*loop.Conn) {
	s.clogged = false
	switch {
	case s.server != nil:
		s.server.Resume()
	case s.phase == resting:
		s.rest()
	}
}

// EOF implements loop.Handler. A client that has finished sending still gets
// the replies to what it sent, as long as something is running for it.
func (s *session) EOF(c *loop.Conn) {
	switch {
	case s.phase == ended:
		c.Close()
	case s.phase == bound && (c.Paused() || s.goodbye || s.fault != nil):
		// Unread requests come first; a server that was told goodbye comes to
		// its own end.
	case s.phase == bound:
		s.finish()
	case s.phase == queued && !c.Paused() && s.waiter.Preparing() && requested(c.Peek()):
		s.leaving = true // Lent comes back to it
	default:
		s.end(causeClient, nil)
	}
}

// finish ends a session whose client has sent all it had to say, once that has
// been answered.
func (s *session) finish() {
	if s.answering() {
		s.leaving = true
		s.server.Ending(true)
		return
	}
	s.end(causeClient, nil)
}

// answering reports that replies come by themselves. Of a message that ends too
// early the server waits for the rest.
func (s *session) answering() bool {
	return s.frames.Between() && s.server.Outstanding() && !s.server.CopyIn()
}

// breach ends a session whose client has broken the protocol, once what it sent
// before has been answered, as PostgreSQL does.
func (s *session) breach(err *wire.Error) {
	if s.answering() {
		s.fault = err
		s.server.Ending(true)
		return
	}
	s.end(causeProtocol, err)
}

// Failed implements loop.Handler.
func (s *session) Failed(*loop.Conn, error) {
	if s.phase == bound && s.goodbye {
		// It has said so: what it has sent is carried out for nobody.
		server := s.server
		s.server = nil
		s.end(causeClient, nil)
		server.Release()
		return
	}
	if s.phase != ended {
		s.end(causeClientLost, nil)
	}
}

// terminate handles the client's Terminate, and what came before it. What that
// asks for is carried out, and the client gets the replies, as from PostgreSQL.
// Where the client has left something half done, the server is told goodbye as
// well: it knows what that means.
func (s *session) terminate(before []byte) {
	s.send(before)
	if s.server.Settled() {
		s.end(causeClient, nil)
		return
	}
	s.goodbye = true
	if s.server.InBatch() || s.server.CopyIn() {
		s.server.Terminate()
		return
	}
	s.server.Ending(false)
}

// end ends the session: err, if any, is told to the client. A server that waits
// for a message goes back to its pool to be cleaned, one that is in the middle
// of something, half a message included, is given up.
func (s *session) end(why cause, err *wire.Error) {
	if s.phase == ended {
		return
	}
	was := s.phase
	s.leaveQueue()
	s.phase = ended
	s.proxy.flows.closed(s.flow)
	torn := false // there is no place for words of ours inside a message
	if server := s.server; server != nil {
		s.server = nil
		torn = !server.Between()
		if server.Settled() && s.frames.Between() {
			server.Release()
		} else {
			server.Discard(string(why), s.frames.Between())
		}
	}
	if s.private != nil {
		s.private.Dismiss()
	}
	if err != nil && !torn && !s.conn.Closed() {
		s.conn.Write(err.Append(nil))
		s.conn.Finish()
	} else if s.clogged {
		s.conn.Finish() // it may still read its replies
	} else {
		s.conn.Close()
	}
	s.forget()
	s.logEnd(why, was, err)
}

// forget takes the session out of everything that counts or finds it.
func (s *session) forget() {
	if s.statements != nil {
		s.statements.Close()
	}
	s.proxy.sessions.remove(s)
	s.uncount()
	if s.slot > 0 {
		s.shard.remove(s)
	}
	s.part()
	s.reads(nil)
}

// withdraw takes back what a login has entered for a session that came to nothing.
func (s *session) withdraw() {
	s.proxy.sessions.remove(s)
	s.part()
	s.reads(nil)
}
