package proxy

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"net"
	"time"

	"github.com/pgvip/pgvip/wire"
)

// What a client gets in BackendKeyData, and names in a CancelRequest. The peer
// is this pgvip's peer_id, so that another node that gets the request knows
// whose it is; it stands in the process id, whose layout is the same in all
// versions of the protocol:
//
//	process id   0 p p p p p p p p n n n ... n     31 bits: PostgreSQL's are positive
//	               '- peer_id: 8 -' '- 23 -'       n: the session's number, random
//	secret       4 random bytes before protocol 3.2, 32 since
//
// 2^23 numbers are enough for eight times the most clients there can be.
const (
	numberBits = 23

	shortSecret = 4  // all that protocol 3.0 has room for
	longSecret  = 32 // as PostgreSQL 18; the protocol allows 256
)

// peerOf is the peer_id of the pgvip that gave out a process id.
func peerOf(id uint32) int { return int(id >> numberBits) }

// newSecret makes a secret of the length that a version of the protocol has.
func newSecret(version uint32) []byte {
	secret := make([]byte, shortSecret)
	if version >= wire.ProtocolVersion32 {
		secret = make([]byte, longSecret)
	}
	rand.Read(secret) // never fails
	return secret
}

// cancel serves a cancel request. As PostgreSQL does, it answers nothing,
// whether the key was right or not.
func (p *Proxy) cancel(request *wire.Startup, from net.Addr) {
	if p.cancelHere(request, from) == unknownKey && !p.forward(request, from) {
		p.mistaken(request, from)
	}
}

// CancelFor carries out a cancel request that came to another node, and reports
// whether the key was right. It does what would have been done had the client come
// here, but for sending it on.
func (p *Proxy) CancelFor(id uint32, key []byte, from net.Addr) bool {
	request := &wire.Startup{ProcessID: id, SecretKey: key}
	whose := p.cancelHere(request, from)
	if whose == unknownKey {
		p.mistaken(request, from)
	}
	return whose == ourKey
}

// forwardTimeout bounds how long a client waits for another node to carry out its
// request. PostgreSQL is told within cancel_wait_timeout there.
const forwardTimeout = 10 * time.Second

// forward sends a request to the node that gave out its key, and waits until it has
// been carried out there. Whether the key is right shows only then, so it counts as
// a guess until that node has said otherwise.
func (p *Proxy) forward(request *wire.Startup, from net.Addr) bool {
	peer := peerOf(request.ProcessID)
	if p.forwardTo == nil || peer == p.settings.Load().PeerID || !p.guesses.allowed(from, time.Now()) {
		return false
	}
	p.guesses.wrong(from, time.Now())
	ctx, cancel := context.WithTimeout(p.ctx, forwardTimeout)
	defer cancel()
	right, err := p.forwardTo(ctx, peer, request.ProcessID, request.SecretKey, from)
	switch {
	case err != nil:
		p.counters.CancelsForeign.Add(1)
	case right:
		p.guesses.right(from)
		p.counters.CancelsForwarded.Add(1)
	default:
		p.counters.CancelsWrong.Add(1)
	}
	return true
}

// owner says whose a cancel key is.
type owner uint8

const (
	unknownKey owner = iota // no session's here
	ourKey                  // its session has been told
	unreadKey               // who sends it has guessed too often
)

// cancelHere carries out a request whose key is of a session or an operator of this
// node. It returns when that has been done.
func (p *Proxy) cancelHere(request *wire.Startup, from net.Addr) owner {
	if !p.guesses.allowed(from, time.Now()) {
		p.counters.CancelsIgnored.Add(1)
		return unreadKey
	}
	s := p.sessions.find(request.ProcessID)
	if s != nil && subtle.ConstantTimeCompare(request.SecretKey, s.secret) == 1 {
		p.carryOut(s)
		return ourKey
	}
	if s == nil && p.console.Cancel != nil && p.console.Cancel(request.ProcessID, request.SecretKey) {
		return ourKey
	}
	return unknownKey
}

// carryOut cancels what a session has running.
func (p *Proxy) carryOut(s *session) {
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

// mistaken counts a request whose key is nobody's.
func (p *Proxy) mistaken(request *wire.Startup, from net.Addr) {
	p.guesses.wrong(from, time.Now())
	if peerOf(request.ProcessID) != p.settings.Load().PeerID {
		p.counters.CancelsForeign.Add(1)
	} else {
		p.counters.CancelsWrong.Add(1)
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
