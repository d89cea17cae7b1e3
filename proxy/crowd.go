package proxy

import (
	"container/list"
	"sync"
	"time"
)

const (
	// patientFor is how long a client may take to log in when others cannot
	// begin because of it: many times what a login needs, also where thousands of
	// clients that share a busy machine come back at once.
	patientFor = 3 * time.Second
	// crowdPause is how often a full house is looked at again.
	crowdPause = 100 * time.Millisecond
)

// crowd is the clients that are not known yet, in the order in which they came.
// Their number is bounded; so that a thousand that say nothing cannot keep the
// others out for client_login_timeout, the one that came first has to go when
// the house is full.
type crowd struct {
	tokens chan struct{} // one for each client inside

	mu    sync.Mutex
	order list.List // of arrival; guarded by mu
}

// arrival is one client that is not known yet.
type arrival struct {
	end func() // its login
	at  time.Time
}

// place waits for a place for one more client, and makes one if it has to. It
// returns false when done is closed.
func (c *crowd) place(done <-chan struct{}) bool {
	select {
	case c.tokens <- struct{}{}:
		return true
	default:
	}
	tick := time.NewTicker(crowdPause)
	defer tick.Stop()
	for {
		c.evict(time.Now())
		select {
		case c.tokens <- struct{}{}:
			return true
		case <-tick.C:
		case <-done:
			return false
		}
	}
}

// giveBack returns a place that nobody has taken.
func (c *crowd) giveBack() { <-c.tokens }

// enter takes the place for a login that end would end. The returned function
// leaves it; more calls of it do nothing.
func (c *crowd) enter(end func()) (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.order.PushBack(arrival{end, time.Now()})
	return sync.OnceFunc(func() {
		c.mu.Lock()
		c.order.Remove(e)
		c.mu.Unlock()
		<-c.tokens
	})
}

// evict ends the login of the client that has been here for longest, if that is
// too long. That frees the place.
func (c *crowd) evict(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.order.Front(); e != nil && now.Sub(e.Value.(arrival).at) > patientFor {
		e.Value.(arrival).end()
	}
}
