package loop

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// keepMax is the most bytes a Handler may keep, and so the most that a
// connection with nowhere to send its request occupies.
const keepMax = 64 << 10

// lingerTime bounds how long Finish waits for the peer to read and close.
const lingerTime = time.Second

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
	broken      unix.Errno // a write failed; Failed is on its way
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
	ev := unix.EpollEvent{Events: c.interest, Fd: int32(c.slot), Pad: int32(c.gen)}
	if err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, int(c.fd), &ev); err != nil {
		l.free = append(l.free, c.slot)
		return fmt.Errorf("epoll_ctl: %w", err)
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
	unix.EpollCtl(l.epfd, unix.EPOLL_CTL_DEL, int(c.fd), nil)
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

// Move gives c to another loop together with the bytes it holds, and runs then
// there, with an error if it could not be registered (c is closed in that case)
// or if that loop is closed. Until then c must not be touched.
func (c *Conn) Move(to *Loop, then func(error)) {
	if c.busy {
		panic("BUG: Move from inside Data, whose bytes are not kept yet")
	}
	c.detach()
	c.loop = nil
	err := to.Post(func() {
		if err := to.attach(c); err != nil {
			unix.Close(int(c.fd))
			c.closed = true
			then(err)
			return
		}
		then(nil)
	})
	if err != nil {
		unix.Close(int(c.fd))
		c.closed = true
		then(err)
	}
}

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

// Write sends b, of which nothing is kept by reference. It returns false when a
// part had to be queued: the caller should stop whoever feeds it until Drained.
// Errors are reported through Failed, later, so that a handler in the middle of
// its work finds c unchanged.
func (c *Conn) Write(b []byte) bool {
	if c.closed || c.broken != 0 {
		return true
	}
	if len(c.out) == 0 {
		n, errno := rawWrite(int(c.fd), b)
		switch {
		case errno == 0 && n == len(b):
			return true
		case errno == unix.EAGAIN || errno == unix.EINTR:
			n = 0
		case errno != 0:
			c.broken = errno
			c.ProcessLater()
			return true
		}
		b = b[n:]
	}
	c.out = append(c.loop.bufs.grow(c.out, len(b)), b...)
	c.update()
	return false
}

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

// Close closes the socket at once; what is queued is lost.
func (c *Conn) Close() {
	if c.closed || c.loop == nil {
		return
	}
	c.detach()
	c.closed = true
	unix.Close(int(c.fd))
	c.release(&c.held)
	c.release(&c.out)
	c.outAt = 0
}

// Finish closes c so that the peer can read everything that was written: the
// queue is sent, then the sending side is shut, then what the peer still sends
// is thrown away until it closes, for at most a second. The handler hears
// nothing any more.
func (c *Conn) Finish() {
	if c.closed || c.finishing {
		return
	}
	c.finishing = true
	c.paused = 0
	c.release(&c.held)
	c.handler = lingerer{}
	c.loop.After(lingerTime, c.Close)
	if len(c.out) == 0 {
		unix.Shutdown(int(c.fd), unix.SHUT_WR)
	}
	if c.eof {
		c.closeWhenSent()
	}
	c.update()
}

func (c *Conn) closeWhenSent() {
	if len(c.out) == 0 && !c.closed {
		c.Close()
	}
}

func (c *Conn) release(b *[]byte) {
	if *b != nil {
		c.loop.bufs.put(*b)
		*b = nil
	}
}

// wanted is what epoll should report: RDHUP tells of a peer that left even
// while we do not read, until it has told once.
func (c *Conn) wanted() uint32 {
	var want uint32
	if !c.eof && c.paused == 0 {
		want = unix.EPOLLIN | unix.EPOLLRDHUP
	} else if !c.eof && !c.hungUp {
		want = unix.EPOLLRDHUP
	}
	if len(c.out) > 0 {
		want |= unix.EPOLLOUT
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
	ev := unix.EpollEvent{Events: want, Fd: int32(c.slot), Pad: int32(c.gen)}
	unix.EpollCtl(c.loop.epfd, unix.EPOLL_CTL_MOD, int(c.fd), &ev)
}

// handle serves one event.
func (c *Conn) handle(events uint32) {
	if events&unix.EPOLLOUT != 0 {
		c.flush()
	}
	if c.closed || events&^unix.EPOLLOUT == 0 {
		return
	}
	if c.paused == 0 && !c.eof {
		c.read()
		return
	}
	switch {
	case events&unix.EPOLLERR != 0:
		c.fail(socketError(int(c.fd)))
	case events&unix.EPOLLHUP != 0:
		c.fail(unix.ECONNRESET)
	case events&unix.EPOLLRDHUP != 0 && !c.hungUp:
		c.hungUp = true
		c.update()
		c.handler.EOF(c)
	}
}

func socketError(fd int) unix.Errno {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || errno == 0 {
		return unix.ECONNRESET
	}
	return unix.Errno(errno)
}

// read takes what has arrived, until the socket is dry or the turn's quota is
// used up; level-triggered epoll brings us back for the rest.
func (c *Conn) read() {
	for quota := turnQuota; quota > 0; {
		l := c.loop
		start := keepMax - copy(l.buf[keepMax-len(c.held):keepMax], c.held)
		// Kept and new bytes together stay within what may be kept.
		room := l.buf[keepMax : keepMax+readSize-len(c.held)]
		if len(room) == 0 {
			c.Pause(PauseFull)
			return
		}
		n, errno := rawRead(int(c.fd), room)
		switch {
		case errno == unix.EAGAIN || errno == unix.EINTR:
			return
		case errno != 0:
			c.fail(errno)
			return
		case n == 0:
			c.eof = true
			c.update()
			c.handler.EOF(c)
			return
		}
		c.deliver(l.buf[start : keepMax+n])
		if c.closed || c.loop != l || c.paused != 0 || n < len(room) {
			return
		}
		quota -= n
	}
}

// deliver calls Data and keeps what it asks for. b is the loop's buffer or the
// kept bytes themselves.
func (c *Conn) deliver(b []byte) {
	c.busy = true
	keep := c.handler.Data(c, b)
	c.busy = false
	if c.closed || c.finishing {
		return
	}
	c.keep(b[len(b)-keep:])
}

// keep makes c.held a copy of tail, which may lie inside it.
func (c *Conn) keep(tail []byte) {
	if len(tail) == 0 {
		c.release(&c.held)
		return
	}
	if cap(c.held) >= len(tail) {
		c.held = c.held[:copy(c.held[:cap(c.held)], tail)]
		return
	}
	bigger := append(c.loop.bufs.get(len(tail)), tail...)
	c.release(&c.held)
	c.held = bigger
}

// flush sends what was queued.
func (c *Conn) flush() {
	if len(c.out) > 0 {
		n, errno := rawWrite(int(c.fd), c.out[c.outAt:])
		if errno == unix.EAGAIN || errno == unix.EINTR {
			return
		}
		if errno != 0 {
			c.fail(errno)
			return
		}
		c.outAt += uint32(n)
		if int(c.outAt) < len(c.out) {
			return
		}
		c.release(&c.out)
		c.outAt = 0
	}
	c.update()
	if c.finishing {
		unix.Shutdown(int(c.fd), unix.SHUT_WR)
		if c.eof {
			c.Close()
		}
		return
	}
	c.handler.Drained(c)
}

func (c *Conn) fail(errno unix.Errno) {
	if c.closed {
		return
	}
	h := c.handler
	c.Close()
	h.Failed(c, errno)
}

// lingerer waits for the end of a connection that has been finished.
type lingerer struct{}

func (lingerer) Data(*Conn, []byte) int { return 0 }
func (lingerer) Drained(*Conn)          {}
func (lingerer) EOF(c *Conn)            { c.closeWhenSent() }
func (lingerer) Failed(*Conn, error)    {}
