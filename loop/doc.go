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
//	       ClassClient -> posted functions -> timers due
//
// An idle connection holds no buffer. Bytes are read into the loop's one buffer
// and handed to the connection's Handler, which says how many of them, from the
// end, it wants to see again: only those are kept. A write goes straight to the
// socket; what the kernel does not take is queued, and the handler is asked to
// stop the peer that feeds it until Drained.
//
// The package knows no PostgreSQL.
package loop
