package pool

import "github.com/pgvip/pgvip/wire"

// What goes to a server from its client.

// Sent notes a client's message of this type, which a following Send carries.
func (s *Server) Sent(typ byte) {
	s.meter.sent(typ, s.replies.Status(), s.pool.loop.Now())
	s.replies.Sent(typ, wire.Forward)
}

// Send sends a client's bytes. It returns false when the server takes no more
// for now: the client must not be read until Flushed.
func (s *Server) Send(b []byte) bool {
	s.used = true
	s.pool.tally.traffic.Received += uint64(len(b))
	if len(s.before) > 0 {
		b = append(s.before, b...)
		s.before = b[:0]
	}
	taken := s.conn.Write(b)
	if s.fresh {
		s.fresh = false
		s.unsent = s.conn.Refused()
	}
	return taken
}

// Fresh reports that nothing of the client's has been sent since the server was
// lent to it.
func (s *Server) Fresh() bool { return s.fresh }

// Unsent reports that the first that was to be sent since has failed, and the kernel
// has taken no byte of it: the server is lost, and knows nothing of it.
func (s *Server) Unsent() bool { return s.unsent }

// Push sends what was to go in front of a request that does not come yet.
func (s *Server) Push() {
	if len(s.before) > 0 {
		s.Send(nil)
	}
}
