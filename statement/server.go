package statement

import "github.com/pgvip/pgvip/wire"

// Verdict says what becomes of a client's message.
type Verdict uint8

// Verdicts.
const (
	// Pass: the message goes to the server as it is.
	Pass Verdict = iota
	// Sent: what goes to the server in its place has been appended.
	Sent
	// Wait: the message cannot be judged yet. What stands before it is to be sent,
	// a Flush behind it, and the message to be given again once Resolved.
	Wait
)

// Server is the prepared statements of one server connection. While it is lent it
// sees every message of the client's (Forward, More) and every answer (Error and
// Completed before, Got after wire.Replies has seen it).
type Server struct {
	store   *Store
	replies *wire.Replies
	client  *Client // nil while it is not lent
	limit   int     // max_prepared_statements

	// Encoding is client_encoding as the client has it.
	Encoding string
	// Mark is what the caller has to say about the text of a Parse; with each Bind
	// of that statement it is said again.
	Mark uint16

	known   map[*Statement]*known
	recent  recent
	ops     []op // under way, from first on, in the order of their messages
	first   int
	uses    []use // Binds and Describes that may be under way
	retry   retry
	sync    uint64 // number of the last Sync
	ready   uint64 // number of the last message that a ReadyForQuery answers
	fresh   bool   // nothing was sent since that Sync but Parses
	doubt   uint64 // number of the last message that may take statements away
	risky   bool   // an Execute of this batch may
	ran     bool   // something of this batch may have run
	awaited uint64 // number of the message that a client waits for; 0 for none

	unnamed     uint64 // version of the unnamed statement; 0 where nobody knows
	unnamedNext uint64 // once message unnamedPos has been answered
	unnamedPos  uint64

	learning learning

	// Counts is what was counted since the caller set it to zero.
	Counts Counts
}

// Counts is what PgBouncer counts of named statements.
type Counts struct {
	ClientParses uint64 // that clients have asked for
	ServerParses uint64 // that the server was sent
	Binds        uint64
}

// use is a Bind or Describe, for the sake of the error that may answer it.
type use struct {
	pos   uint64
	known *known // nil for the unnamed statement
	name  string // as the client wrote it
}

// NewServer returns the statements of a connection that has none. Its replies are
// counted by r.
func NewServer(t *Store, r *wire.Replies) *Server {
	return &Server{store: t, replies: r, known: make(map[*Statement]*known)}
}

// Len is the number of statements that the server has, or will have.
func (s *Server) Len() int { return s.recent.size }

// Lend begins a client's use of a server that is settled, which will keep at most
// limit statements.
func (s *Server) Lend(c *Client, limit int) {
	c.join(s.store)
	s.client, s.limit = c, max(limit, 1)
	s.risky, s.ran, s.awaited, s.fresh = false, false, 0, true
	s.retry.first = 0
	s.learning = learning{}
}

// Return ends it. Answers may still be under way.
func (s *Server) Return() {
	s.client = nil
	s.uses = s.uses[:0]
	s.awaited = 0
}

// Close forgets everything: the connection is gone.
func (s *Server) Close() {
	s.Return()
	for s.first < len(s.ops) {
		s.settle(s.pop(), skipped)
	}
	s.clear()
}

// DropUnnamed notes that a Query which no client sent has taken the unnamed
// statement away.
func (s *Server) DropUnnamed() { s.unnamed, s.unnamedPos = 0, 0 }

// Resolved reports, once, that what a client waits for has been answered.
func (s *Server) Resolved() bool {
	if s.awaited == 0 || s.replies.Done() < s.awaited {
		return false
	}
	s.awaited = 0
	return true
}

// Forward judges the client's message m: all of it, or the beginning as Short and
// Collected allow. raw is what the client sent before and has not gone to the
// server yet. With Sent, out has raw and what stands in m's place appended; else
// it is as it was. The message has been noted in replies, unless it has to Wait.
func (s *Server) Forward(out, raw, m []byte) ([]byte, Verdict) {
	switch m[0] {
	case 'B', 'P', 'D', 'C':
		if s.replies.CopyIn() {
			break // the server takes it for the end of the COPY
		}
		return s.forward(out, raw, m)
	case 'E':
		pos := s.note('E', wire.Forward)
		if s.risky {
			s.doubt = pos
		}
		s.fresh, s.ran = false, true
		s.follow(out, raw, m)
		return out, Pass
	case 'Q':
		s.spoil()
		return s.query(out, raw, m)
	case 'F':
		s.spoil()
		s.ready = s.note('F', wire.Forward)
		return out, Pass
	case 'S':
		s.sync = s.note('S', wire.Forward)
		s.ready = s.sync
		s.risky, s.ran = false, false
		s.follow(out, raw, m)
		s.fresh = true
		return out, Pass
	}
	s.note(m[0], wire.Forward)
	s.retry.first = 0
	return out, Pass
}

func (s *Server) forward(out, raw, m []byte) ([]byte, Verdict) {
	body := m[wire.HeaderSize:]
	if m[0] == 'P' || m[0] == 'C' {
		s.retry.first = 0
	}
	switch m[0] {
	case 'B':
		portal, rest, ok := cut(body)
		name, _, ok2 := cut(rest)
		if ok && ok2 {
			return s.useNamed(out, raw, m, wire.HeaderSize+len(portal)+1, name)
		}
	case 'P':
		if name, text, ok := cut(body); ok {
			return s.parse(out, raw, m, name, text)
		}
	case 'D':
		if kind, name, ok := target(body); ok && kind == 'S' {
			return s.useNamed(out, raw, m, wire.HeaderSize+1, name)
		} else if ok && kind == 'P' {
			s.note('D', wire.Forward)
			s.follow(out, raw, m)
			return out, Pass
		}
	case 'C':
		if kind, name, ok := target(body); ok && kind == 'S' {
			return s.closeNamed(out, raw, m, name)
		}
	}
	s.retry.first = 0
	s.note(m[0], wire.Forward)
	return out, Pass
}

