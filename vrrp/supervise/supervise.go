// Package supervise is the main process's side of the virtual IP: it starts the
// keeper, the child process that holds the address, sends it a beat with this
// node's fitness each beat.Interval, hears its beats, and replaces it when it dies
// or falls silent (rule 43). It decides nothing about ownership.
//
//	         spawn               Status.Left, or Close
//	(none) --------> keeper ---------------------------> (none)
//	   ^               |
//	   '-- kill -9 <---'  its end of the socket closed, no beat for beat.Silence,
//	                      nonsense, own pause, another Config
//
// The next keeper starts at once; only one that dies again and again right after
// its start is waited with.
package supervise

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/vrrp/beat"
)

// Options say what is supervised.
type Options struct {
	Config beat.Config
	// Command is the keeper's command line; nil is this binary's own keeper.
	Command []string
	// Fitness is asked before each beat. It must not block.
	Fitness func() beat.Fitness
	// Event gets what the keepers say, and what became of them (Kind "keeper"), in
	// order, from one goroutine. It must not block. May be nil.
	Event func(beat.Event)
	Log   *zap.Logger
}

// Supervisor has one keeper at a time. Use New, then Start, and Close once.
type Supervisor struct {
	o    Options
	log  *zap.Logger
	wake chan struct{} // one token has a beat sent at once; never closed
	left chan struct{} // closed when a keeper has said that it left

	// How long a keeper may take until its first beat, and between two. Immutable
	// after Start.
	startPatience, silence time.Duration

	stop    context.CancelFunc
	running sync.WaitGroup

	// Owned by run.
	began    time.Duration // by uptime
	failures int           // keepers in a row that died young

	mu sync.Mutex
	// Guarded by mu.
	config  beat.Config
	changed bool // config is not the running keeper's
	move    string
	leave   bool
	tickles [][]beat.Flow
	status  Status
	before  beat.Counters // of keepers that are gone
}

// Status is what is known of the virtual IP.
type Status struct {
	beat.Status
	// Heard is when the keeper last spoke; zero when none has yet.
	Heard time.Time
	// PID is the keeper's process, 0 without one.
	PID    int
	Starts uint64 // of keepers
	// Trouble says why the last keeper had to be replaced, "" when none was.
	Trouble string
}

// New makes a supervisor; Start begins.
func New(o Options) *Supervisor {
	if o.Command == nil {
		o.Command = []string{"/proc/self/exe", "keeper"}
	}
	s := &Supervisor{
		o: o, log: o.Log, wake: make(chan struct{}, 1), left: make(chan struct{}), config: o.Config,
		startPatience: startPatience, silence: beat.Silence,
	}
	s.status.State = beat.Initialize
	s.status.Arbiter = arbiterOf(&o.Config)
	return s
}

func arbiterOf(c *beat.Config) string {
	if c.Etcd == nil {
		return "none"
	}
	return "etcd"
}

// Start starts the first keeper.
func (s *Supervisor) Start() {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.running.Go(func() { s.run(ctx) })
}

// Close ends the keeper: one that has not left gives the address up, since its
// main process is gone. Nothing runs any more when it returns.
func (s *Supervisor) Close() {
	if s.stop != nil {
		s.stop()
	}
	s.running.Wait()
}

// Status gives the last of what is known; counters are those of all keepers.
func (s *Supervisor) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Counters = sum(s.before, st.Counters)
	return st
}

// Move asks for a planned move to a peer, "*" for the best one, "-" to take the
// wish back.
func (s *Supervisor) Move(to string) { s.set(func() { s.move = to }) }

// Tickle has the connections of a dead owner's clients reset.
func (s *Supervisor) Tickle(flows []beat.Flow) {
	s.set(func() {
		for len(flows) > 0 {
			n := min(len(flows), flowsPerPacket)
			s.tickles = append(s.tickles, flows[:n:n])
			flows = flows[n:]
		}
	})
}

// flowsPerPacket keeps a packet below beat.MaxPacket: a flow of two IPv6 addresses
// is about 110 bytes.
const flowsPerPacket = 400

// Beat sends the fitness at once: it has changed.
func (s *Supervisor) Beat() { s.set(func() {}) }

// Replace has a new keeper go on by another configuration. With an arbiter it finds
// the owner key this process's own and keeps the address; without one the address
// is given up before.
func (s *Supervisor) Replace(c beat.Config) {
	s.set(func() {
		s.config, s.changed = c, true
		s.status.Arbiter = arbiterOf(&c)
	})
}

// Leave has the address handed over and the part in the election ended. It returns
// when that is done, or with ctx's error.
func (s *Supervisor) Leave(ctx context.Context) error {
	s.set(func() { s.leave = true })
	select {
	case <-s.left:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// set changes a wish and has it sent at once.
func (s *Supervisor) set(change func()) {
	s.mu.Lock()
	change()
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // the token that is there speaks for this change too
	}
}

// event passes one on.
func (s *Supervisor) event(e beat.Event) {
	if s.o.Event != nil {
		s.o.Event(e)
	}
}

func sum(a, b beat.Counters) beat.Counters {
	return beat.Counters{
		AdvertsSent:     a.AdvertsSent + b.AdvertsSent,
		AdvertsReceived: a.AdvertsReceived + b.AdvertsReceived,
		AdvertsBad:      a.AdvertsBad + b.AdvertsBad,
		BecameActive:    a.BecameActive + b.BecameActive,
		GaveUp:          a.GaveUp + b.GaveUp,
		Refuted:         a.Refuted + b.Refuted,
		GARPSent:        a.GARPSent + b.GARPSent,
		Readded:         a.Readded + b.Readded,
		Conflicts:       a.Conflicts + b.Conflicts,
		Tickled:         a.Tickled + b.Tickled,
	}
}
