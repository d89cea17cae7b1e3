package statement

import (
	"bytes"

	"github.com/pgvip/pgvip/wire"
)

// In a failed transaction PostgreSQL parses nothing but what ends it, and a text
// that has no statement. A statement that a server lacks cannot come to it there, but
// what a client asks of it can be answered as if it had: a Bind fails whatever the
// statement does, and of a Describe only what comes without looking at tables is
// answered. For both the types of the parameters are all that counts. So a hollow
// statement stands in, of the same types and with no text, for this one use: it is
// stale as soon as it is there, and nothing is judged by it while it is under way.

// maxShape bounds the description that is kept of a statement: some 1000 parameters.
const maxShape = 4 << 10

// shape is what the answer to a Describe has told of a statement.
type shape struct {
	types string // its parameters, as in ParameterDescription and behind a Parse's text
	rows  bool   // it returns some
}

// noTypes are the types of no parameters.
const noTypes = "\x00\x00"

// learning is a ParameterDescription whose row description is still to come.
type learning struct {
	pos   uint64 // number of the Describe; 0 for none
	stmt  *Statement
	types string
}

// Parameters looks at a ParameterDescription that replies has seen, whole says that
// all of it is at hand. It reports that this is one which the client has.
func (s *Server) Parameters(message []byte, whole bool) (repeats bool) {
	u := s.used()
	if whole && u != nil && u.known != nil && u.known.stmt.shape == nil && len(message) <= maxShape {
		s.learning = learning{u.pos, u.known.stmt, string(message[wire.HeaderSize:])}
	}
	return s.repeats()
}

// described notes the message that ends the answer to a Describe.
func (s *Server) described(typ byte, before uint64) {
	l := &s.learning
	if l.pos == 0 || l.pos != before+1 || typ != 'T' && typ != 'n' {
		return
	}
	l.stmt.shape = &shape{l.types, typ == 'T'}
	*l = learning{}
}

// aborted reports that the next message finds a failed transaction, beyond doubt: a
// ReadyForQuery has said so, and nothing that could end it was sent since.
func (s *Server) aborted() bool {
	return s.replies.Status() == 'E' && s.replies.Done() >= s.ready && !s.ran
}

// hollow gives the parameter types of the statement that can stand in for st, for a
// Bind or Describe in a failed transaction.
func hollow(st *Statement, typ byte) (types string, ok bool) {
	if st.shape == nil || st.shape.rows && typ == 'D' || mayEnd([]byte(st.text)) {
		return "", false
	}
	return st.shape.types, true
}

// supplyHollow gets a statement to the server that stands in for st.
func (s *Server) supplyHollow(out []byte, st *Statement, k *known, is standing, types string) ([]byte, *known) {
	if is == stale {
		out = s.sendClose(out, k)
	}
	out = s.makeRoom(out)
	k, pos := s.sendParse(st, wire.Swallow)
	if pos != 0 {
		k.hollow = true
		s.ops[len(s.ops)-1].hollow = true
	}
	return appendParse(out, st.name, "\x00"+types), k
}

// mayEnd reports a text that PostgreSQL may parse in a failed transaction: what ends
// that, by its first word, or nothing.
func mayEnd(text []byte) bool {
	text, _, _ = bytes.Cut(text, []byte{0})
	for text = skipBlank(text); len(text) > 0 && text[0] == ';'; {
		text = skipBlank(text[1:])
	}
	if len(text) == 0 {
		return true
	}
	for _, word := range []string{"rollback", "commit", "abort", "end", "prepare"} {
		if _, yes := cutWord(text, word); yes {
			return true
		}
	}
	return false
}
