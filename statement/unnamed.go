package statement

import "github.com/pgvip/pgvip/wire"

const (
	// maxUnnamed bounds the text that is kept of a client's unnamed statement, so
	// that it can be parsed again on another server. A larger one is gone with the
	// transaction.
	maxUnnamed = 64 << 10
	// roomUnnamed is the buffer that a client keeps for texts to come.
	roomUnnamed = 4 << 10
	// homeless is the version of an unnamed statement whose client is between loops.
	homeless = ^uint64(0)
)

// unnamed is a client's unnamed statement. Each Parse of one has a version of its
// own, by which a server's is recognised.
type unnamed struct {
	version uint64 // as of the last answer; 0 for none
	next    uint64 // once what is under way has been answered
	pos     uint64 // number of the last message under way
	pending int    // how many are

	text  []byte // of the last Parse sent, behind the name
	holds uint64 // the version it is all of; 0 while it is not
	left  int    // bytes of it still to come
	drops bool   // it takes prepared statements away
	mark  uint16 // Server.Mark of its Parse
}

// keep notes the text of a Parse, of which all or the beginning is at hand.
func (u *unnamed) keep(version uint64, text []byte, size int) {
	u.holds, u.left = 0, 0
	if cap(u.text) > roomUnnamed && size <= roomUnnamed {
		u.text = nil
	}
	u.drops = dropsStatements(text)
	if size > maxUnnamed {
		u.text = nil
		return
	}
	u.text = append(u.text[:0], text...)
	u.left = size - len(text)
	u.holds = version
}

// more notes a further part of the text.
func (u *unnamed) more(text []byte) {
	if u.left > 0 {
		n := min(u.left, len(text))
		u.text = append(u.text, text[:n]...)
		u.left -= n
	}
}

func (u *unnamed) leave() {
	if u.version != 0 && u.version == u.holds {
		u.version, u.holds = homeless, homeless
		return
	}
	u.version, u.holds = 0, 0
}

func (u *unnamed) join(t *Store) {
	if u.version == homeless {
		t.versions++
		u.version, u.holds = t.versions, t.versions
	}
}

// More gives further parts of a message of which Forward saw the beginning.
func (s *Server) More(part []byte) {
	if s.client != nil {
		s.client.unnamed.more(part)
	}
}

// parseUnnamed passes on a Parse of the unnamed statement. PostgreSQL drops the
// old one before it reads the new one.
func (s *Server) parseUnnamed(out, m, text []byte) ([]byte, Verdict) {
	c := s.client
	pos := s.note('P', wire.Forward)
	if pos == 0 {
		return out, Pass
	}
	s.store.versions++
	v := s.store.versions
	c.unnamed.mark = s.Mark
	c.unnamed.keep(v, text, length(m)-(len(m)-len(text)))
	s.awaitUnnamed(pos, v, opParseUnnamed, &c.unnamed)
	return out, Pass
}

// awaitUnnamed notes that once message pos has been answered, the server has this
// version, and the client as well where u is not nil.
func (s *Server) awaitUnnamed(pos, version uint64, kind opKind, u *unnamed) {
	if pos == 0 {
		return
	}
	if u != nil {
		u.next, u.pos = version, pos
		u.pending++
	}
	s.unnamedNext, s.unnamedPos = version, pos
	s.push(op{pos: pos, kind: kind, version: version, unnamed: u})
}

// useUnnamed passes on a Bind or Describe of the unnamed statement, whose text is
// parsed first where the server has another one or none.
func (s *Server) useUnnamed(out, raw, m []byte) ([]byte, Verdict) {
	s.spoil()
	u := &s.client.unnamed
	version, has := u.version, s.unnamed
	s.Mark = u.mark
	if u.pending > 0 {
		if s.unclear(u.pos) {
			return out, Wait
		}
		version = u.next
	}
	if s.unnamedPos > s.replies.Done() {
		if s.unclear(s.unnamedPos) {
			return out, Wait
		}
		has = s.unnamedNext
	}
	if version != 0 && version == has {
		s.use(m[0], nil, "", u.drops)
		return out, Pass
	}
	out = append(out, raw...)
	if version != 0 && version == u.holds && u.left == 0 {
		s.awaitUnnamed(s.note('P', wire.Swallow), version, opParseUnnamed, nil)
		out = appendParse(out, "", u.text)
	} else {
		// Whatever the server has there is not this client's.
		s.awaitUnnamed(s.note('C', wire.Swallow), 0, opDropUnnamed, nil)
		out = appendClose(out, "")
	}
	s.use(m[0], nil, "", u.drops)
	return append(out, m...), Sent
}

// dropUnnamed notes that message pos takes the unnamed statement away: a Query,
// or a Close.
func (s *Server) dropUnnamed(pos uint64) {
	done := s.replies.Done()
	var u *unnamed
	if s.client != nil && (s.client.unnamed.version != 0 || s.client.unnamed.pending > 0) {
		u = &s.client.unnamed
	}
	if u != nil || s.unnamed != 0 || s.unnamedPos > done {
		s.awaitUnnamed(pos, 0, opDropUnnamed, u)
	}
}
