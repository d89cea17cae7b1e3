package statement

import (
	"bytes"

	"github.com/pgvip/pgvip/wire"
)

// Error gives an ErrorResponse as the client is to see it: with the name that the
// client gave its statement. It is called before replies sees the message, and
// learns from it what the server has, or has in a form that is of no use.
func (s *Server) Error(message []byte) []byte {
	var k *known
	var name string
	if o := s.front(); o != nil {
		k, name = o.known, o.name
		if o.entry != nil {
			name = o.entry.name
		}
	} else if u := s.used(); u != nil {
		k, name = u.known, u.name
	}
	if k == nil {
		return message
	}
	s.learn(k, field(message, 'C'), field(message, 'R'))
	if name == "" {
		return message
	}
	return renamed(message, k.stmt.name, name)
}

// learn judges by the SQLSTATE what an error says about a statement.
func (s *Server) learn(k *known, code, routine string) {
	o := s.front()
	switch {
	case code == wire.CodeDuplicatePrepared && o != nil && o.kind == opParse:
		o.told = true
	case code == wire.CodeInvalidStatementName && k.pending == 0:
		k.present = false
		s.list(k)
	case code == wire.CodeFeatureNotSupported && routine == revalidation:
		k.stale = true // it would say so for ever
	}
}

// revalidation is the routine in PostgreSQL that says "cached plan must not change
// result type". The message itself may be translated.
const revalidation = "RevalidateCachedQuery"

// used is the Bind or Describe that the next answer belongs to.
func (s *Server) used() *use {
	head := s.replies.Done() + 1
	for i := range s.uses {
		if s.uses[i].pos == head {
			return &s.uses[i]
		}
	}
	return nil
}

// field gives a field of an ErrorResponse, empty when there is none.
func field(message []byte, kind byte) string {
	body := message[wire.HeaderSize:]
	for len(body) > 1 && body[0] != 0 {
		value, rest, ok := cut(body[1:])
		if !ok {
			break
		}
		if body[0] == kind {
			return string(value)
		}
		body = rest
	}
	return ""
}

// renamed replaces a name in a message.
func renamed(message []byte, old, name string) []byte {
	if !bytes.Contains(message, []byte(old)) {
		return message
	}
	message = bytes.ReplaceAll(message, []byte(old), []byte(name))
	putLength(message)
	return message
}
