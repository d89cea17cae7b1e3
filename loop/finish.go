package loop

import "time"

// lingerTime bounds how long Finish waits for the peer to read and close.
const lingerTime = time.Second

// Close closes the socket at once; what is queued is lost.
func (c *Conn) Close() {
	if c.Closed() {
		return
	}
	c.closeNotify()
	c.detach()
	c.closed = true
	closeSocket(int(c.fd))
	c.release(&c.held)
	c.release(&c.out)
	c.outAt = 0
	if c.finishing {
		c.loop.lingering--
		c.linger.Stop()
		if l := c.handler.(lingerer); l.closed != nil {
			l.closed()
		}
	}
}

// Finish closes c so that the peer can read everything that was written: the
// queue is sent, then the sending side is shut, then what the peer still sends
// is thrown away until it closes. Closing at once would make the kernel answer
// what has not been read with RST, which takes our last words away from the
// peer. All this lasts for a second at most; the handler hears nothing any more.
func (c *Conn) Finish() { c.FinishThen(nil) }

// FinishThen is Finish, and calls f once the socket is closed.
func (c *Conn) FinishThen(f func()) {
	if c.Closed() || c.finishing {
		return
	}
	c.closeNotify()
	c.finishing = true
	c.loop.lingering++
	c.linger = c.loop.After(lingerTime, c.Close)
	c.paused = 0
	c.release(&c.held)
	c.handler = lingerer{f}
	if len(c.out) == 0 {
		c.sent()
	}
	c.update()
}

// sent goes on with Finish once the queue is empty.
func (c *Conn) sent() {
	shutWrite(int(c.fd))
	if c.eof {
		c.Close()
	}
}

// lingerer waits for the end of a connection that has been finished.
type lingerer struct{ closed func() }

func (lingerer) Data(*Conn, []byte) int { return 0 }
func (lingerer) Drained(*Conn)          {}
func (lingerer) Failed(*Conn, error)    {}

// EOF comes before the queue is empty from a peer that half-closes and reads on.
func (lingerer) EOF(c *Conn) {
	if len(c.out) == 0 {
		c.Close()
	}
}

// linger lets the connections that were finished come to their end when the
// loop is about to go; the others have been closed.
func (l *Loop) linger() {
	end := time.Now().Add(lingerTime)
	for l.lingering > 0 {
		if !time.Now().Before(end) {
			return
		}
		n := l.poll.park(l.events[:], end)
		l.serve(l.events[:n])
	}
}
