package loop

import "time"

// restTime is how long a connection rests. A sender that writes 8 KB every 13 us,
// as PostgreSQL does on loopback, fills one read in this time.
const restTime = 100 * time.Microsecond

// nap is a connection that rests.
type nap struct {
	ticket
	until time.Time
}

// Rest stops reading from c for a moment, so that more can pile up in the kernel
// and be taken, and passed on, in one piece. It is for the middle of a bulk
// transfer whose sender is slower than this loop: the end of the transfer may
// come a moment late, and everything before costs a fraction of the calls.
func (c *Conn) Rest() {
	if c.Closed() || c.paused&pauseRest != 0 {
		return
	}
	c.Pause(pauseRest)
	l := c.loop
	l.resting = append(l.resting, nap{ticket{c.slot, c.gen}, l.now.Add(restTime)})
}

// endRest ends the rest before its time.
func (c *Conn) endRest() {
	if c.paused&pauseRest != 0 {
		c.paused &^= pauseRest
		c.update()
	}
}

// rouse reads from the connections that have rested. A transfer that rests again
// at once never comes back to epoll in between.
func (l *Loop) rouse() {
	for len(l.resting) > 0 && !l.resting[0].until.After(l.now) {
		n := l.resting[0]
		l.resting = l.resting[:copy(l.resting, l.resting[1:])]
		c := l.find(n.ticket)
		if c == nil {
			continue
		}
		c.paused &^= pauseRest
		if c.paused == 0 && !c.eof && c.broken == 0 {
			c.read()
		}
		if c.belongs(l, n.gen) {
			c.update()
		}
	}
}
