package loop

import "net"

// Move gives c to another loop, with its handler, the bytes it holds and what
// is queued, and runs then there. Until then c must not be touched. then gets
// an error, and c is closed, if c could not be registered there; if that loop
// is closed or c was closed or finished before, then is run at once.
func (c *Conn) Move(to *Loop, then func(error)) {
	if c.busy {
		panic("BUG: Move from inside Data, whose bytes are not kept yet")
	}
	if c.Closed() || c.finishing {
		then(net.ErrClosed)
		return
	}
	// A turn asked for here is owed there.
	again := c.queuedLater
	c.paused &^= pauseRest // nobody would end it there
	c.detach()
	c.loop = nil
	err := to.Post(func() {
		err := to.attach(c)
		if err != nil {
			c.abandon()
		} else if again {
			c.ProcessLater()
		}
		if c.moreTLS() {
			c.serveLater()
		}
		then(err)
	})
	if err != nil {
		c.abandon()
		then(err)
	}
}

// abandon closes a connection that no loop has.
func (c *Conn) abandon() {
	c.closed = true
	closeSocket(int(c.fd))
	c.held, c.out, c.outAt, c.tls = nil, nil, 0, nil
}
