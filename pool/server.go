package pool

import (
	"net/netip"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/statement"
	"github.com/pgvip/pgvip/wire"
)

// state of a server; see the drawing in doc.go.
type state uint8

const (
	settling  state = iota // ours: being checked or given a client's parameters
	idle                   // in its pool's idle list
	lent                   // a client's
	draining               // its client left; replies still come and are dropped
	resetting              // ours: being cleaned
	closed
)

const (
	// bulkFrom is the size from which a reply is passed on in larger pieces than
	// it comes in; a smaller one goes to the client as fast as it can.
	bulkFrom = 64 << 10
	// bulkRead is the piece that needs no gathering.
	bulkRead = 48 << 10
)

// Server is one logged-in PostgreSQL connection. It belongs to the loop of its
// pool, and while lent to one Borrower.
type Server struct {
	// Immutable after login.
	pool    *Pool // changes once for a server that was warmed, before it is lent
	pid     uint32
	key     []byte
	secure  bool // it has TLS
	created time.Time
	permit  permit
	id      uint64
	local   netip.AddrPort

	// Owned by the loop.
	conn       loop.Conn
	frames     wire.Framer
	replies    wire.Replies
	streamed   wire.Action // of the message that is being streamed
	long       []byte      // of a ParameterStatus that is, what has come so far
	state      state
	borrower   Borrower
	waiter     *Waiter // the borrower's claim, while settling
	chore      chore
	mode       Mode // the pool's when the server was lent: what is left on it is cleaned up accordingly
	loss       Loss // how it would be lost, if it were now
	used       bool // something was sent since it was last clean
	dirty      State
	dirtied    uint64 // by the message of this number, or ones before it
	reported   []wire.Param
	given      Profile   // what it was last made to fit
	before     []byte    // goes out in front of what the client sends next
	ending     bool      // the client sends no more
	prodded    bool      // a Sync of ours was sent for that
	flushed    bool      // it was asked to give its replies without a Sync
	parted     bool      // it was told goodbye
	mayReset   bool      // a SET of the client's may be to DEFAULT
	holding    bool      // ParameterStatus and ReadyForQuery wait for restoring
	drifted    bool      // reported has changed since, and the client does not know
	deferred   bool      // what follows a ReadyForQuery waits for what has come behind it
	deferredTo bool      // that ReadyForQuery was the client's
	blockTold  bool      // that a transaction block failed, by an error of its own
	givenKnown bool      // of the parameters that are not reported, given says it all
	bulk       int       // bytes of the reply that is under way
	loans      int       // how often it was lent
	discarded  time.Time // when its client went in the middle of something
	lastUse    time.Time // when it was last given back
	stale      bool      // to be closed as soon as it is free
	fresh      bool      // nothing was sent since it was lent
	unsent     bool      // nor will be: the first write has failed as a whole
	unproven   bool      // it was warmed for a new primary, and has not answered since
	writable   bool      // and then it did
	meter      meter
	known      *statement.Server // prepared statements, once a client has used any
	retrying   bool              // a ReadyForQuery to come is that of a batch sent again
	renamed    []byte            // the error just noted as the client is to see it, nil for as it is

	cancelling bool     // a cancel request is under way
	suspect    bool     // one has failed and may yet arrive
	cancelDone func()   // for it
	cancelNext []func() // for those that came meanwhile

	choreTimer *loop.Timer
}

// Pool is the one that the server belongs to.
func (s *Server) Pool() *Pool { return s.pool }

// Status is the transaction status of the last ReadyForQuery.
func (s *Server) Status() byte { return s.replies.Status() }

// Between reports that no message to the client is under way.
func (s *Server) Between() bool { return s.frames.Between() || s.streamed != wire.Forward }

// Settled reports that all replies have come and no implicit transaction is open.
func (s *Server) Settled() bool { return s.replies.Settled() }

// Outstanding reports whether replies are still to come.
func (s *Server) Outstanding() bool { return s.replies.Outstanding() > 0 }

