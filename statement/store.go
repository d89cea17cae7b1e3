package statement

import (
	"crypto/sha256"
	"encoding/hex"
)

const (
	prefix   = "pgvip_"
	hashSize = 16 // bytes: nobody finds two texts with the same 128 bits
	nameSize = len(prefix) + 2*hashSize
)

// Store holds each statement once that clients of one loop have prepared or its
// servers know.
type Store struct {
	statements map[identity]*Statement
	versions   uint64 // of unnamed statements, so far
}

// identity is what makes two statements the same.
type identity struct {
	text     string // of the Parse, behind the name: query and parameter types
	encoding string // the client's; empty for a text of ASCII, which reads the same in each
}

// Statement is a text that is prepared under one name on every server.
type Statement struct {
	identity
	name  string // on servers
	refs  int    // clients' names, servers, and Parses under way
	drops bool   // it takes prepared statements away: DEALLOCATE or DISCARD
	mark  uint16 // Server.Mark of its last Parse
	shape *shape // nil before its first Describe
}

// NewStore returns an empty Store.
func NewStore() *Store { return &Store{statements: make(map[identity]*Statement)} }

// Len is the number of statements.
func (t *Store) Len() int { return len(t.statements) }

// intern gives the statement with this text, and a reference to it.
func (t *Store) intern(text []byte, encoding string) *Statement {
	if ascii(text) {
		encoding = ""
	}
	if s := t.statements[identity{string(text), encoding}]; s != nil {
		s.refs++
		return s
	}
	return t.add(identity{string(text), encoding})
}

func (t *Store) add(id identity) *Statement {
	s := t.statements[id]
	if s == nil {
		s = &Statement{identity: id, name: serverName(id), drops: dropsStatements([]byte(id.text))}
		t.statements[id] = s
	}
	s.refs++
	return s
}

// release gives a reference back. The last one frees the statement.
func (t *Store) release(s *Statement) {
	if s.refs--; s.refs == 0 {
		delete(t.statements, s.identity)
	}
}

// serverName comes from the content alone, so that a server's log names the same
// statement in the same way whoever prepared it.
func serverName(id identity) string {
	h := sha256.New()
	h.Write([]byte(id.encoding))
	h.Write([]byte{0})
	h.Write([]byte(id.text))
	return prefix + hex.EncodeToString(h.Sum(nil)[:hashSize])
}

// ours reports a name that looks like one that we give.
func ours(name []byte) bool {
	return len(key(name)) == nameSize && string(name[:len(prefix)]) == prefix
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