// note counts a message in and gives its number, 0 when nothing will answer it.
func (s *Server) note(typ byte, action wire.Action) uint64 {
	last := s.replies.Last()
	s.replies.Sent(typ, action)
	if pos := s.replies.Last(); pos != last {
		return pos
	}
	return 0
}

// unclear reports that the answer to message pos is under way and decides what
// the next message means. Within a batch it does not: after an error the next
// message is skipped as well.
func (s *Server) unclear(pos uint64) bool {
	done := s.replies.Done()
	switch {
	case pos > done && pos <= s.sync:
		s.awaited = pos
	case s.doubt > done && pos < s.doubt:
		s.awaited = s.doubt
	default:
		return false
	}
	return true
}

// lookup gives the client's statement of a name; wait is set when that is unclear.
func (s *Server) lookup(name []byte) (e *entry, st *Statement, wait bool) {
	e = s.client.names[string(key(name))]
	if e == nil {
		return nil, nil, false
	}
	if e.pending > 0 {
		return e, e.next, s.unclear(e.pos)
	}
	return e, e.stmt, s.unclear(0)
}

// useNamed passes on a Bind or Describe with the name that its statement has on
// the server, where it is parsed first if need be. The client's name begins at
// m[at].
func (s *Server) useNamed(out, raw, m []byte, at int, name []byte) ([]byte, Verdict) {
	if len(name) == 0 {
		return s.useUnnamed(out, raw, m)
	}
	e, st, wait := s.lookup(name)
	if wait {
		return out, Wait
	}
	if st == nil {
		return s.useUnknown(out, raw, m, name)
	}
	s.Mark = st.mark
	k, is := s.standing(st)
	if is == unclear || is != present && s.statusUnclear() {
		return out, Wait
	}
	out = append(out, raw...)
	if is == present {
		s.recent.touch(k)
	} else if types, ok := hollow(st, m[0]); ok && s.aborted() {
		out, k = s.supplyHollow(out, st, k, is, types)
	} else {
		out, k = s.supply(out, st, k, is)
	}
	full := e.name
	if len(name) > maxName {
		full = string(name)
	}
	s.use(m[0], k, full, st.drops)
	if m[0] == 'B' {
		s.Counts.Binds++
	}
	s.begin(m[0], len(out), s.fresh)
	s.fresh = false
	return appendRenamed(out, m, at, len(name), st.name), Sent
}

// use notes the Bind or Describe itself.
func (s *Server) use(typ byte, k *known, name string, drops bool) {
	if s.replies.Outstanding() == 0 {
		s.uses = s.uses[:0]
	} else if len(s.uses) == cap(s.uses) {
		s.trim()
	}
	pos := s.note(typ, wire.Forward)
	s.uses = append(s.uses, use{pos, k, name})
	if drops && typ == 'B' {
		s.risky = true
	}
}

// trim forgets the uses that have been answered.
func (s *Server) trim() {
	i, done := 0, s.replies.Done()
	for i < len(s.uses) && s.uses[i].pos <= done {
		i++
	}
	s.uses = s.uses[:copy(s.uses, s.uses[i:])]
}

// useUnknown passes on a name that the client has not prepared, so that the
// server says so. Should it be one that we give, the server must not have it.
func (s *Server) useUnknown(out, raw, m, name []byte) ([]byte, Verdict) {
	s.spoil()
	var k *known
	if ours(name) {
		k = s.named(name)
	}
	if k == nil {
		s.note(m[0], wire.Forward)
		return out, Pass
	}
	if s.unclear(k.pos) {
		return out, Wait
	}
	out = s.sendClose(append(out, raw...), k)
	s.note(m[0], wire.Forward)
	return append(out, m...), Sent
}

// supply gets a statement to the server that has it not, or not as it should be.
func (s *Server) supply(out []byte, st *Statement, k *known, is standing) ([]byte, *known) {
	if is == stale {
		out = s.sendClose(out, k)
	}
	out = s.makeRoom(out)
	k, _ = s.sendParse(st, wire.Swallow)
	return appendParse(out, st.name, st.text), k
}

// sendParse notes a Parse of st, which the caller sends. Both results are zero
// when nothing will answer it.
func (s *Server) sendParse(st *Statement, action wire.Action) (*known, uint64) {
	pos := s.note('P', action)
	if pos == 0 {
		return nil, 0
	}
	s.Counts.ServerParses++
	k := s.find(st)
	s.await(k, pos, true)
	s.push(op{pos: pos, kind: opParse, known: k})
	return k, pos
}

func (s *Server) sendClose(out []byte, k *known) []byte {
	pos := s.note('C', wire.Swallow)
	if pos != 0 {
		s.await(k, pos, false)
		s.push(op{pos: pos, kind: opClose, known: k})
	}
	return appendClose(out, k.stmt.name)
}

// makeRoom closes what was not used for longest. A limit that has become smaller
// is reached step by step.
func (s *Server) makeRoom(out []byte) []byte {
	for range 2 {
		if s.recent.size < s.limit {
			break
		}
		out = s.sendClose(out, s.recent.last)
	}
	return out
}
