package proxy

import (
	"time"

	"github.com/pgvip/pgvip/wire"
)

// writeLooks is how often a client that takes nothing is looked at within
// client_write_timeout. Its kernel acknowledges what it has read without a word to
// us, so a reader that is only slow is told from a dead one by looking.
const writeLooks = 4

// clog notes that the client has not taken all of its replies.
func (s *session) clog() {
	s.clogged = true
	if s.rules.ClientWriteTimeout <= 0 {
		// Should there be a limit later, its time begins when that is first looked at.
		s.taken, s.looked, s.untaken = time.Time{}, time.Time{}, -1
		return
	}
	s.takes()
	s.watch()
}

// takes notes where a client stands that has taken something just now.
func (s *session) takes() {
	now := s.shard.loop.Now()
	s.taken, s.looked, s.untaken = now, now, s.conn.Untaken()
}

// lookTaken ends a session whose client has taken nothing for client_write_timeout.
// It reports whether the session goes on.
func (s *session) lookTaken() bool {
	now := s.shard.loop.Now()
	n := s.conn.Untaken()
	if n != s.untaken {
		s.takes()
		return true
	}
	s.looked = now
	if now.Sub(s.taken) < s.rules.ClientWriteTimeout {
		return true
	}
	s.proxy.counters.WriteTimeouts.Add(1)
	s.timeOut("client_write_timeout", wire.CodeConnectionFailure, "terminating connection because the client does not take its results")
	return false
}
