package loop

import (
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

// Handler receives what happens to a connection, on its loop. The connection it
// is called for may be closed by the handler at any time.
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
	// Failed says that the connection broke; it has been closed already.
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
)

// Conn is one socket that belongs to a loop. The zero value is unused until
// Loop.Add; it may be embedded. Its methods are for code on its loop only.
type Conn struct {
	loop     *Loop
	handler  Handler
	held     []byte // bytes the handler wants to see again
	out      []byte // bytes the kernel has not taken yet, from outAt on
	outAt    uint32
	fd       int32
	slot     uint32
	gen      uint32
	interest uint32
	class    Class
	paused   Pause

	closed      bool
	eof         bool // read returned 0
	hungUp      bool // RDHUP was reported while paused
	finishing   bool // close once the output is gone and the peer has read it
	busy        bool // Data is running
	queuedLater bool
	broken      syscall.Errno // a write failed; Failed is on its way
}

// Add makes the loop the owner of the non-blocking socket fd, in c. Bytes that
// were read from it before come first; they are copied. Only on the loop.
func (l *Loop) Add(c *Conn, fd int, class Class, h Handler, unread []byte) error {
	c.handler, c.fd, c.class = h, int32(fd), class
	c.closed = false
	if len(unread) > keepMax {
		return fmt.Errorf("%d bytes to begin with, at most %d", len(unread), keepMax)
	}
	if err := l.attach(c); err != nil {
		return err
	}
	if len(unread) > 0 {
		c.held = append(l.bufs.get(len(unread)), unread...)
		c.ProcessLater()
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

// SetHandler makes h receive what happens from now on.
func (c *Conn) SetHandler(h Handler) { c.handler = h }

// Held is the number of bytes kept for the handler.
func (c *Conn) Held() int { return len(c.held) }

// Peek gives the bytes kept for the handler; they are valid until the next call.
func (c *Conn) Peek() []byte { return c.held }

// Skip forgets the first n of the bytes kept for the handler.
func (c *Conn) Skip(n int) { c.keep(c.held[n:]) }

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
		c.hungUp = false
		c.update()
	}
}

// Paused reports whether c is not being read.
func (c *Conn) Paused() bool { return c.paused != 0 }

// Queued is the number of bytes written that the kernel has not taken yet.
func (c *Conn) Queued() int { return len(c.out) - int(c.outAt) }

// ProcessLater serves c in the next turn as if it were readable.
func (c *Conn) ProcessLater() {
	if !c.queuedLater {
		c.queuedLater = true
		c.loop.later = append(c.loop.later, c)
	}
}

// Process hands the bytes kept to the handler once more, at once: what they
// waited for has come.
func (c *Conn) Process() {
	if c.busy {
		c.ProcessLater()
		return
	}
	if len(c.held) > 0 {
		c.deliver(c.held)
	}
}

func (c *Conn) process() {
	if c.broken != 0 {
		c.fail(c.broken)
		return
	}
	c.Process()
}

// wanted is what epoll should report: RDHUP tells of a peer that left even
// while we do not read, until it has told once.
func (c *Conn) wanted() uint32 {
	var want uint32
	if !c.eof && c.paused == 0 {
		want = eventRead | eventFinish
	} else if !c.eof && !c.hungUp {
		want = eventFinish
	}
	if len(c.out) > 0 {
		want |= eventWrite
	}
	return want
}

func (c *Conn) update() {
	if c.closed || c.loop == nil {
		return
	}
	want := c.wanted()
	if want == c.interest {
		return
	}
	c.interest = want
	c.loop.poll.change(int(c.fd), want, c.slot, c.gen)
}
