package pool

import (
	"time"

	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/wire"
)

const (
	// discardLimit bounds how long a server is waited for whose client has gone:
	// what does not heed a cancel request by then is not worth its place.
	discardLimit = 10 * time.Second
	// discardNag is how often the request is repeated: each ends one query, and
	// the client may have sent many.
	discardNag = time.Second
)

// Discard takes back a server whose client is gone in the middle of something.
// Its query is cancelled, so that it does not run on for nobody, and once all
// has been answered the server is cleaned like any other. Unless whole, the
// client has left a message half sent, of which the server would wait for the
// rest for ever: it is closed.
func (s *Server) Discard(why string, whole bool) {
	if !whole || s.holding {
		if !s.replies.Settled() {
			s.pool.set.sendCancel(s, nil)
		}
		s.borrower = nil
		s.close(why)
		s.pool.fill()
		return
	}
	// What is sent in front of its request may be what is cancelled.
	s.given, s.givenKnown = *s.borrower.Profile(), false
	s.Push()
	s.detach()
	s.borrower = nil
	s.state = draining
	s.ending = true
	s.discarded = s.pool.loop.Now()
	s.conn.Resume(loop.PausePeer)
	s.giveNothing()
	s.nag()
}

// giveNothing answers a server that waits for its client. The data of a COPY are
// refused; a Sync that came before them has been ignored. A batch without a Sync
// must not be committed by ours: it is made to fail first, by a portal that does
// not exist.
func (s *Server) giveNothing() {
	var b []byte
	switch {
	case s.replies.CopyIn():
		s.replies.Sent('f', wire.Swallow)
		b = appendMessage(b, 'f', "client is gone\x00")
	case s.replies.InBatch():
		s.replies.Sent('E', wire.Swallow)
		b = appendMessage(b, 'E', "client is gone\x00\x00\x00\x00\x00")
	case s.replies.Doubtful():
		s.prod()
		return
	default:
		return
	}
	s.replies.Sent('S', wire.Swallow)
	s.conn.Write(appendMessage(b, 'S', ""))
}

func appendMessage(b []byte, typ byte, body string) []byte {
	n := len(body) + 4
	b = append(b, typ, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	return append(b, body...)
}

// nag cancels what the gone client has running, again and again.
func (s *Server) nag() {
	if s.state != draining {
		return
	}
	if s.pool.loop.Now().Sub(s.discarded) >= discardLimit {
		s.fail("its client is gone, and it does not come to an end")
		return
	}
	if !s.cancelling && s.key != nil {
		s.cancelling, s.cancelDone = true, func() {}
		s.pool.set.sendCancel(s, s.cancelled)
	}
	s.choreTimer.Stop()
	s.choreTimer = s.pool.loop.After(discardNag, s.nag)
}
