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
	poll *poller

	// Atomic.
	asleep  atomic.Bool
	clients atomic.Int64
	begun   atomic.Bool // by Run, or by a Close that came first

	// Guarded by mu.
	mu     sync.Mutex
	inbox  []func()
	closed bool // nothing comes in any more

	// Guarded by waking, which Post holds while it writes to the wake-up
	// descriptor: were that closed meanwhile, another file could have its number.
	waking sync.Mutex
	gone   bool // the descriptors are closed

	// Owned by the loop's goroutine.
	running   []func() // the inbox that is being worked off
	conns     []*Conn  // by slot
	free      []uint32 // slots without a connection
	gen       uint32   // of the connection registered last
	later     []ticket // connections to serve once more without an event
	spare     []ticket // the one of the turn before, for its memory
	resting   []nap    // connections that are not read for a moment, in order
	lingering int      // connections that are finishing
	timers    timers
	now       time.Time
	buf       []byte // headroom for kept bytes, then readSize
	events    [maxEvents]event
	bufs      buffers
	stopping  bool

	done chan struct{} // closed at the end of Run, or of a Close that came first
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
// returns ErrClosed and f never runs; what it has taken runs in any case.
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
		l.wake()
	}
	return nil
}

func (l *Loop) wake() {
	l.waking.Lock()
	defer l.waking.Unlock()
	if !l.gone {
		l.poll.wake()
	}
}

// Now is the time at the beginning of this turn; only for code on the loop.
func (l *Loop) Now() time.Time { return l.now }

// Clients is the number of connections of ClassClient; any goroutine may ask.
func (l *Loop) Clients() int { return int(l.clients.Load()) }

// Close ends the loop and waits for it: the functions posted before are run,
// connections are closed without a word to their handlers, and those that are
// finishing get the time for it, a second at most. A loop that never ran is
// closed by the caller itself. Not for code on the loop; a second Close waits
// for the first.
func (l *Loop) Close() {
	if l.begun.CompareAndSwap(false, true) {
		l.shutdown()
		return
	}
	_ = l.Post(func() { l.stopping = true }) // else it has been told already
	<-l.done
}

// Run serves the loop until Close. A loop that has been closed does not run.
func (l *Loop) Run() {
	if !l.begun.CompareAndSwap(false, true) {
		return
	}
	for !l.stopping {
		l.turn()
	}
	l.shutdown()
}

func (l *Loop) turn() {
	n := l.wait()
	l.now = time.Now()
	l.serve(l.events[:n])
	l.rouse()
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
	return l.find(ticket{slot, uint32(ev.Pad)})
}

// ticket names a connection without keeping it: it may be closed, moved to
// another loop and its slot be taken over meanwhile.
type ticket struct{ slot, gen uint32 }

func (l *Loop) find(t ticket) *Conn {
	if c := l.conns[t.slot]; c != nil && c.gen == t.gen {
		return c
	}
	return nil
}

// again serves the connections that asked for another round without waiting
// for an event: bytes are at hand already.
func (l *Loop) again() {
	// Those that ask meanwhile wait for the next turn.
	batch := l.later
	l.later = l.spare[:0]
	for _, t := range batch {
		if c := l.find(t); c != nil && c.queuedLater {
			c.queuedLater = false
			c.process()
		}
	}
	l.spare = batch
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

// napFor is how long a loop without work waits in the kernel by itself before it
// parks. Under load something comes within that time, such as PostgreSQL's answer.
// It is long because a timer that has to fire before the kernel's next tick costs two
// microseconds and more on virtual machines, each time: 0.2 ms made a query 15 %
// dearer, 2 ms 7 %.
const napFor = 100 * time.Millisecond

// wait returns the number of events.
//
// A loop with nothing to do naps first: it waits in epoll_wait without telling the Go
// scheduler, which is one system call and wakes no other thread. The scheduler ends
// that with a signal when it wants something, and every 10 ms while its monitor is
// awake, and then the loop parks in Go's network poller, as every goroutine that
// waits for a socket does. To block in epoll_wait itself, a system call that the scheduler knows of, would
// make the scheduler's monitor wake up every 20 us to look after it: half of the CPU at
// 500 queries a second. To park at once costs 4 % more under load.
func (l *Loop) wait() int {
	if len(l.later) > 0 {
		return l.poll.now(l.events[:])
	}
	l.asleep.Store(true)
	defer l.asleep.Store(false)
	if l.inboxWaits() {
		// Functions that post again and again do not keep the sockets waiting.
		return l.poll.now(l.events[:])
	}
	if len(l.resting) > 0 {
		return l.poll.brief(l.events[:], time.Until(l.resting[0].until))
	}
	due := l.timers.next()
	if !due.IsZero() {
		if left := time.Until(due); left <= napFor {
			return l.poll.brief(l.events[:], left)
		}
	}
	if n := l.poll.brief(l.events[:], napFor); n > 0 {
		return n
	}
	return l.poll.park(l.events[:], due)
}

func (l *Loop) inboxWaits() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.inbox) > 0
}

func (l *Loop) shutdown() {
	defer close(l.done)
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.runInbox()
	l.closeAll(func(c *Conn) bool { return !c.finishing })
	l.linger()
	l.closeAll(func(*Conn) bool { return true })

	l.waking.Lock()
	defer l.waking.Unlock()
	l.gone = true
	l.poll.close()
}

func (l *Loop) closeAll(which func(*Conn) bool) {
	for _, c := range l.conns {
		if c != nil && which(c) {
			c.Close()
		}
	}
}
