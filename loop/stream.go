package loop

import "syscall"

// handle serves one event. Reading comes before sending: a peer that broke off
// may have said why, and the handler should hear that first.
func (c *Conn) handle(events uint32) {
	l, gen := c.loop, c.gen
	if events&^eventWrite != 0 {
		c.endRest() // the peer is leaving: no more is going to pile up
	}
	switch {
	case events&^eventWrite == 0:
	case c.paused == 0 && !c.eof:
		c.read()
	case events&eventError != 0:
		c.fail(socketError(int(c.fd)))
	case events&eventHangUp != 0 && c.eof:
		c.fail(syscall.ECONNRESET)
	case events&eventHangUp != 0:
		c.unwatch()
		c.finishedUnread()
	case events&eventFinish != 0:
		c.finishedUnread()
	}
	if events&eventWrite != 0 && c.belongs(l, gen) {
		c.flush()
	}
}

// belongs reports whether c is still what it was before a handler was called:
// handlers close, move and even replace connections.
func (c *Conn) belongs(l *Loop, gen uint32) bool {
	return !c.closed && c.loop == l && c.gen == gen
}

// read takes what has arrived, until the socket is dry or the turn's quota is
// used up; level-triggered epoll brings us back for the rest.
func (c *Conn) read() {
	if c.tls != nil {
		c.readTLS()
		return
	}
	l, gen := c.loop, c.gen
	for quota := turnQuota; quota > 0; {
		start, room := c.room()
		if len(room) == 0 {
			c.Pause(PauseFull)
			return
		}
		n, errno := rawRead(int(c.fd), room)
		switch {
		case errno == syscall.EAGAIN || errno == syscall.EINTR:
			return
		case errno != 0:
			c.fail(errno)
			return
		case n == 0:
			c.finished()
			return
		}
		c.deliver(l.buf[start : keepMax+n])
		if !c.belongs(l, gen) || c.paused != 0 || n < len(room) {
			return
		}
		quota -= n
	}
}

// room puts the bytes kept into the loop's buffer, where they begin at start, and
// gives what is left behind them: kept and new bytes together stay within what may
// be kept.
func (c *Conn) room() (start int, room []byte) {
	l := c.loop
	start = keepMax - copy(l.buf[keepMax-len(c.held):keepMax], c.held)
	return start, l.buf[keepMax : keepMax+readSize-len(c.held)]
}

// finished handles the end of what the peer sends, all of which has been read.
func (c *Conn) finished() {
	if c.queuedLater && len(c.held) > 0 {
		return // these bytes come first, later in this turn; the end stays
	}
	c.eof = true
	c.update()
	c.handler.EOF(c)
}

// finishedUnread tells the handler once that the peer will send no more, though
// what it has sent cannot be read yet.
func (c *Conn) finishedUnread() {
	if !c.toldEOF {
		c.toldEOF = true
		c.update()
		c.handler.EOF(c)
	}
}

// deliver calls Data and keeps what it asks for. b is the loop's buffer or the
// kept bytes themselves, whose buffer therefore stays out of use meanwhile.
func (c *Conn) deliver(b []byte) {
	l, gen, buf := c.loop, c.gen, c.held
	c.held, c.busy = nil, true
	keep := c.handler.Data(c, b)
	if !c.belongs(l, gen) || c.finishing {
		l.bufs.put(buf)
		keep = 0
	} else {
		c.held = l.bufs.hold(buf, b[len(b)-keep:])
	}
	c.busy = false
	if c.paused&PauseFull != 0 && keep < keepMax {
		c.Resume(PauseFull)
	}
}

// process serves c without an event.
func (c *Conn) process() {
	l, gen := c.loop, c.gen
	if c.broken == 0 {
		c.Process()
		if c.belongs(l, gen) && c.moreTLS() {
			c.read()
		}
		return
	}
	c.endRest()
	if c.paused == 0 && !c.eof {
		c.read() // for the reason, as in handle
	}
	if c.belongs(l, gen) {
		c.fail(c.broken)
	}
}

// Write sends b, of which nothing is kept by reference. It returns false when a
// part had to be queued: the caller should stop whoever feeds it until Drained.
// Errors are reported through Failed, later, so that a handler in the middle of
// its work finds c unchanged. After Finish or Close b is dropped.
func (c *Conn) Write(b []byte) bool {
	if c.closed || c.finishing || c.broken != 0 {
		return true
	}
	if c.tls != nil {
		return c.tls.send(b)
	}
	return c.transmit(b)
}

// transmit sends bytes as they are.
func (c *Conn) transmit(b []byte) bool {
	if len(c.out) == 0 {
		n, errno := rawWrite(int(c.fd), b)
		switch {
		case errno == 0 && n == len(b):
			return true
		case errno == syscall.EAGAIN || errno == syscall.EINTR:
			n = 0
		case errno != 0:
			c.broken = errno
			c.ProcessLater()
			return true
		}
		b = b[n:]
	}
	c.queue(b)
	return false
}

func (c *Conn) queue(b []byte) {
	c.makeRoom(len(b))
	c.out = append(c.out, b...)
	c.update()
}

// makeRoom lets n more bytes be queued.
func (c *Conn) makeRoom(n int) {
	if c.outAt > 0 && cap(c.out)-len(c.out) < n {
		// What has gone makes room before more memory is taken.
		c.out = c.out[:copy(c.out, c.out[c.outAt:])]
		c.outAt = 0
	}
	c.out = c.loop.bufs.grow(c.out, n)
}

// push sends what has been queued at once, as far as the kernel takes it.
func (c *Conn) push() {
	n, errno := rawWrite(int(c.fd), c.out[c.outAt:])
	switch {
	case errno == syscall.EAGAIN || errno == syscall.EINTR:
	case errno != 0:
		c.broken = errno
		c.ProcessLater()
		fallthrough
	case n == len(c.out)-int(c.outAt):
		c.release(&c.out)
		c.outAt = 0
	default:
		c.outAt += uint32(n)
	}
	c.update()
}

// flush sends what was queued.
func (c *Conn) flush() {
	n, errno := rawWrite(int(c.fd), c.out[c.outAt:])
	if errno == syscall.EAGAIN || errno == syscall.EINTR {
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
	c.update()
	if c.finishing {
		c.sent()
		return
	}
	c.handler.Drained(c)
}

func (c *Conn) fail(err error) {
	h := c.handler
	c.tls = nil // there is nobody left to say goodbye to
	c.Close()
	h.Failed(c, err)
}

// release gives one of c's buffers back.
func (c *Conn) release(b *[]byte) {
	c.loop.bufs.put(*b)
	*b = nil
}
