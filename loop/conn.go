package loop

import (
	"crypto/tls"
	"fmt"
	"syscall"
)

// keepMax is the most bytes a Handler may keep, and so the most that a
// connection with nowhere to send its request occupies.
const keepMax = 64 << 10

// Class says in which order the events of one turn are served.
type Class uint8

// Classes, in the order of service.
const (
	ClassServer Class = iota
	ClassClient
)

// Handler receives what happens to a connection, on its loop. It may close or
// finish the connection it is called for, and any other, at any time, and give
// it to another loop in all methods but Data.
type Handler interface {
	// Data gets all bytes at hand, those kept before in front, and returns how
	// many from the end of b it wants to see again together with what follows:
	// at most 64 KB. b is valid until Data returns.
	Data(c *Conn, b []byte) (keep int)
	// Drained says that everything queued by Write has gone to the kernel.
	Drained(c *Conn)
	// EOF says that the peer has finished sending. While reading is paused,
	// bytes that it sent before may still be unread; EOF then comes a second
	// time, once they have been.
	EOF(c *Conn)
	// Failed says that the connection broke; it has been closed already. What
	// was unread while reading was paused is lost.
	Failed(c *Conn, err error)
}

// Pause is a reason for not reading from a connection.
type Pause uint8

// Reasons, kept apart because each ends by itself.
const (
	// PausePeer: whoever gets the bytes cannot take more.
	PausePeer Pause = 1 << iota
	// PauseFull: the bytes have nowhere to go yet and fill the buffer.
	PauseFull
	pauseRest // see Rest
)

// Conn is one socket that belongs to a loop. The zero value is unused until
// Loop.Add; it may be embedded, and added again once it is closed. Its methods
// are for code on its loop only.
type Conn struct {
	loop     *Loop // nil while it moves
	handler  Handler
	held     []byte        // bytes the handler wants to see again; while Data runs it has them
	out      []byte        // bytes the kernel has not taken yet, from outAt on
	linger   *Timer        // ends it, once finishing
	tls      *secure       // nil while it is plain
	broken   syscall.Errno // a write failed; Failed is on its way
	outAt    uint32
	fd       int32
	slot     uint32
	gen      uint32
	interest uint32
	class    Class
	paused   Pause

	closed      bool
	eof         bool // read returned 0
	toldEOF     bool // EOF was called while paused
	unwatched   bool // off epoll until it is read again
	finishing   bool // close once the output is gone and the peer has read it
	busy        bool // Data is running
	queuedLater bool
}

// Add makes the loop the owner of the non-blocking socket fd, in c. Bytes that
// were read from it before, at most 64 KB, come first; they are copied. After an
// error fd still belongs to the caller. Only on the loop.
func (l *Loop) Add(c *Conn, fd int, class Class, h Handler, unread []byte) error {
	return l.AddTLS(c, fd, class, h, nil, unread)
}

// AddTLS is Add for a socket that carries TLS, whose handshake is over and whose
// unread bytes are plain text; without conn it is Add. The connection under conn
// must be a *tlsconf.Socket: what that held is not used any more, and not closed.
func (l *Loop) AddTLS(c *Conn, fd int, class Class, h Handler, conn *tls.Conn, unread []byte) error {
	if c.loop != nil && !c.closed {
		panic("BUG: Add of a connection that is open")
	}
	if len(unread) > keepMax {
		return fmt.Errorf("%d bytes to begin with, at most %d", len(unread), keepMax)
	}
	*c = Conn{handler: h, fd: int32(fd), class: class}
	if err := c.secure(conn); err != nil {
		c.closed = true
		return err
	}
	if err := l.attach(c); err != nil {
		c.closed = true
		return err
	}
	if len(unread) > 0 {
		c.held = append(l.bufs.get(len(unread)), unread...)
	}
	if len(unread) > 0 || c.moreTLS() {
		c.serveLater()
	}
	return nil
}

// attach registers c with l, in a slot of its own.
func (l *Loop) attach(c *Conn) error {
	if n := len(l.free); n > 0 {
		c.slot = l.free[n-1]
		l.free = l.free[:n-1]
	} else {
		c.slot = uint32(len(l.conns))
		l.conns = append(l.conns, nil)
	}
	c.loop = l
	// A slot is reused with another generation, so that an event of the old
	// owner still in this turn's batch finds nobody.
	l.gen++
	c.gen = l.gen
	c.unwatched = false
	c.interest = c.wanted()
	if err := l.poll.add(int(c.fd), c.interest, c.slot, c.gen); err != nil {
		l.free = append(l.free, c.slot)
		return err
	}
	l.conns[c.slot] = c
	if c.class == ClassClient {
		l.clients.Add(1)
	}
	return nil
}

