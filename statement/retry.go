package statement

import "github.com/pgvip/pgvip/wire"

// maxRetry bounds the batch of which a copy is kept while it is under way.
const maxRetry = wire.HoldMax

// retry is a batch that can be sent again, as long as nothing of it has run and
// its client is about to learn the shape of the result: a Bind or Describe of a
// named statement, then a Describe, only then an Execute, and the Sync, all in one
// write and outside a transaction. A client that goes by what it was told earlier
// must get the error, or it would misread the rows.
type retry struct {
	first     uint64 // number of the Bind or Describe; 0 for none
	sync      uint64 // that of the Sync, 0 as long as it has not been sent
	at        int    // where in the output the first message begins
	described bool
	told      bool   // the first message's ParameterDescription has come, before its error
	repeats   uint64 // number of a Describe whose ParameterDescription the client has; 0 for none
	batch     []byte // from first on, as sent; kept for the next one
	use       use
}

// spoil says that what was sent cannot be the beginning of a batch, nor can what
// follows up to the Sync.
func (s *Server) spoil() { s.fresh, s.retry.first = false, 0 }

// begin notes a Bind or Describe that is about to be appended at out[at].
func (s *Server) begin(typ byte, at int, fresh bool) {
	r := &s.retry
	if !fresh || s.replies.Status() != 'I' || s.ready > s.replies.Done() {
		r.first = 0
		return
	}
	r.first, r.sync, r.at, r.described, r.told = s.replies.Last(), 0, at, typ == 'D', false
	r.use = s.uses[len(s.uses)-1]
}

// follow notes a message behind it.
func (s *Server) follow(out, raw, m []byte) {
	r := &s.retry
	switch {
	case r.first == 0 || r.sync != 0:
	case len(out) <= r.at: // the beginning has been sent before
		r.first = 0
	case m[0] == 'D' && m[wire.HeaderSize] == 'P':
		r.described = true
	case m[0] == 'E' && r.described:
	case m[0] == 'S' && r.described && len(out)-r.at+len(raw) <= maxRetry:
		r.sync = s.replies.Last()
		r.batch = append(append(append(r.batch[:0], out[r.at:]...), raw...), m...)
	default:
		r.first = 0
	}
}

// Retry gives what to send when an ErrorResponse, which replies and Error have not
// seen yet, is one that another attempt heals: "cached plan must not change result
// type". The statement is parsed again, the batch repeated, and the error and all
// that belongs to it are swallowed. It is empty for any other error.
func (s *Server) Retry(out, message []byte) []byte {
	r := &s.retry
	if r.sync == 0 || r.first != s.replies.Done()+1 || r.sync != s.replies.Last() || s.client == nil ||
		field(message, 'C') != wire.CodeFeatureNotSupported || field(message, 'R') != revalidation {
		return out
	}
	k := r.use.known
	if s.known[k.stmt] != k {
		return out // somebody has deallocated it meanwhile
	}
	s.replies.Disown()
	out = s.sendClose(out, k)
	if k, _ = s.sendParse(k.stmt, wire.Swallow); k == nil {
		panic("BUG: a Parse behind a Sync that is not answered")
	}
	out = appendParse(out, k.stmt.name, k.stmt.text)
	var f wire.Framer
	for b := r.batch; len(b) > 0; {
		typ, n, _ := f.Next(b)
		pos := s.note(typ, wire.Forward)
		if len(b) == len(r.batch) {
			s.uses = append(s.uses, use{pos, k, r.use.name})
			if r.told {
				r.repeats = pos
			}
		}
		b = b[n:]
	}
	s.sync, s.ready = s.replies.Last(), s.replies.Last()
	r.first, r.sync = 0, 0
	return append(out, r.batch...)
}

// repeats reports that a ParameterDescription, noted in replies, is one that the
// client has: PostgreSQL sends it before it looks at the result.
func (s *Server) repeats() bool {
	head, r := s.replies.Done()+1, &s.retry
	if r.repeats == head {
		r.repeats = 0
		return true
	}
	r.told = r.told || r.first == head
	return false
}
