package pool

import (
	"github.com/pgvip/pgvip/statement"
	"github.com/pgvip/pgvip/wire"
)

// Where servers are shared, each client's prepared statements follow it from
// server to server: package statement decides how, here it is done.

// Prepares reports that clients' prepared statements are followed:
// max_prepared_statements is not 0, and the server is shared.
func (s *Server) Prepares() bool {
	return s.Shared() && s.pool.set.settings.Load().MaxPreparedStatements > 0
}

// Attach makes the prepared statements of c those of the client that has the
// server, until its release.
func (s *Server) Attach(c *statement.Client) {
	s.prepared().Lend(c, s.pool.set.settings.Load().MaxPreparedStatements)
	s.known.Encoding, _ = s.borrower.Profile().value("client_encoding")
}

// prepared are the statements that the server has.
func (s *Server) prepared() *statement.Server {
	if s.known == nil {
		s.known = statement.NewServer(s.pool.statements, &s.replies)
	}
	return s.known
}

// Forward judges a message of the client's, in place of Sent: see
// statement.Server.Forward. makes is the session state that the text of a Parse
// makes, left what the statement of a Bind does.
func (s *Server) Forward(out, raw, m []byte, makes State) (_ []byte, left State, _ statement.Verdict) {
	known := s.prepared()
	status := s.replies.Status()
	known.Mark = uint16(makes)
	out, verdict := known.Forward(out, raw, m)
	if verdict == statement.Wait {
		return out, 0, verdict
	}
	s.meter.sent(m[0], status, s.pool.loop.Now())
	traffic := &s.pool.tally.traffic
	traffic.ClientParses += known.Counts.ClientParses
	traffic.ServerParses += known.Counts.ServerParses
	traffic.Binds += known.Counts.Binds
	known.Counts = statement.Counts{}
	switch m[0] {
	case 'B':
		left = State(known.Mark)
	case 'H':
		s.answerMadeUp()
	}
	return out, left, verdict
}

// More gives the further parts of a message of which Forward saw the beginning.
func (s *Server) More(part []byte) {
	if s.known != nil {
		s.known.More(part)
	}
}

// Scratch is a buffer for what goes to the server, of which nothing is kept after
// Send. It is the pool's, so that the next request needs no memory.
func (s *Server) Scratch() *[]byte { return &s.pool.scratch }

// maxGathered bounds the buffer that a pool keeps from one answer to the next.
const maxGathered = 256 << 10

// madeUp adds the answers whose turn has come and that no server gives to what is
// gathered for the client, behind before. It reports whether there were any.
func (s *Server) madeUp(before []byte) bool {
	first := true
	for {
		done := s.replies.Done()
		typ, ok := s.replies.Synthetic()
		if !ok {
			return !first
		}
		s.known.Got(typ, done)
		if first {
			s.pool.gathered = append(s.pool.gathered, before...)
			first = false
		}
		s.pool.gathered = append(s.pool.gathered, typ, 0, 0, 0, 4)
	}
}

// answerMadeUp sends them at once: nothing else is going to come.
func (s *Server) answerMadeUp() bool {
	if s.known == nil || !s.madeUp(nil) {
		return false
	}
	s.passOn(nil)
	return true
}

// withGathered puts what was gathered in front of b. The result is valid until
// the next is gathered.
func (s *Server) withGathered(b []byte) []byte {
	if len(s.pool.gathered) == 0 {
		return b
	}
	b = append(s.pool.gathered, b...)
	s.pool.gathered = b[:0]
	if cap(b) > maxGathered {
		s.pool.gathered = nil
	}
	return b
}

// noteAnswer tells what became of a prepared statement; before is what
// replies.Done was. ErrorResponse and CommandComplete were looked at before.
func (s *Server) noteAnswer(typ byte, before uint64) {
	if s.known != nil {
		s.known.Got(typ, before)
	}
}

// readStatements looks at a message before replies sees it. An error comes to the
// client with its own name for the statement.
func (s *Server) readStatements(typ byte, message []byte, piece wire.Piece) {
	if s.known == nil || piece != wire.Whole {
		return
	}
	switch typ {
	case 'E':
		s.renamed = nil
		if s.state == lent && s.chore == noChore {
			if again := s.known.Retry(nil, message); again != nil {
				s.retrying = true
				s.conn.Write(again)
				return
			}
		}
		if m := s.known.Error(message); &m[0] != &message[0] {
			s.renamed = m
		}
	case 'C':
		if len(message) <= 32 {
			s.known.Completed(message[wire.HeaderSize:], s.state == lent && s.chore == noChore)
		}
	}
}

// resolve tells the client when what it waited for has been answered.
func (s *Server) resolve() {
	if s.known != nil && s.state == lent && s.known.Resolved() {
		s.borrower.Resolved(s)
	}
}

// dropUnnamed notes a Query of our own: it takes the unnamed statement away.
func (s *Server) dropUnnamed() {
	if s.known != nil {
		s.known.DropUnnamed()
	}
}

// detach ends the client's use of its statements here.
func (s *Server) detach() {
	if s.known != nil {
		s.known.Return()
	}
}