// CopyIn reports that the server waits for COPY data from the client.
func (s *Server) CopyIn() bool { return s.replies.CopyIn() }

// Pause stops reading from the server, whose client cannot take more.
func (s *Server) Pause() { s.conn.Pause(loop.PausePeer) }

// Resume reads on.
func (s *Server) Resume() { s.conn.Resume(loop.PausePeer) }

// Data implements loop.Handler: replies go to the borrower in as few pieces as
// possible, except those that only we have asked for.
func (s *Server) Data(_ *loop.Conn, b []byte) int {
	from, at := 0, 0 // b[from:at] is still to be passed on
	last := byte(0)
	for at < len(b) {
		typ, n, piece := s.frames.Next(b[at:])
		if piece == wire.Short {
			break
		}
		message := b[at : at+n]
		if s.known != nil && last != 'D' && s.madeUp(b[from:at]) {
			from = at
		}
		last = typ
		forward, err := s.note(typ, message, piece)
		if err != nil {
			s.passOn(b[from:at])
			s.pool.set.counters.Desyncs.Add(1)
			s.streamed = wire.Swallow // nothing of it was passed on
			s.fail(err.Error())
			return 0
		}
		at += n
		switch {
		case typ == 'Z' && (!forward || s.replies.Settled()):
			end := at
			if !forward {
				end -= n
			}
			s.passOn(b[from:end])
			from = at
			if s.deferred {
				break // by the one before; this one belongs to a Sync in doubt
			}
			if at < len(b) && s.replies.Settled() {
				s.deferred, s.deferredTo = true, forward
				break
			}
			s.answered(forward)
		case !forward:
			s.passOn(b[from : at-n])
			from = at
			s.ours(typ, message)
		case typ == 'E' && piece == wire.Whole && s.exchange(message, b[from:at-n]):
			from = at
		case typ == 'E' && piece == wire.Whole && (s.state == idle || s.loss == LossTold):
			// Most often a FATAL. The end of the connection may come only after
			// somebody has asked for a server (rule 7), or never.
			s.passOn(b[from:at])
			s.fail("error that ends the connection")
		}
		if s.state == closed {
			return 0
		}
	}
	if s.known != nil && s.madeUp(b[from:at]) {
		from = at
	}
	s.passOn(b[from:at])
	if s.deferred && at == len(b) && s.frames.Between() {
		s.deferred = false
		s.answered(s.deferredTo)
		if s.state == closed {
			return 0
		}
	}
	s.resolve()
	if s.ending {
		s.checkEnd()
	}
	s.pace(len(b))
	return len(b) - at
}

// pace lets the connection rest in the middle of a large reply that comes in
// small pieces.
func (s *Server) pace(n int) {
	// Replication streams for ever, and somebody may wait for each piece.
	if s.state != lent || s.replies.Settled() || s.replies.CopyBoth() {
		s.bulk = 0
		return
	}
	s.bulk += n
	if s.bulk >= bulkFrom && n < bulkRead {
		s.conn.Rest()
	}
}

// Quiet reports that nothing of the client's has been sent that is not answered.
func (s *Server) Quiet() bool { return s.replies.Settled() || len(s.before) > 0 }

// InBatch reports that messages of the extended protocol were sent which no Sync
// has followed yet.
func (s *Server) InBatch() bool { return s.replies.InBatch() }

// MayReset says that the client, which has startup parameters, is about to send
// a statement that may take some of them away.
func (s *Server) MayReset() { s.mayReset = true }

// Ending says that the client sends no more. Ready then comes also when the
// server waits for more from the client. Replies that no Sync follows are sent
// only when asked for, with flush.
func (s *Server) Ending(flush bool) {
	s.ending, s.flushed = true, flush
	s.Push()
	if flush {
		s.conn.Write([]byte{'H', 0, 0, 0, 4})
	}
	if s.answerMadeUp() || s.replies.Doubtful() {
		s.checkEnd()
	}
}

