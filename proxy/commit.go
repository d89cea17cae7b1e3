package proxy

import (
	"bytes"

	"github.com/pgvip/pgvip/wire"
)

// What is known of a message that may end in a commit: if its server is lost, the
// client is told that it cannot know the outcome.

// note keeps the books for one message that goes to the server.
func (s *session) note(typ byte, message []byte) {
	s.server.Sent(typ)
	s.expect(typ, message)
}

// expect notes whether a message may end in a commit.
func (s *session) expect(typ byte, message []byte) {
	switch typ {
	case 'Q', 'P':
		// COMMIT, END, PREPARE TRANSACTION, or anything outside a transaction.
		if s.server.Status() != 'T' || beginsCommit(message[wire.HeaderSize:], typ) {
			s.mayCommit = true
		}
	case 'E', 'F', 'S':
		if s.server.Status() != 'T' {
			s.mayCommit = true
		}
	case 'B':
		s.mayCommit = true // of whatever statement
	}
}

// beginsCommit looks at the first letter of a statement, and whether it is the
// only one: a false alarm makes an error message more careful, nothing else.
func beginsCommit(body []byte, typ byte) bool {
	if typ == 'P' || len(body) == 0 || body[len(body)-1] != 0 {
		return true // the text stands behind a name, or we do not see all of it
	}
	if i := bytes.IndexByte(body, ';'); i >= 0 && i < len(body)-2 {
		return true
	}
	for _, c := range body {
		switch c {
		case ' ', '\t', '\n', '\r', '(':
			continue
		case 'c', 'C', 'e', 'E', 'p', 'P', '/', '-':
			return true
		}
		return false
	}
	return false
}
