package pool

import (
	"bytes"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// What a message from a server means, and what follows from it.

// passOn gives the borrower its replies; without one they are dropped.
func (s *Server) passOn(b []byte) {
	b = s.withGathered(b)
	if len(b) > 0 && s.borrower != nil && s.state == lent && !s.unsent {
		s.pool.tally.traffic.Sent += uint64(len(b))
		s.borrower.Reply(s, b)
	}
}

// note keeps the books for one message, whole or its first or a further part,
// and reports whether it is the client's. An error means that the connection
// cannot be followed any more.
func (s *Server) note(typ byte, message []byte, piece wire.Piece) (bool, error) {
	switch piece {
	case wire.More, wire.Last:
		if len(s.long) > 0 {
			return false, s.noteLong(message, piece)
		}
		return s.streamed == wire.Forward, nil
	case wire.Bad:
		return false, errLength
	}
	if typ == 'Z' {
		if len(message) != 6 {
			return false, errLength
		}
		before := s.replies.Done()
		action, err := s.replies.GotReady(message[5])
		s.noteAnswer(typ, before)
		if err == nil && action == wire.Forward {
			s.meter.ready(&s.pool.tally, message[5], s.replies.Outstanding() > 0, s.pool.loop.Now())
		}
		return action == wire.Forward && !s.holds() && !s.blocks(), err
	}
	s.readStatements(typ, message, piece)
	before := s.replies.Done()
	action, err := s.replies.Got(typ)
	s.noteAnswer(typ, before)
	if err != nil {
		return false, fmt.Errorf("message of type %q: %w", typ, err)
	}
	s.streamed = action
	switch typ {
	case 'E':
		s.noteError(message, action)
		if s.state == lent && s.replies.Outstanding() == 0 && s.replies.InBatch() {
			s.borrower.Awaits(s)
		}
	case 'S':
		if piece == wire.Whole {
			return s.noteParameter(message, action)
		}
		return false, s.noteLong(message, piece)
	case 't':
		if s.known != nil && s.known.Parameters(message, piece == wire.Whole) {
			s.streamed = wire.Swallow
		}
		return s.streamed == wire.Forward, nil
	case 'C':
		s.noteComplete(message)
	case 'G':
		if s.state == lent && s.replies.CopyIn() {
			s.borrower.Awaits(s)
		}
	case 'A':
		return s.noteNotification()
	}
	return action == wire.Forward, nil
}

// noteNotification gives one to the client that listens, and to no other: somebody
// has run LISTEN on a shared server where it was not seen, in a function say. The
// server is to be used no longer.
func (s *Server) noteNotification() (bool, error) {
	switch {
	case s.state == idle:
		return false, errNotification
	case s.state == lent && s.Shared() && s.dirty&StateListen == 0:
		s.stale = true
		s.streamed = wire.Swallow
	}
	return s.streamed == wire.Forward, nil
}

var (
	errLength       = errors.New("message of an impossible length")
	errNotification = errors.New("notification for nobody")
	errParameter    = errors.New("malformed ParameterStatus")
)

// noteError remembers a FATAL, after which the server closes by itself.
func (s *Server) noteError(message []byte, action wire.Action) {
	clients := s.state == lent && action == wire.Forward && !s.unsent
	if !wire.IsFatal(message) {
		if clients && s.pool.role == route.Primary && bytes.Contains(message, readOnlyCode) {
			s.noteReadOnly(message)
		}
		return
	}
	if clients {
		s.loss = LossTold
		if bytes.Contains(message, shutdownCode) {
			s.pool.set.counters.Terminated.Add(1)
		}
	}
	s.pool.noteFatal(s, message)
}

// What stands in an ErrorResponse, whose fields end with a zero.
var (
	readOnlyCode   = []byte("\x00C25006\x00")
	shutdownCode   = []byte("\x00C57P0") // 57P01 by a stop, 57P02 by a crash
	duringRecovery = []byte("during recovery\x00")
)

// noteReadOnly tells a transaction that the client made read-only from a node that
// is not the primary: the latter must never come about (rule 29).
func (s *Server) noteReadOnly(message []byte) {
	if s.parameter("in_hot_standby") != "on" && !bytes.Contains(message, duringRecovery) {
		return
	}
	s.pool.set.counters.WrongNode.Add(1)
	s.stale = true
	s.pool.log.Error("BUG: a write went to a node in recovery", zap.Uint32("pid", s.pid))
}

// ours handles a message that is not the client's, once all before it has been
// passed on.
func (s *Server) ours(typ byte, message []byte) {
	switch {
	case s.chore == noChore:
	case typ == 'E':
		s.choreFailed(message)
	case typ == 'D' && s.chore == proving:
		s.writable = oneTrue(message)
	}
}

// holds reports that the ReadyForQuery just noted must wait: the client's
// parameters come first.
func (s *Server) holds() bool {
	return s.holding && s.chore == noChore && s.replies.Outstanding() == 0
}

// answered goes on after a ReadyForQuery that was not the client's, or was and
// left nothing outstanding.
func (s *Server) answered(clients bool) {
	switch {
	case clients:
		s.settle()
	case s.retrying:
		s.retrying = false
	case s.holds():
		s.restore()
	case s.chore == noChore && s.blocks():
		s.unblock()
	default:
		s.choreReady()
	}
}

// settle tells whoever has the server that everything was answered.
func (s *Server) settle() {
	if !s.replies.Settled() {
		return
	}
	s.mayReset = false
	switch s.state {
	case lent:
		s.borrower.Ready(s)
		if s.state == lent && s.replies.InDoubt() && s.replies.Settled() && s.Shared() && s.replies.Status() == 'I' {
			// It can go to nobody else before that is known.
			s.ask(resolving, "")
		}
		s.fastClose()
	case draining:
		s.reset()
	}
}
