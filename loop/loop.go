package loop

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// ErrClosed is returned by Post when the loop has been closed.
var ErrClosed = errors.New("loop is closed")

const (
	// maxEvents bounds what one turn handles, so that posted functions and
	// timers get their chance under load.
	maxEvents = 256

	// readSize is how much one read asks for. 64 KB gathers eight of
	// PostgreSQL's 8 KB writes in one system call when the loop lags.
	readSize = 64 << 10

	// turnQuota bounds the bytes read from one socket in one turn: a bulk
	// transfer must not stall the others.
	turnQuota = 4 * readSize
)

// Loop is one event loop. Create it with New, start it with Run on a goroutine
// of its own, end it with Close.
type Loop struct {
	// Immutable after New.
	poll poller

	// Atomic.
	asleep  atomic.Bool
	clients atomic.Int64

	// Guarded by mu.
	mu     sync.Mutex
	inbox  []func()
	closed bool

	// Owned by the loop's goroutine.
	running  []func() // the inbox that is being worked off
	conns    []*Conn  // by slot
	free     []uint32 // slots without a connection
	gen      uint32   // of the connection registered last
	later    []*Conn  // connections to serve once more without an event
	timers   timerHeap
	now      time.Time
	buf      []byte // headroom for kept bytes, then readSize
	events   [maxEvents]event
	bufs     buffers
	stopping bool

	done chan struct{} // closed by Run on return
}

// New creates a loop. It holds two descriptors until Run has returned.
func New() (*Loop, error) {
	poll, err := openPoller()
	if err != nil {
		return nil, err
	}
	l := &Loop{
		poll: poll,
		now:  time.Now(),
		buf:  make([]byte, keepMax+readSize),
		done: make(chan struct{}),
	}
	// Slot 0 is the wake-up descriptor, so that a zero slot is never a connection.
	l.conns = append(l.conns, nil)
	return l, nil
}

// Post runs f on the loop, after those posted before it. It never blocks and
// may be called from any goroutine, the loop's own included. After Close it
// returns ErrClosed and f never runs.
func (l *Loop) Post(f func()) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return ErrClosed
	}
	l.inbox = append(l.inbox, f)
	l.mu.Unlock()
	// The loop sets asleep before it looks at the inbox for the last time, so
	// either it sees f or we see asleep.
	if l.asleep.CompareAndSwap(true, false) {
		l.poll.wake()
	}
	return nil
}

// Now is the time at the beginning of this turn; only for code on the loop.
func (l *Loop) Now() time.Time { return l.now }

// Clients is the number of connections of ClassClient; any goroutine may ask.
func (l *Loop) Clients() int { return int(l.clients.Load()) }

// Close makes Run return after the current turn. Connections still open are
// closed without a word to their handlers. It waits for Run; call it once, and
// not from the loop.
func (l *Loop) Close() {
	l.Post(func() { l.stopping = true })
	<-l.done
}

// Run serves the loop until Close.
func (l *Loop) Run() {
	defer close(l.done)
	defer l.shutdown()
	for !l.stopping {
		l.turn()
	}
}

func (l *Loop) turn() {
	n := l.wait()
	l.now = time.Now()
	l.serve(l.events[:n])
	l.again()
	l.runInbox()
	l.timers.fire(l.now)
}

// serve handles one batch of events, servers before clients: a server's FATAL
// must be seen before that server is lent to somebody.
func (l *Loop) serve(events []event) {
	clients := 0
	for i := range events {
		ev := &events[i]
		c := l.lookup(ev)
		switch {
		case c == nil:
			ev.Events = 0
		case c.class == ClassServer:
			c.handle(ev.Events)
			ev.Events = 0
		default:
			clients++
		}
	}
	if clients == 0 {
		return
	}
	for i := range events {
		// The first pass may have closed a connection of the second: look again.
		if ev := &events[i]; ev.Events != 0 {
			if c := l.lookup(ev); c != nil {
				c.handle(ev.Events)
			}
		}
	}
}

// lookup finds the connection of an event, nil for the wake-up descriptor and
// for a slot that was given to another connection in the same turn.
func (l *Loop) lookup(ev *event) *Conn {
	slot := uint32(ev.Fd)
	if slot == 0 {
		l.poll.woken()
		return nil
	}
	c := l.conns[slot]
	if c == nil || c.gen != uint32(ev.Pad) {
		return nil
	}
	return c
}

// again serves the connections that asked for another round without waiting
// for an event: bytes are at hand already.
func (l *Loop) again() {
	for len(l.later) > 0 {
		batch := l.later
		l.later = nil
		for _, c := range batch {
			if c.queuedLater {
				c.queuedLater = false
				c.process()
			}
		}
		// Those that were added meanwhile wait for the next turn.
		if len(l.later) > 0 {
			return
		}
		l.later = batch[:0]
		return
	}
}

func (l *Loop) runInbox() {
	l.mu.Lock()
	l.running, l.inbox = l.inbox, l.running[:0]
	l.mu.Unlock()
	for i, f := range l.running {
		l.running[i] = nil
		f()
	}
}

// wait returns the number of events. It asks without blocking first: under load
// the answer is there, and the Go scheduler need not hear of it.
func (l *Loop) wait() int {
	if n := l.poll.now(l.events[:]); n > 0 || len(l.later) > 0 {
		return n
	}
	l.asleep.Store(true)
	if l.inboxWaits() {
		l.asleep.Store(false)
		return 0
	}
	n := l.poll.wait(l.events[:], l.timers.timeout(time.Now()))
	l.asleep.Store(false)
	return n
}

func (l *Loop) inboxWaits() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.inbox) > 0
}

func (l *Loop) shutdown() {
	l.mu.Lock()
	l.closed = true
	l.inbox = nil
	l.mu.Unlock()
	for _, c := range l.conns {
		if c != nil {
			c.Close()
		}
	}
	l.poll.close()
}
