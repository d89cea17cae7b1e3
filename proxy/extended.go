package proxy

import (
	"strconv"

	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/statement"
	"github.com/pgvip/pgvip/wire"
)

// Prepared statements follow a client from server to server. Package statement
// judges each message; here stands what that needs of the client's stream: large
// messages up to their names, large texts whole, and a place to wait.

// collected is a named Parse too large for the Framer, on its way in.
type collected struct {
	message []byte // nil when there is none
	whole   bool
}

// next is frames.Next, but for a message of which more must be seen.
func (s *session) next(b []byte) (typ byte, n int, piece wire.Piece) {
	if s.prepares && s.frames.Between() && statement.Short(b) {
		return b[0], 0, wire.Short
	}
	return s.frames.Next(b)
}

// attach lets the client use its prepared statements on its new server.
func (s *session) attach() {
	s.prepares = s.shares && (s.statements != nil || s.server.Prepares())
	if s.statements != nil {
		s.server.Attach(s.statements)
	}
}

// exchange puts what is to go to the server in place of the client's message m,
// or its beginning, which is in[at:at+n] or was collected before. It returns false
// when the message has to wait.
func (s *session) exchange(out *outgoing, m []byte, at, n int, piece wire.Piece) bool {
	j := s.judge(m, piece == wire.Whole || piece == wire.Last)
	if j.instead != nil {
		m = j.instead
	}
	switch m[0] {
	case 'B', 'P', 'D', 'C':
		if s.statements == nil {
			s.statements = new(statement.Client)
			s.server.Attach(s.statements)
		}
	}
	made := j.makes
	if m[0] == 'P' {
		made = 0 // it is made when the statement is run
	}
	if out.out == nil {
		out.out = (*out.buffer)[:0]
	}
	put, left, verdict := s.server.Forward(out.out, out.in[out.at:at], m, j.makes)
	if verdict == statement.Wait {
		out.replace(at, 0, []byte{'H', 0, 0, 0, 4})
		return false
	}
	s.expect(m[0], m)
	s.noteJudged(j, made|left)
	switch {
	case verdict == statement.Sent:
		out.put(put, at+n)
	case j.instead != nil || piece == wire.Last:
		out.replace(at, n, m)
	}
	return true
}

// gather collects the part b[at:at+n] of a large named Parse. It returns false
// for a part of anything else.
func (s *session) gather(out *outgoing, at, n int, piece wire.Piece) bool {
	part := out.in[at : at+n]
	if piece == wire.First {
		size, yes := statement.Collected(part)
		if !yes {
			return false
		}
		if size > statement.MaxText {
			s.send(out.until(at))
			s.end(causeProtocol, wire.Fatal(wire.CodeOutOfMemory, "prepared statement is larger than "+strconv.Itoa(statement.MaxText>>20)+" MB",
				"Where servers are shared (pool_mode), pgvip keeps the text of a named statement. The unnamed statement may be of any size."))
			return true
		}
	} else if s.large.message == nil {
		s.server.More(part)
		return false
	}
	s.large.message = append(s.large.message, part...)
	out.replace(at, n, nil)
	s.large.whole = piece == wire.Last
	return true
}

// release sends on what was collected, once it is whole. It returns false when
// that has to wait.
func (s *session) release(out *outgoing, at int) bool {
	if !s.large.whole {
		return true
	}
	if !s.exchange(out, s.large.message, at, 0, wire.Last) {
		return false
	}
	s.large = collected{}
	return true
}

// Resolved implements pool.Borrower.
func (s *session) Resolved(*pool.Server) {
	if s.waiting && s.phase == bound {
		s.waiting = false
		s.proceed()
	}
}

// proceed sends on what has waited. A client that has finished sending is to get the
// replies to that as well.
func (s *session) proceed() {
	if s.large.whole && len(s.conn.Peek()) == 0 {
		s.forward(nil) // nothing else will come to do it
	} else {
		s.conn.Process()
	}
	if s.leaving && s.phase == bound && !s.waiting {
		s.finish()
	}
}
