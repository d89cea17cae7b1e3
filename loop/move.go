package loop

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
			closeSocket(int(c.fd))
			c.closed = true
			then(err)
			return
		}
		then(nil)
	})
	if err != nil {
		closeSocket(int(c.fd))
		c.closed = true
		then(err)
	}
}
