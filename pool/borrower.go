package pool

import (
	"time"

	"github.com/pgvip/pgvip/wire"
)

// Borrower is a client as its pool sees it. All methods are called on the
// pool's loop.
type Borrower interface {
	// Profile is what a server must be made to fit before it is lent. The pool
	// keeps it up to date with what the client is told.
	Profile() *Profile
	// Lent hands over a server. It must be given back by Release or Discard
	// once, unless Lost says that it is gone.
	Lent(s *Server)
	// Refused ends the wait in the queue: the client is to be told err.
	Refused(err *wire.Error)
	// Rerouted ends the wait because the pool's node is no longer the place to
	// go: choose again.
	Rerouted()
	// Reply passes on what the server sent, in order, in pieces that need not be
	// whole messages. b is valid until Reply returns.
	Reply(s *Server, b []byte)
	// Ready says that the server has answered everything and waits.
	Ready(s *Server)
	// Awaits says that the server answers nothing before the client sends more: it
	// wants the data of a COPY or, after an error, a Sync.
	Awaits(s *Server)
	// Resolved says that a message which Forward had wait can be judged now.
	Resolved(s *Server)
	// Flushed says that what Send had to queue has gone out.
	Flushed(s *Server)
	// Lost says that the server is gone.
	Lost(s *Server, why Loss)
}

// Loss says how a lent server was lost.
type Loss uint8

// Losses.
const (
	LossBroken   Loss = iota // without a word
	LossTold                 // Reply has passed on an error that ends the session
	LossFenced               // we closed it: its node is not the primary any more
	LossReplaced             // we closed it between two transactions, because of server_fast_close
	LossMaint                // the same, because its node is in maint
)

// Waiter is a borrower's place in a pool's queue, or its claim to a server that
// is being prepared for it. It ends with Lent, Refused or Rerouted, or by Leave.
type Waiter struct {
	borrower Borrower
	pool     *Pool
	server   *Server // being prepared; nil while in the queue
	since    time.Time
	// turnedAway is to be refused: too many wait.
	turnedAway bool

	prev *Waiter
	next *Waiter
}

// Preparing reports that the borrower waits for nobody else: a server of its own
// is being made fit for it, or logged in.
func (w *Waiter) Preparing() bool {
	return w.server != nil || !w.pool.trouble && w.pool.queue.size <= w.pool.dialing+w.pool.arriving
}

// Leave gives the place up: the borrower hears nothing more of it.
func (w *Waiter) Leave() {
	if w.server != nil {
		w.server.abandon()
		return
	}
	p := w.pool
	p.queue.remove(w)
	p.recycle(w)
	p.armQueueTimer()
}

// queue is a first-in first-out list of waiters.
type queue struct {
	first, last *Waiter
	size        int
	crush       *crush // of the node; what is in size counts there too
}

func (q *queue) push(w *Waiter) {
	w.prev, w.next = q.last, nil
	if q.last != nil {
		q.last.next = w
	} else {
		q.first = w
	}
	q.last = w
	q.size++
	q.crush.n.Add(1)
}

// pushFront is for a waiter whose server broke before it was lent.
func (q *queue) pushFront(w *Waiter) {
	w.prev, w.next = nil, q.first
	if q.first != nil {
		q.first.prev = w
	} else {
		q.last = w
	}
	q.first = w
	q.size++
	q.crush.n.Add(1)
}

func (q *queue) remove(w *Waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.last = w.prev
	}
	w.prev, w.next = nil, nil
	q.size--
	q.crush.n.Add(-1)
}

// pop takes the oldest waiter, nil when nobody waits.
func (q *queue) pop() *Waiter {
	w := q.first
	if w != nil {
		q.remove(w)
	}
	return w
}
