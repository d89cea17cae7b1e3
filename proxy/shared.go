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
	message := out.in[at : at+n]
	text := statementText(message)
	if text == nil {
		return
	}
	h := inspect(text, s.server.Tracks)
	switch {
	case h.begins && s.server.Mode() == pool.StatementMode && piece == wire.Whole:
		out.replace(at, n, pool.AppendRefused(nil, message, pool.RefusedBlock))
	case h.state == 0:
	case s.server.Refuses() && piece == wire.Whole:
		s.proxy.counters.StateRefused.Add(1)
		out.replace(at, n, pool.AppendRefused(nil, message, pool.RefusedState))
	default:
		s.noteState(h.state)
		s.server.Soil(h.state)
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
	in  []byte
	at  int    // in[:at] stands in out
	out []byte // nil as long as nothing was replaced
}

// replace puts other bytes in place of in[at:at+n].
func (o *outgoing) replace(at, n int, with []byte) {
	o.out = append(o.out, o.in[o.at:at]...)
	o.out = append(o.out, with...)
	o.at = at + n
}

// until is what goes out for in[:at].
func (o *outgoing) until(at int) []byte {
	if o.out == nil {
		return o.in[:at]
	}
	return append(o.out, o.in[o.at:at]...)
}
