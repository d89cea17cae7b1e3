package proxy

import (
	"github.com/pgvip/pgvip/pool"
)

// A request of which no byte has left for its server may go to another one, and
// nothing else may (rule 29): what the kernel has taken may have been carried out,
// and only the client knows whether it may be carried out twice. That no byte has
// left is certain in one case: the first write of a loan has failed as a whole, as
// on a connection whose end has come since this turn of the loop began.

// forward passes the client's messages on to its server and returns how many bytes
// are to be kept: those of a message that is not whole, or all if none has left.
func (s *session) forward(b []byte) int {
	if !s.server.Fresh() || !s.frames.Between() || s.large.message != nil {
		return s.pass(b)
	}
	frames := s.frames
	keep := s.pass(b)
	if s.phase != bound || s.server == nil || !s.server.Unsent() || s.goodbye || s.large.message != nil {
		return keep
	}
	s.frames = frames
	s.waiting, s.held, s.resetting, s.skipping = false, false, false, false
	s.request, s.mayCommit = 0, false
	s.again = true // Lost is on its way
	return len(b)
}

// retries looks for another server, if the one that was lost has got nothing and
// all that was meant for it is still here.
func (s *session) retries(server *pool.Server) bool {
	again := s.again && server.Unsent()
	s.again = false
	if !again || s.replication != noReplication || s.proxy.draining.Load() {
		return false
	}
	s.proxy.counters.Retried.Add(1)
	s.asks()
	s.seek()
	return true
}
