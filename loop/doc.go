// Package loop runs sockets on event loops: one goroutine, one epoll instance,
// and everything that belongs to them.
//
// A Loop owns its connections, its timers and the state of every handler that
// is registered with it: all of it is touched by the loop's goroutine alone, so
// handlers need no lock. Others reach a loop only through Post. Nothing that
// runs on a loop may block: no DNS, no logging to a slow sink, no lock that
// somebody holds across I/O.
//
//	turn:  wait for events -> connections of ClassServer -> those of
//	       ClassClient -> those that have rested -> those that asked for
//	       another turn -> posted functions -> timers due
//
// A connection is read until one of the two sides ends it:
//
//	         Pause, Rest                    EOF: the peer sends no more
//	paused <-------------> reading ----------------------> half-closed
//	   |      Resume          |                                 |
//	   +------ Finish --------+------------ Finish -------------+
//	                          v
//	   finishing: queue sent, then FIN, then input thrown away
//	                          |   the peer's end, or one second
//	                          v
//	                        closed  <--- Close; Failed comes after it
//
// An idle connection holds no buffer. Bytes are read into the loop's one buffer
// and handed to the connection's Handler, which says how many of them, from the
// end, it wants to see again: only those are kept. A write goes straight to the
// socket; what the kernel does not take is queued, and the handler is asked to
// stop the peer that feeds it until Drained.
//
// TLS is a layer under Conn, at the only two places that touch a socket's bytes:
// read takes plain text from a tls.Conn until that reports a dry socket by a
// temporary error, and below Write its records join the queue. The handshake is
// not the loop's. A tls.Conn may hold plain text that epoll knows nothing of: a
// connection that leaves some behind is served again without an event.
//
// The package knows no PostgreSQL.
package loop
