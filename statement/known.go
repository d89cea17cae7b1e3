package statement

// known is a statement on one server connection.
type known struct {
	stmt    *Statement
	present bool   // as of the last answer
	next    bool   // once what is under way has been answered
	stale   bool   // present, but not to be used: close it and parse it again
	hollow  bool   // what is under way only stands in for it
	listed  bool   // in the list of those used last
	pos     uint64 // number of the last message under way
	pending int    // how many are
	newer   *known
	older   *known
}

// recent lists what a server has, or will have once everything under way has
// been answered, the statement used last in front.
type recent struct {
	first, last *known
	size        int
}

func (r *recent) push(k *known) {
	if k.listed {
		return
	}
	k.listed = true
	k.newer, k.older = nil, r.first
	if r.first != nil {
		r.first.newer = k
	} else {
		r.last = k
	}
	r.first = k
	r.size++
}

func (r *recent) remove(k *known) {
	if !k.listed {
		return
	}
	k.listed = false
	if k.newer != nil {
		k.newer.older = k.older
	} else {
		r.first = k.older
	}
	if k.older != nil {
		k.older.newer = k.newer
	} else {
		r.last = k.newer
	}
	k.newer, k.older = nil, nil
	r.size--
}

func (r *recent) touch(k *known) {
	if r.first != k && k.listed {
		r.remove(k)
		r.push(k)
	}
}

// standing is what can be said of a statement on a server.
type standing uint8

const (
	absent standing = iota
	present
	stale   // there, and in the way
	unclear // it depends on an answer from before the last Sync
)

// standing says how st stands on the server for the next message.
func (s *Server) standing(st *Statement) (*known, standing) {
	k := s.known[st]
	switch {
	case k == nil:
		return nil, absent
	case s.unclear(k.pos):
		return k, unclear
	case k.hollow && k.pos > s.replies.Done():
		s.awaited = k.pos
		return k, unclear
	case k.pos > s.replies.Done():
		if k.next {
			return k, present
		}
		return k, absent
	case !k.present:
		return k, absent
	case k.stale:
		return k, stale
	}
	return k, present
}

// find gives st's place, a new one if need be.
func (s *Server) find(st *Statement) *known {
	k := s.known[st]
	if k == nil {
		k = &known{stmt: st}
		st.refs++
		s.known[st] = k
	}
	return k
}

// await notes that once message pos has been answered, k is present or not.
func (s *Server) await(k *known, pos uint64, there bool) {
	k.next, k.pos = there, pos
	k.pending++
	s.list(k)
}

// answered ends what await began.
func (s *Server) answered(k *known, there, done bool) {
	k.pending--
	if done {
		k.present, k.stale = there, false
	}
	s.list(k)
}

// list keeps the list in step with a statement, and forgets one that is neither
// there nor under way.
func (s *Server) list(k *known) {
	if k.pending > 0 && k.next || k.pending == 0 && k.present {
		s.recent.push(k)
	} else {
		s.recent.remove(k)
	}
	if k.pending == 0 && !k.present && s.known[k.stmt] == k {
		delete(s.known, k.stmt)
		s.store.release(k.stmt)
	}
}

// clear forgets all statements, as DEALLOCATE ALL does. What is under way comes
// after it.
func (s *Server) clear() {
	for _, k := range s.known {
		k.present, k.stale = false, false
		s.list(k)
	}
}

// named gives what the server has under a name of ours.
func (s *Server) named(name []byte) *known {
	for st, k := range s.known {
		if st.name == string(key(name)) {
			return k
		}
	}
	return nil
}
