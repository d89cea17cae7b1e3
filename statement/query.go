package statement

import (
	"bytes"

	"github.com/pgvip/pgvip/wire"
)

// query passes on a simple Query. It takes the unnamed statement away; DEALLOCATE
// of a client's name is given the server's.
func (s *Server) query(out, raw, m []byte) ([]byte, Verdict) {
	if s.replies.CopyIn() {
		s.note('Q', wire.Forward)
		return out, Pass
	}
	text := m[wire.HeaderSize:]
	risky := dropsStatements(text)
	if risky && s.client != nil && len(m) == length(m) {
		if name, ok := deallocated(text); ok {
			if out, v, ours := s.deallocate(out, raw, name); ours {
				return out, v
			}
		}
	}
	s.noteQuery(risky)
	return out, Pass
}

func (s *Server) noteQuery(risky bool) uint64 {
	pos := s.note('Q', wire.Forward)
	if pos == 0 {
		return 0
	}
	s.ready = pos
	if risky {
		s.doubt = pos
	}
	s.dropUnnamed(pos)
	return pos
}

// deallocate is DEALLOCATE name. The statement is dropped on the server, so that
// the answer is the server's; where it is not there, one of no text is, which
// can be parsed even in a failed transaction. It reports whether name is one of
// the client's.
func (s *Server) deallocate(out, raw, name []byte) ([]byte, Verdict, bool) {
	e, st, wait := s.lookup(name)
	if !wait && st == nil {
		return out, Pass, false
	}
	if wait {
		return out, Wait, true
	}
	k, is := s.standing(st)
	if is == unclear {
		return out, Wait, true
	}
	out = append(out, raw...)
	if is == absent {
		out = s.makeRoom(out)
		k, _ = s.sendParse(st, wire.Swallow)
		out = appendParse(out, st.name, "\x00\x00\x00")
	}
	pos := s.noteQuery(false)
	if pos != 0 && k != nil {
		e.await(pos, nil)
		s.await(k, pos, false)
		s.push(op{pos: pos, kind: opDeallocate, known: k, entry: e, client: s.client})
	}
	start := len(out)
	out = append(out, 'Q', 0, 0, 0, 0)
	out = append(append(out, "DEALLOCATE "...), st.name...)
	out = append(out, 0)
	putLength(out[start:])
	return out, Sent, true
}

// Completed notes the tag of a CommandComplete, NUL included, before replies sees
// it. clients says that the answer is the client's.
func (s *Server) Completed(tag []byte, clients bool) {
	switch string(bytes.TrimSuffix(tag, []byte{0})) {
	case "DEALLOCATE ALL", "DISCARD ALL":
		s.clear()
		if clients && s.client != nil {
			s.client.clear()
		}
	case "DEALLOCATE":
		for i := s.first; i < len(s.ops) && s.ops[i].pos == s.replies.Done()+1; i++ {
			s.ops[i].told = s.ops[i].told || s.ops[i].kind == opDeallocate
		}
	}
}

// dropsStatements reports a statement that takes prepared statements away, by its
// first word.
func dropsStatements(text []byte) bool {
	text = skipBlank(text)
	_, yes := cutWord(text, "deallocate")
	if !yes {
		_, yes = cutWord(text, "discard")
	}
	return yes
}

// deallocated reads DEALLOCATE [PREPARE] name; ok is false for anything else,
// ALL included. text ends with a NUL.
func deallocated(text []byte) (name []byte, ok bool) {
	text, ok = cutWord(skipBlank(bytes.TrimSuffix(text, []byte{0})), "deallocate")
	if !ok {
		return nil, false
	}
	text = skipBlank(text)
	if rest, ok := cutWord(text, "prepare"); ok {
		if rest = skipBlank(rest); len(rest) > 0 && rest[0] != ';' {
			text = rest // else it is the name
		}
	}
	if _, all := cutWord(text, "all"); all {
		return nil, false
	}
	name, text, ok = cutIdentifier(text)
	text = skipBlank(text)
	if len(text) > 0 && text[0] == ';' {
		text = skipBlank(text[1:])
	}
	return name, ok && len(text) == 0
}

// skipBlank skips white space and comments.
func skipBlank(text []byte) []byte {
	for {
		text = bytes.TrimLeft(text, " \t\n\r\f\v")
		switch {
		case bytes.HasPrefix(text, []byte("--")):
			i := bytes.IndexAny(text, "\n\r")
			if i < 0 {
				return nil
			}
			text = text[i:]
		case bytes.HasPrefix(text, []byte("/*")):
			text = skipComment(text)
		default:
			return text
		}
	}
}

// skipComment skips a comment, which may have others in it.
func skipComment(text []byte) []byte {
	depth := 0
	for i := 0; i+1 < len(text); i++ {
		switch string(text[i : i+2]) {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
		}
		if depth == 0 {
			return text[i+1:]
		}
	}
	return nil
}

// cutWord takes a lower-case keyword off the front, however it is written.
func cutWord(text []byte, word string) ([]byte, bool) {
	if len(text) < len(word) || text[0]|0x20 != word[0] {
		return text, false
	}
	for i := range len(word) {
		if text[i]|0x20 != word[i] {
			return text, false
		}
	}
	rest := text[len(word):]
	if len(rest) > 0 && inIdentifier(rest[0]) {
		return text, false
	}
	return rest, true
}

// cutIdentifier takes an identifier off the front, folded as PostgreSQL does.
func cutIdentifier(text []byte) (name, rest []byte, ok bool) {
	if len(text) > 0 && text[0] == '"' {
		for i := 1; i < len(text); i++ {
			if text[i] != '"' {
				name = append(name, text[i])
				continue
			}
			if i+1 == len(text) || text[i+1] != '"' {
				return name, text[i+1:], len(name) > 0
			}
			name = append(name, '"')
			i++
		}
		return nil, nil, false
	}
	i := 0
	for i < len(text) && inIdentifier(text[i]) {
		c := text[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		name = append(name, c)
		i++
	}
	return name, text[i:], i > 0 && (text[0] < '0' || text[0] > '9') && text[0] != '$'
}

func inIdentifier(c byte) bool {
	return c == '_' || c == '$' || c >= 0x80 || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}