// Terminate passes a client's goodbye on to a server that waits for more: what it
// answers to that, and its end, come as Reply and Lost.
func (s *Server) Terminate() {
	s.ending, s.parted = false, true
	s.Push()
	s.conn.Write([]byte{'X', 0, 0, 0, 4})
}

// checkEnd looks whether the server waits for what will never come: a Sync, or
// the data of a COPY. PostgreSQL would roll back, and so does the closing.
func (s *Server) checkEnd() {
	if s.replies.Doubtful() {
		s.prod()
		return
	}
	if s.replies.Settled() || s.replies.Outstanding() > 0 && !s.replies.CopyIn() && !s.withheld() {
		return
	}
	switch s.state {
	case lent:
		s.borrower.Ready(s)
	case draining:
		if !s.discarded.IsZero() {
			s.giveNothing()
			return
		}
		s.terminate("client left without a Sync")
		s.pool.fill()
	}
}

// withheld reports that the server keeps its replies to itself until a Sync comes:
// one that was sent has turned out to be swallowed by a COPY.
func (s *Server) withheld() bool { return !s.flushed && s.replies.InBatch() }

// prodAfter is how long an answer that may come is waited for.
const prodAfter = 200 * time.Millisecond

// prod sends a Sync to a server of which nothing certain is to be expected any more:
// one that a COPY has swallowed may not be answered, and the client sends no other.
func (s *Server) prod() {
	if s.prodded {
		return
	}
	s.prodded = true
	if s.state != lent {
		s.sync()
		return
	}
	loan := s.loans
	s.pool.loop.After(prodAfter, func() {
		if s.state != closed && s.loans == loan && s.replies.Doubtful() {
			s.sync()
		}
	})
}

func (s *Server) sync() {
	s.replies.Sent('S', wire.Swallow)
	s.conn.Write(appendMessage(nil, 'S', ""))
}

// Drained implements loop.Handler.
func (s *Server) Drained(*loop.Conn) {
	if s.state == lent {
		s.borrower.Flushed(s)
	}
}

// EOF implements loop.Handler: PostgreSQL never half-closes.
func (s *Server) EOF(c *loop.Conn) {
	if c.Paused() {
		return // unread replies come first
	}
	s.lost("server closed the connection")
}

// Failed implements loop.Handler.
func (s *Server) Failed(_ *loop.Conn, err error) { s.lost(err.Error()) }

// fail closes a server that cannot be trusted any more.
func (s *Server) fail(why string) { s.lost(why) }

// lost ends the server and tells the borrower.
func (s *Server) lost(why string) {
	if s.state == closed {
		return
	}
	b, w, was := s.borrower, s.waiter, s.state
	s.close(why)
	if w != nil {
		s.pool.requeue(w, s.loans == 0)
	} else if was == lent {
		b.Lost(s, s.loss)
	}
	s.pool.fill()
}

// close ends the connection without telling anybody.
func (s *Server) close(why string) {
	if s.state == closed {
		return
	}
	s.leave(why)
	s.conn.Close()
	s.permit.giveBack()
	s.pool.armDisuse()
}

// leave takes the server out of its pool.
func (s *Server) leave(why string) {
	if s.pool.log.Core().Enabled(zap.DebugLevel) {
		s.pool.log.Debug("server closed", zap.String("cause", why), zap.Uint32("pid", s.pid))
	}
	s.arrived()
	s.pool.removed(s)
	if s.known != nil {
		s.known.Close()
	}
	s.state = closed
	s.borrower, s.waiter = nil, nil
	s.choreTimer.Stop()
	s.dropCancels()
}

// terminate is a polite close of a server that waits for a message. It counts
// until PostgreSQL has closed as well, so that the next one does not find the
// place of its process still taken.
func (s *Server) terminate(why string) {
	if s.state == closed || !s.replies.Settled() {
		s.close(why)
		return
	}
	s.conn.Write([]byte{'X', 0, 0, 0, 4})
	s.leave(why)
	p := s.pool
	p.leaving++
	s.conn.FinishThen(func() {
		p.leaving--
		s.permit.giveBack()
		p.fill()
		p.armDisuse()
	})
}
