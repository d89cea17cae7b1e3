package loop

import "syscall"

// handle serves one event.
func (c *Conn) handle(events uint32) {
	if events&eventWrite != 0 {
		c.flush()
	}
	if c.closed || events&^eventWrite == 0 {
		return
	}
	if c.paused == 0 && !c.eof {
		c.read()
		return
	}
	switch {
	case events&eventError != 0:
		c.fail(socketError(int(c.fd)))
	case events&eventHangUp != 0:
		c.fail(syscall.ECONNRESET)
	case events&eventFinish != 0 && !c.hungUp:
		c.hungUp = true
		c.update()
		c.handler.EOF(c)
	}
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
		case errno == syscall.EAGAIN || errno == syscall.EINTR:
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
		case errno == syscall.EAGAIN || errno == syscall.EINTR:
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

// flush sends what was queued.
func (c *Conn) flush() {
	if len(c.out) > 0 {
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
	}
	c.update()
	if c.finishing {
		shutWrite(int(c.fd))
		if c.eof {
			c.Close()
		}
		return
	}
	c.handler.Drained(c)
}

func (c *Conn) fail(errno syscall.Errno) {
	if c.closed {
		return
	}
	h := c.handler
	c.Close()
	h.Failed(c, errno)
}

func (c *Conn) release(b *[]byte) {
	if *b != nil {
		c.loop.bufs.put(*b)
		*b = nil
	}
}
