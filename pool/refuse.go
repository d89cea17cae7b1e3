package pool

import (
	"bytes"

	"github.com/pgvip/pgvip/wire"
)

// A statement that the pool's mode does not allow is refused by PostgreSQL itself,
// so that all that follows from an error happens there, in its order, inside a
// pipeline and a transaction alike: in its place goes a text that is no SQL, and the
// error that comes of it is exchanged for ours. Where nothing else is under way the
// client's session answers a transaction block without the server.

// RefusedFor is a reason not to run a statement.
type RefusedFor uint8

// Reasons.
const (
	RefusedBlock RefusedFor = iota // a transaction block, in statement mode
	RefusedState                   // session state, with session_state refuse
)

// marks are the texts, one for each reason. PostgreSQL repeats them in its error.
var marks = [...]string{"pgvip_refuses_a_transaction_block", "pgvip_refuses_session_state"}

const anyMark = "pgvip_refuses_"

// AppendRefused appends what goes in place of message, a whole Query or Parse.
func AppendRefused(b, message []byte, why RefusedFor) []byte {
	body := message[wire.HeaderSize:]
	var before, behind []byte
	if message[0] == 'P' {
		name := bytes.IndexByte(body, 0) + 1
		text := bytes.IndexByte(body[name:], 0)
		if text < 0 {
			return append(b, message...) // not even that: the server's to say
		}
		before, behind = body[:name], body[name+text+1:]
	}
	n := 4 + len(before) + len(marks[why]) + 1 + len(behind)
	b = append(b, message[0], byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	b = append(b, before...)
	b = append(b, marks[why]...)
	b = append(b, 0)
	return append(b, behind...)
}

// refused gives our error for one that PostgreSQL gave because of a mark, else nil.
func refused(message []byte) *wire.Error {
	if !bytes.Contains(message, []byte(anyMark)) {
		return nil
	}
	e := wire.ParseError(message[wire.HeaderSize:])
	switch {
	case e.Code != "42601":
		return nil
	case bytes.Contains(message, []byte(marks[RefusedBlock])):
		return BlockError()
	default:
		return &wire.Error{Severity: wire.SeverityError, Code: wire.CodeFeatureNotSupported,
			Message: "this statement makes session state, which a shared server does not keep",
			Hint:    "The setting is session_state of pgvip; pool_mode session keeps all session state."}
	}
}

// BlockError is for a transaction block in statement mode.
func BlockError() *wire.Error {
	return &wire.Error{Severity: wire.SeverityError, Code: "25001",
		Message: "transaction blocks are not allowed in statement pooling mode",
		Hint:    "The setting is pool_mode of pgvip."}
}

// exchange gives the borrower our error in place of one that a mark has caused, or
// one with another name in it, and before it what came before. It returns false for any other error.
func (s *Server) exchange(message, before []byte) bool {
	if s.state != lent {
		return false
	}
	mine := s.renamed
	if e := refused(message); e != nil {
		mine = e.Append(nil)
	}
	if mine == nil {
		return false
	}
	s.renamed = nil
	s.passOn(before)
	s.passOn(mine)
	return true
}

// blocks reports that the ReadyForQuery just noted must wait: the statement has
// left a transaction block open, as the second of a Query can.
func (s *Server) blocks() bool {
	return s.mode == StatementMode && s.state == lent && s.Shared() &&
		s.replies.Settled() && s.replies.Status() != 'I'
}

// unblock rolls it back.
func (s *Server) unblock() {
	s.blockTold = s.replies.Status() == 'E'
	s.ask(unblocking, "ROLLBACK")
}

// unblocked goes on when that is done.
func (s *Server) unblocked() {
	s.chore = noChore
	s.tellParameters()
	var b []byte
	if !s.blockTold {
		b = BlockError().Append(b)
	}
	s.passOn(wire.AppendReadyForQuery(b, s.replies.Status()))
	s.settle()
}
