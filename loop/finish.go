package loop

import "time"

// lingerTime bounds how long Finish waits for the peer to read and close.
const lingerTime = time.Second

// Close closes the socket at once; what is queued is lost.
func (c *Conn) Close() {
	if c.closed || c.loop == nil {
		return
	}
	c.detach()
	c.closed = true
	closeSocket(int(c.fd))
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
		shutWrite(int(c.fd))
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

// lingerer waits for the end of a connection that has been finished.
type lingerer struct{}

func (lingerer) Data(*Conn, []byte) int { return 0 }
func (lingerer) Drained(*Conn)          {}
func (lingerer) EOF(c *Conn)            { c.closeWhenSent() }
func (lingerer) Failed(*Conn, error)    {}
