package proxy

import (
	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/wire"
)

// What is different where a server goes to others between a client's
// transactions: pool_mode transaction and statement.

// inspect looks at the text of a Query or Parse, of which message b[at:at+n] is
// the beginning or all, for what it may leave on the server and for what the mode
// does not allow.
func (s *session) inspect(out *outgoing, at, n int, piece wire.Piece) {
	j := s.judge(out.in[at:at+n], piece == wire.Whole)
	if j.instead != nil {
		out.replace(at, n, j.instead)
	}
	s.noteJudged(j, j.makes)
}

// refused answers a transaction block in statement mode here, where the server has
// nothing to do with it (rule 12): with an error, after which a batch is skipped up to
// its Sync. Behind other messages of a batch the server must fail it, see judge.
func (s *session) refused(out *outgoing, typ byte, at, n int, piece wire.Piece) bool {
	switch {
	case s.skipping && typ == 'S':
		s.skipping = false
		s.conn.Write(wire.AppendReadyForQuery(nil, 'I'))
	case s.skipping:
	case !s.shares || s.server.Mode() != pool.StatementMode || piece != wire.Whole || !s.server.Quiet():
		return false
	case !inspect(statementText(out.in[at:at+n]), s.server.Tracks).begins:
		return false
	default:
		b := pool.BlockError().Append(nil)
		if s.skipping = typ == 'P'; !s.skipping {
			b = wire.AppendReadyForQuery(b, 'I')
		}
		s.conn.Write(b)
	}
	out.replace(at, n, nil)
	return true
}

// judged is what the text of a message says.
type judged struct {
	instead []byte     // goes to the server in its place, so that it is refused
	refused bool       // because of session state
	makes   pool.State // that it may leave
}

// judge looks at a message, of which all or the beginning is at hand.
func (s *session) judge(message []byte, whole bool) judged {
	text := statementText(message)
	if text == nil {
		return judged{}
	}
	h := inspect(text, s.server.Tracks)
	switch {
	case h.begins && s.server.Mode() == pool.StatementMode && whole:
		return judged{instead: pool.AppendRefused(nil, message, pool.RefusedBlock)}
	case h.state != 0 && s.server.Refuses() && whole:
		return judged{instead: pool.AppendRefused(nil, message, pool.RefusedState), refused: true}
	}
	return judged{makes: h.state}
}

// noteJudged notes what was judged, once it is sent; made is the state that it
// may leave now.
func (s *session) noteJudged(j judged, made pool.State) {
	if j.refused {
		s.proxy.counters.StateRefused.Add(1)
	}
	if made != 0 {
		s.noteState(made)
		s.server.Soil(made)
	}
}

// statementText is the text in a Query or Parse, nil for any other message.
func statementText(message []byte) []byte {
	switch message[0] {
	case 'Q':
		return message[wire.HeaderSize:]
	case 'P':
		for i := wire.HeaderSize; i < len(message); i++ {
			if message[i] == 0 {
				return message[i+1:]
			}
		}
	}
	return nil
}

// noteState counts what this client leaves on servers that others get.
func (s *session) noteState(state pool.State) {
	s.proxy.counters.StateLeft.Add(1)
	s.left |= state
}

// outgoing is what goes to the server in one write: the client's bytes, and in
// place of some of its messages others.
type outgoing struct {
	in     []byte
	at     int     // in[:at] stands in out
	out    []byte  // empty as long as nothing was replaced
	buffer *[]byte // that out may use, its contents are nobody's
}

// replace puts other bytes in place of in[at:at+n].
func (o *outgoing) replace(at, n int, with []byte) {
	if o.out == nil {
		o.out = (*o.buffer)[:0]
	}
	o.put(append(append(o.out, o.in[o.at:at]...), with...), at+n)
}

// put makes out what goes for in[:at].
func (o *outgoing) put(out []byte, at int) {
	o.out, o.at = out, at
	if cap(out) <= maxScratch {
		*o.buffer = out
	}
}

// maxScratch bounds the buffer that is kept from one request to the next.
const maxScratch = 256 << 10

// until is what goes out for in[:at].
func (o *outgoing) until(at int) []byte {
	if len(o.out) == 0 {
		return o.in[o.at:at]
	}
	o.put(append(o.out, o.in[o.at:at]...), at)
	return o.out
}
