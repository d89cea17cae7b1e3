package proxy

import (
	"bytes"

	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/wire"
)

// A client's startup parameters are set on its server by pgvip, so a RESET of
// the client's, which should bring them back, takes them away instead. The pool
// sets them again when the statement has been answered. So that it can tell that
// statement's answer, and nothing runs without the parameters, the statement goes
// to the server by itself: after all before it has been answered, and before all
// behind it. Only clients with startup parameters are looked at, and only the
// beginning of a statement: behind another statement of the same Query or batch
// there is no place to stop.

// taking is how a statement may take run-time parameters away.
type taking uint8

const (
	takesNothing taking = iota
	takesBySet          // SET ... DEFAULT
	takesByReset        // RESET, DISCARD
)

// noteReset looks whether a message takes run-time parameters away. It returns
// false when it must not be sent yet.
func (s *session) noteReset(typ byte, body []byte) bool {
	switch typ {
	case 'Q':
	case 'P':
		_, body, _ = bytes.Cut(body, []byte{0}) // the statement's name
	default:
		return true
	}
	how := takes(body)
	if how == takesNothing || !s.profile.Asks() {
		return true
	}
	if s.server.CopyIn() {
		return true // it is not carried out: PostgreSQL fails the COPY instead
	}
	if !s.server.Settled() && !s.server.InBatch() {
		return false
	}
	if how == takesBySet {
		s.server.MayReset()
	}
	s.resetting = true
	return true
}

// takes judges a statement by how it begins. It runs for every statement, so the
// first letters decide.
func takes(text []byte) taking {
	text = bytes.TrimLeft(text, " \t\n\r")
	switch {
	case hasPrefixFold(text, "set"):
		if bytes.Contains(bytes.ToLower(text[:min(len(text), 512)]), []byte("default")) {
			return takesBySet
		}
	case hasPrefixFold(text, "reset"), hasPrefixFold(text, "discard"):
		return takesByReset
	}
	return takesNothing
}

// hasPrefixFold wants a lower-case ASCII prefix.
func hasPrefixFold(b []byte, prefix string) bool {
	if len(b) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if b[i]|0x20 != prefix[i] {
			return false
		}
	}
	return true
}

// pauses reports that what the client sends next must wait until the server has
// answered: it has sent all of a request that goes to the server by itself.
func (s *session) pauses(piece wire.Piece) bool {
	if piece == wire.First || piece == wire.More {
		return false
	}
	byStatement := s.shares && s.server.Mode() == pool.StatementMode
	switch s.request {
	case 'S':
		return (s.resetting || byStatement) && !s.server.CopyIn() // where it is ignored
	case 'Q':
		return (s.resetting || byStatement) && !s.inBatch
	case 'F':
		return byStatement && !s.inBatch
	}
	return false
}

// goOn sends on what has waited. It reports whether that keeps the server busy.
func (s *session) goOn() bool {
	s.waiting, s.resetting, s.held = false, false, false
	s.proceed()
	return s.phase != bound || s.server.Outstanding()
}
