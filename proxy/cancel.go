package proxy

import (
	"crypto/subtle"
	"encoding/binary"
	"math/rand/v2"
	"sync"

	"github.com/pgvip/pgvip/wire"
)

// registry finds a session by the number that its BackendKeyData gave it.
type registry struct {
	mu   sync.Mutex
	byID map[uint32]*session // guarded by mu
}

// add gives s a number that no other session has. PostgreSQL's process ids are
// positive 32-bit integers, so clients may expect that.
func (r *registry) add(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		id := rand.Uint32N(1<<31-1) + 1
		if _, taken := r.byID[id]; !taken {
			s.id = id
			r.byID[id] = s
			return
		}
	}
}

func (r *registry) remove(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID[s.id] == s {
		delete(r.byID, s.id)
	}
}

func (r *registry) find(id uint32) *session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[id]
}

// all lists the sessions, in no order.
func (r *registry) all() []*session {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*session, 0, len(r.byID))
	for _, s := range r.byID {
		list = append(list, s)
	}
	return list
}

// key is the secret of the client's BackendKeyData: 4 bytes in protocol 3.0.
func (s *session) key() []byte {
	return binary.BigEndian.AppendUint32(nil, s.secret)
}

// cancel serves a cancel request. As PostgreSQL does, it answers nothing,
// whether the key was right or not.
func (p *Proxy) cancel(request *wire.Startup) {
	s := p.sessions.find(request.ProcessID)
	if s == nil || subtle.ConstantTimeCompare(request.SecretKey, s.key()) != 1 {
		return
	}
	p.counters.Cancels.Add(1)
	done := make(chan struct{})
	s.post(func() { s.cancelQuery(func() { close(done) }) })
	// The caller closes the connection, which tells the client that its request
	// has been carried out: not before it has been, or it might hit the query
	// that the client sends next.
	select {
	case <-done:
	case <-p.ctx.Done():
	}
}

// cancelQuery cancels what the client has running, and calls done when the
// server has been told. Without a server the client's request still waits, and
// is answered here.
func (s *session) cancelQuery(done func()) {
	switch s.phase {
	case bound:
		s.server.Cancel(done)
		return
	case parked, queued, moving:
		s.cancelWaiting()
	}
	done()
}

// cancelWaiting answers the oldest request that waits with 57014, as if it had
// been cancelled while running, and lets the session go on with the rest.
func (s *session) cancelWaiting() {
	held := s.conn.Peek()
	n, complete := requestLength(held)
	if !complete {
		return // it goes on arriving; there is nothing to answer yet
	}
	s.leaveQueue()
	e := &wire.Error{Severity: wire.SeverityError, Code: wire.CodeQueryCanceled, Message: "canceling statement due to user request"}
	s.conn.Write(wire.AppendReadyForQuery(e.Append(nil), 'I'))
	if s.leaving {
		s.end(causeClient, nil)
		return
	}
	s.conn.Skip(n)
	s.rest()
}

// requested reports that b begins with a whole request.
func requested(b []byte) bool {
	_, complete := requestLength(b)
	return complete
}

// requestLength measures the first request in b: up to and including the
// message that a ReadyForQuery answers.
func requestLength(b []byte) (int, bool) {
	var f wire.Framer
	at := 0
	for {
		typ, n, piece := f.Next(b[at:])
		if piece != wire.Whole {
			return 0, false
		}
		at += n
		if typ == 'Q' || typ == 'S' || typ == 'F' {
			return at, true
		}
	}
}
