package statement

import "github.com/pgvip/pgvip/wire"

// parse passes on a client's Parse, or has its answer made up when the server has
// the statement.
func (s *Server) parse(out, raw, m, name, text []byte) ([]byte, Verdict) {
	if len(name) == 0 {
		return s.parseUnnamed(out, m, text)
	}
	_, old, wait := s.lookup(name)
	if wait {
		return out, Wait
	}
	if old != nil {
		return s.parseDuplicate(out, raw, old, name, text)
	}
	st := s.store.intern(text, s.Encoding)
	st.mark = s.Mark
	k, is := s.standing(st)
	if is == unclear || is == present && s.statusUnclear() {
		s.store.release(st)
		return out, Wait
	}
	s.Counts.ClientParses++
	out = append(out, raw...)
	var pos uint64
	// In a failed transaction only the server knows whether it takes this one. What
	// ends the transaction it does, under a name that is free.
	asks := is == present && s.replies.Status() == 'E'
	if asks && (mayEnd(text) || !s.aborted()) {
		is = stale
	}
	if is == present && !asks {
		s.recent.touch(k)
		if pos = s.note('P', wire.Synthesise); pos != 0 {
			s.push(op{pos: pos, kind: opParse})
		}
	} else {
		if is == stale {
			out = s.sendClose(out, k)
		}
		if is != present {
			out = s.makeRoom(out)
		}
		_, pos = s.sendParse(st, wire.Forward)
		out = appendParse(out, st.name, text)
	}
	s.name(pos, name, st)
	return out, Sent
}

// name has the operation just pushed, of message pos, give a client's name to st.
func (s *Server) name(pos uint64, name []byte, st *Statement) {
	if pos == 0 {
		s.store.release(st) // the server skips it
		return
	}
	e := s.client.entry(name)
	e.await(pos, st)
	o := &s.ops[len(s.ops)-1]
	o.client, o.entry, o.stmt = s.client, e, st
}

// statusUnclear reports that the transaction status at the next message depends
// on answers under way: whether a Parse that is not sent would have failed.
func (s *Server) statusUnclear() bool {
	if s.replies.Done() >= s.ready {
		return false
	}
	s.awaited = s.ready
	return true
}

// parseDuplicate passes on a Parse with a name that the client has used. Parsed
// under the name that the old statement has on the server, it fails as it should:
// first for what is wrong with its text, then as a duplicate.
func (s *Server) parseDuplicate(out, raw []byte, old *Statement, name, text []byte) ([]byte, Verdict) {
	k, is := s.standing(old)
	if is == unclear || is != present && s.statusUnclear() {
		return out, Wait
	}
	out = append(out, raw...)
	switch {
	case is == present:
	case s.aborted():
		out, k = s.supplyHollow(out, old, k, is, noTypes)
	default:
		out, k = s.supply(out, old, k, is)
	}
	if pos := s.note('P', wire.Forward); pos != 0 {
		s.push(op{pos: pos, kind: opDuplicate, known: k, name: string(name)})
	}
	return appendParse(out, old.name, text), Sent
}

// closeNamed answers a client's Close: the statement stays on the server.
func (s *Server) closeNamed(out, raw, m, name []byte) ([]byte, Verdict) {
	if len(name) == 0 {
		s.dropUnnamed(s.note('C', wire.Forward))
		return out, Pass
	}
	e, st, wait := s.lookup(name)
	switch {
	case wait:
		return out, Wait
	case st == nil && !ours(name):
		s.note('C', wire.Forward) // of a PREPARE, or of none
		return out, Pass
	}
	pos := s.note('C', wire.Synthesise)
	if st != nil && pos != 0 {
		e.await(pos, nil)
		s.push(op{pos: pos, kind: opClose, entry: e, client: s.client})
	}
	return append(out, raw...), Sent
}
