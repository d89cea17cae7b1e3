package pool

import (
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/wire"
)

// state of a server; setState is its only door.
type state uint8

const (
	settling  state = iota // ours: being checked or given a client's parameters
	idle                   // in its pool's idle list
	lent                   // a client's
	draining               // its client left; replies still come and are dropped
	resetting              // ours: being cleaned
	closed
)

// Server is one logged-in PostgreSQL connection. It belongs to the loop of its
// pool, and while lent to one Borrower.
type Server struct {
	// Immutable after login.
	pool    *Pool
	pid     uint32
	key     []byte
	created time.Time

	// Owned by the loop.
	conn     loop.Conn
	frames   wire.Framer
	replies  wire.Replies
	streamed wire.Action // of the message that is being streamed
	state    state
	borrower Borrower
	waiter   *Waiter // the borrower's claim, while settling
	chore    chore
	loss     Loss // how it would be lost, if it were now
	used     bool // something was sent since it was last clean
	reported []wire.Param
	seen     []wire.Param // what the client knows of reported, while lent
	holding  bool         // ParameterStatus and ReadyForQuery wait for restoring
	loans    int          // how often it was lent
	cancels  int          // cancel requests under way
	lastUse  time.Time    // when it was last given back

	choreTimer *loop.Timer
}

// Pool is the pool the server belongs to.
func (s *Server) Pool() *Pool { return s.pool }

// ProcessID is PostgreSQL's process id of the connection, 0 if it gave none.
func (s *Server) ProcessID() uint32 { return s.pid }

// Status is the transaction status of the last ReadyForQuery.
func (s *Server) Status() byte { return s.replies.Status() }

// Settled reports that all replies have come and no implicit transaction is open.
func (s *Server) Settled() bool { return s.replies.Settled() }

// Outstanding reports whether replies are still to come.
func (s *Server) Outstanding() bool { return s.replies.Outstanding() > 0 }

// Sent notes a client's message of this type, which a following Send carries.
func (s *Server) Sent(typ byte) { s.replies.Sent(typ, wire.Forward) }

// Send sends a client's bytes. It returns false when the server takes no more
// for now: the client must not be read until Flushed.
func (s *Server) Send(b []byte) bool {
	s.used = true
	return s.conn.Write(b)
}

// Pause stops reading from the server, whose client cannot take more.
func (s *Server) Pause() { s.conn.Pause(loop.PausePeer) }

// Resume reads on.
func (s *Server) Resume() { s.conn.Resume(loop.PausePeer) }

// Data implements loop.Handler: replies go to the borrower in as few pieces as
// possible, except those that only we have asked for.
func (s *Server) Data(_ *loop.Conn, b []byte) int {
	from, at := 0, 0 // b[from:at] is still to be passed on
	for at < len(b) {
		typ, n, piece := s.frames.Next(b[at:])
		if piece == wire.Short {
			break
		}
		if piece == wire.Bad {
			s.passOn(b[from:at])
			s.fail("a message with an impossible length")
			return 0
		}
		message := b[at : at+n]
		if typ == 'Z' {
			s.passOn(b[from:at])
			if !s.ready(message) {
				return 0
			}
			at += n
			from = at
			continue
		}
		if s.got(typ, message, piece) {
			at += n
			continue
		}
		s.passOn(b[from:at])
		if s.state == closed {
			return 0
		}
		at += n
		from = at
	}
	s.passOn(b[from:at])
	if s.state == closed {
		return 0
	}
	return len(b) - at
}

// passOn gives the borrower its replies; without one they are dropped.
func (s *Server) passOn(b []byte) {
	if len(b) > 0 && s.borrower != nil && s.state == lent {
		s.borrower.Reply(s, b)
	}
}