// detach takes c off its loop; the socket stays open.
func (c *Conn) detach() {
	l := c.loop
	// What is left of c in this turn's events and in l.later finds nobody.
	l.poll.remove(int(c.fd))
	l.conns[c.slot] = nil
	l.free = append(l.free, c.slot)
	if c.class == ClassClient {
		l.clients.Add(-1)
	}
	c.queuedLater = false
}

// Loop is the loop that c belongs to.
func (c *Conn) Loop() *Loop { return c.loop }

// FD is the socket, for questions such as TCP_INFO; c keeps owning it.
func (c *Conn) FD() int { return int(c.fd) }

// Closed reports whether the socket is gone.
func (c *Conn) Closed() bool { return c.closed || c.loop == nil }

// Peek gives the bytes kept for the handler; they are valid until the next call
// of a method of c. Not while Data runs.
func (c *Conn) Peek() []byte { return c.held }

// Skip forgets the first n of the bytes kept for the handler. Not while Data
// runs.
func (c *Conn) Skip(n int) { c.held = c.loop.bufs.hold(c.held, c.held[n:]) }

// Pause stops reading for a reason, Resume lifts it.
func (c *Conn) Pause(why Pause) {
	if c.paused&why == 0 {
		c.paused |= why
		c.update()
	}
}

// Resume lifts a reason for not reading.
func (c *Conn) Resume(why Pause) {
	if c.paused&why != 0 {
		c.paused &^= why
		c.update()
		if c.moreTLS() {
			c.serveLater()
		}
	}
}

// Paused reports whether c is not being read.
func (c *Conn) Paused() bool { return c.paused != 0 }

// Queued is the number of bytes written that the kernel has not taken yet, for
// operators.
func (c *Conn) Queued() int { return len(c.out) - int(c.outAt) }

// Refused reports that a Write has failed of which the kernel has taken nothing, and
// nothing of one before it was waiting. Failed is on its way then. Of TLS, whose
// records are many, that is not known.
func (c *Conn) Refused() bool { return c.broken != 0 && c.tls == nil && len(c.out) == 0 }

// Unread is the number of bytes that have arrived and were not read yet. It is a
// system call.
func (c *Conn) Unread() int {
	if c.Closed() {
		return 0
	}
	return arrived(int(c.fd))
}

// Untaken is the number of bytes written that the peer has not taken yet, whether
// they are queued here or in the kernel. It costs a system call.
func (c *Conn) Untaken() int { return c.Queued() + unacknowledged(int(c.fd)) }

// ProcessLater hands the bytes kept to the handler once more, in this turn if
// its round has not come yet and else in the next. When called from Data, these
// are the bytes that Data is about to keep.
func (c *Conn) ProcessLater() {
	// With nothing to process, whatever arrives will be handed over anyway.
	if len(c.held) > 0 || c.busy || c.broken != 0 {
		c.serveLater()
	}
}

// serveLater has c served once more without an event.
func (c *Conn) serveLater() {
	if !c.queuedLater && !c.closed {
		c.queuedLater = true
		c.loop.later = append(c.loop.later, ticket{c.slot, c.gen})
	}
}

// Process hands the bytes kept to the handler once more, at once: what they
// waited for has come. Inside Data it is ProcessLater.
func (c *Conn) Process() {
	if c.busy {
		c.ProcessLater()
		return
	}
	if len(c.held) > 0 {
		c.deliver(c.held)
	}
}

// wanted is what epoll should report: RDHUP tells of a peer that left even
// while we do not read, until it has told once.
func (c *Conn) wanted() uint32 {
	var want uint32
	if !c.eof && c.paused == 0 {
		want = eventRead | eventFinish
	} else if !c.eof && !c.toldEOF {
		want = eventFinish
	}
	if len(c.out) > 0 {
		want |= eventWrite
	}
	return want
}

func (c *Conn) update() {
	if c.Closed() {
		return
	}
	if c.unwatched {
		c.rewatch()
		return
	}
	if want := c.wanted(); want != c.interest {
		c.interest = want
		c.loop.poll.change(int(c.fd), want, c.slot, c.gen)
	}
}

// unwatch takes a paused socket whose peer is gone off epoll, which would go on
// reporting that until somebody reads what is left.
func (c *Conn) unwatch() {
	c.unwatched = true
	c.loop.poll.remove(int(c.fd))
}

// rewatch puts it back once it is to be read. Sending does not count: the peer
// is gone.
func (c *Conn) rewatch() {
	if c.paused != 0 {
		return
	}
	c.unwatched = false
	c.interest = c.wanted()
	if err := c.loop.poll.add(int(c.fd), c.interest, c.slot, c.gen); err != nil {
		c.broken = syscall.ENOMEM // what else it can be
		c.ProcessLater()
	}
}