// got notes one message, whole or its first or a further part, and reports
// whether it is the client's.
func (s *Server) got(typ byte, message []byte, piece wire.Piece) bool {
	if piece == wire.More || piece == wire.Last {
		return s.streamed == wire.Forward
	}
	action, err := s.replies.Got(typ)
	if err != nil {
		s.unexpected(typ)
		return false
	}
	s.streamed = action
	switch typ {
	case 'E':
		s.gotError(message, action)
	case 'S':
		if piece == wire.Whole {
			return s.gotParameter(message, action)
		}
	case 'C':
		s.gotComplete(message)
	case 'A':
		if s.state == idle {
			s.fail("a notification for nobody")
		}
	}
	return action == wire.Forward
}

// unexpected ends a server whose replies are out of step.
func (s *Server) unexpected(typ byte) {
	s.pool.set.counters.Desyncs.Add(1)
	s.fail("an unexpected message of type " + string(rune(typ)))
}

// gotError remembers a FATAL, after which the server closes by itself.
func (s *Server) gotError(message []byte, action wire.Action) {
	if wire.IsFatal(message) {
		if s.state == lent && action == wire.Forward {
			s.loss = LossTold
		}
		s.pool.noteFatal(s, message)
	}
	if action == wire.Swallow {
		s.choreFailed(message)
	}
}

// ready handles a ReadyForQuery. It returns false when the server is gone.
func (s *Server) ready(message []byte) bool {
	if len(message) != 6 {
		s.fail("a ReadyForQuery of a wrong length")
		return false
	}
	action, err := s.replies.GotReady(message[5])
	if err != nil {
		s.unexpected('Z')
		return false
	}
	switch {
	case action == wire.Swallow:
		s.choreReady()
	case s.holding && s.replies.Outstanding() == 0:
		s.restore() // the client's parameters first, then its ReadyForQuery
	default:
		s.passOn(message)
		s.settle()
	}
	return s.state != closed
}

// settle tells whoever has the server that everything was answered.
func (s *Server) settle() {
	if !s.replies.Settled() {
		return
	}
	switch s.state {
	case lent:
		s.borrower.Ready(s)
	case draining:
		s.reset()
	}
}

// Drained implements loop.Handler.
func (s *Server) Drained(*loop.Conn) {
	if s.state == lent {
		s.borrower.Flushed(s)
	}
}

// EOF implements loop.Handler: PostgreSQL never half-closes.
func (s *Server) EOF(c *loop.Conn) {
	if c.Paused() {
		return // unread replies come first
	}
	s.lost("server closed the connection")
}

// Failed implements loop.Handler.
func (s *Server) Failed(_ *loop.Conn, err error) { s.lost(err.Error()) }

// fail closes a server that cannot be trusted any more.
func (s *Server) fail(why string) { s.lost(why) }

// lost ends the server and tells the borrower.
func (s *Server) lost(why string) {
	if s.state == closed {
		return
	}
	b, w, was := s.borrower, s.waiter, s.state
	s.close(why)
	if w != nil {
		// Nobody has seen this server yet: the borrower takes the next one.
		w.server = nil
		s.pool.queue.pushFront(w)
	} else if was == lent {
		b.Lost(s, s.loss)
	}
	s.pool.fill()
}

// close ends the connection without telling anybody.
func (s *Server) close(why string) {
	if s.state == closed {
		return
	}
	if s.pool.log.Core().Enabled(zap.DebugLevel) {
		s.pool.log.Debug("server closed", zap.String("cause", why), zap.Uint32("pid", s.pid))
	}
	s.pool.removed(s)
	s.state = closed
	s.borrower, s.waiter = nil, nil
	s.choreTimer.Stop()
	s.conn.Close()
}

// terminate is a polite close of a server that waits for a message.
func (s *Server) terminate(why string) {
	if s.state != closed && s.replies.Settled() {
		s.conn.Write([]byte{'X', 0, 0, 0, 4})
	}
	s.close(why)
}

// CopyIn reports that the server waits for COPY data from the client.
func (s *Server) CopyIn() bool { return s.replies.CopyIn() }
