package keeper

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/pgvip/pgvip/vrrp/address"
	"github.com/pgvip/pgvip/vrrp/beat"
)

const (
	// gap is a stop of this process after which nothing is refreshed that has not
	// been validated (rule 43).
	gap = 200 * time.Millisecond
	// wake is the longest that the loop sleeps: timers do not count the time in
	// which the machine slept, and a shorter gap could not be told from waiting.
	wake = 50 * time.Millisecond
	// leaveWait is how long a keeper whose main process is gone goes on telling
	// its peers before it exits.
	leaveWait = time.Second
)

// ErrNotAChild says that there is no main process at the other end.
var ErrNotAChild = errors.New("not started by pgvip run")

// Run is the keeper's life, at that end of the pair with the main process which
// descriptor fd is. It returns when the address is gone and the keeper's part done.
func Run(fd int) error {
	l, err := openLine(fd)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotAChild, err)
	}
	prepare()
	defer l.conn.Close()
	packets := make(chan arrival) // closed by serve at the end of the pair
	var reading sync.WaitGroup
	reading.Go(func() { l.serve(packets) })
	defer func() {
		_ = l.conn.CloseRead() // serve is to end
		for range packets {    // until it has
		}
		reading.Wait()
	}()
	first, ok := <-packets
	if !ok || first.err != nil || first.packet.Config == nil {
		return fmt.Errorf("%w: its first packet has no configuration", ErrNotAChild)
	}
	k, err := start(l, first.packet.Config)
	if err != nil {
		l.send(beat.FromKeeper{Events: []beat.Event{{Kind: "error", Warn: true, Text: err.Error()}}})
		return err
	}
	defer k.close()
	k.packets = packets
	k.take(first)
	k.loop()
	return nil
}

// election is what decides whether this node may have the address. Its methods
// are called by the loop.
type election interface {
	// next says when tick is due; tick comes in front of every other method when
	// it is, and after a gap.
	next() time.Duration
	tick(now time.Duration)
	// fit takes how well this node could serve; with a Fault it must not own.
	fit(now time.Duration, f beat.Fitness)
	move(now time.Duration, to string)
	leave(now time.Duration)
	mainGone(now time.Duration)
	heard(now time.Duration, p address.Packet)
	probed(now time.Duration, e address.Event)
	// status fills in what the election knows.
	status(now time.Duration, s *beat.Status)
	// run does what waits, until ctx ends; news are for the loop, in got.
	run(ctx context.Context)
	news() <-chan any
	got(now time.Duration, news any)
}

// Keeper is the loop's state.
type Keeper struct {
	// Immutable after start.
	cfg      *beat.Config
	line     *line
	port     *address.Port
	election election
	stop     func()         // ends what the election runs
	running  sync.WaitGroup // that
	vips     map[netip.Addr]bool

	// Owned by the loop.
	packets  <-chan arrival
	last     time.Duration // when the loop last ran
	heard    time.Duration // when the main process was, or could have been
	fitness  beat.Fitness
	address  holding
	found    bool // the address was there at the start, and what becomes of it is not decided
	log      journal
	status   beat.Status // as last told
	told     time.Duration
	blocked  bool          // the main process takes no packets
	gone     time.Duration // when the main process was found to be gone; 0 while it is there
	leaving  bool
	pending  []beat.Flow // to be reset once the address is here
	tickleBy time.Duration
	sent     uint64 // adverts
	received uint64
	bad      uint64
	rivals   uint64 // claims of others to an address that is here
}

// start opens everything that needs privileges, and gives the others up.
func start(l *line, cfg *beat.Config) (*Keeper, error) {
	v := &cfg.VIP
	k := &Keeper{cfg: cfg, line: l, vips: map[netip.Addr]bool{}}
	for _, a := range v.Addresses {
		k.vips[a.Addr()] = true
	}
	port, err := address.Open(address.Options{
		Interface: v.Interface, Addresses: v.Addresses, Source: v.UnicastSource, Peers: v.UnicastPeers,
		Delay: v.GARPMasterDelay, Repeat: v.GARPMasterRepeat, Refresh: v.GARPMasterRefresh,
	})
	if err != nil {
		return nil, err
	}
	k.port = port
	k.address = holding{port: port, now: sinceBoot, tell: k.event}
	if err := confine(); err != nil {
		k.event("error", false, "privileges are kept: %v", err)
	}
	now := sinceBoot()
	k.last, k.heard = now, now
	if k.election, err = k.elect(now); err != nil {
		_ = port.Close() // the error is the one to tell
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	k.stop = cancel
	k.running.Go(func() { k.election.run(ctx) })
	return k, nil
}

// elect makes the election that the configuration asks for.
func (k *Keeper) elect(now time.Duration) (election, error) {
	if k.cfg.Etcd == nil {
		return newPlain(k, now)
	}
	return newArbitrated(k, now)
}

// close ends the goroutines. The address is gone already.
func (k *Keeper) close() {
	k.stop()
	done := make(chan struct{}) // closed when the election's goroutines have ended
	go func() {
		defer close(done)
		k.running.Wait()
	}()
	for waiting := true; waiting; { // they may be about to tell news
		select {
		case <-done:
			waiting = false
		case <-k.election.news():
		}
	}
	_ = k.port.Close() // it only closes sockets
}

// loop runs until the keeper's part is done.
func (k *Keeper) loop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !k.done() {
		timer.Reset(k.sleep())
		var input func(now time.Duration)
		select {
		case a, ok := <-k.packets:
			input = func(now time.Duration) { k.fromMain(now, a, ok) }
		case e := <-k.port.Events():
			input = func(now time.Duration) { k.happened(now, e) }
		case p := <-k.port.Adverts():
			input = func(now time.Duration) { k.election.heard(now, p) }
		case n := <-k.election.news():
			input = func(now time.Duration) { k.election.got(now, n) }
		case <-timer.C:
			input = func(time.Duration) {}
		}
		k.turn(input)
	}
	k.report(sinceBoot(), true)
}

// turn takes one input. Whatever is due comes in front of it.
func (k *Keeper) turn(input func(now time.Duration)) {
	now := sinceBoot()
	woke := now-k.last > gap
	k.last = now
	if woke {
		// What the main process has sent meanwhile is still to be read.
		k.heard = max(k.heard, now-beat.Silence+gap)
	}
	if woke || now >= k.election.next() {
		k.election.tick(now)
	}
	input(now)
	now = sinceBoot()
	k.address.keep(now)
	k.watchMain(now)
	k.report(now, false)
}

// sleep is how long there is nothing to do.
func (k *Keeper) sleep() time.Duration {
	now := sinceBoot()
	due := min(now+wake, k.election.next(), k.address.next(), k.told+beat.Interval)
	return max(due-now, 0)
}

// watchMain gives the address up when the main process is silent.
func (k *Keeper) watchMain(now time.Duration) {
	if k.gone == 0 && now-k.heard > beat.Silence {
		k.mainGone(now, "the main process is silent")
	}
}

// mainGone gives the address up in the main process's name.
func (k *Keeper) mainGone(now time.Duration, why string) {
	if k.gone != 0 {
		return
	}
	k.gone = now
	k.event("release", true, "%s", why)
	k.election.mainGone(now)
}

// done reports that there is nothing left to do for this process.
func (k *Keeper) done() bool {
	switch {
	case k.gone != 0:
		return k.status.Left && !k.address.on && !k.address.stuck || sinceBoot()-k.gone > leaveWait
	case k.leaving:
		return k.status.Left && !k.address.on && !k.address.stuck
	}
	return false
}

// fromMain takes a packet of the main process, or its end.
func (k *Keeper) fromMain(now time.Duration, a arrival, ok bool) {
	if !ok {
		k.packets = nil // nothing comes any more
		k.mainGone(now, "the main process has died")
		return
	}
	k.heard = now
	k.take(a)
}

// take does what a packet asks for.
func (k *Keeper) take(a arrival) {
	now := sinceBoot()
	if a.err != nil {
		k.event("error", true, "%v", a.err)
		return
	}
	if k.gone != 0 {
		return // it has come back too late: its address is given up
	}
	if a.packet.Fitness != nil {
		k.fitness = *a.packet.Fitness
		k.fit(now)
	}
	if a.packet.Move != "" {
		k.election.move(now, a.packet.Move)
	}
	if a.packet.Leave && !k.leaving {
		k.leaving = true
		k.election.leave(now)
	}
	if len(a.packet.Tickle) > 0 {
		k.pending = append(k.pending, a.packet.Tickle...)
		k.tickleBy = now + tickleWait
	}
	k.tickle(now)
}

// fit hands the main process's fitness on, with what this process knows itself.
func (k *Keeper) fit(now time.Duration) {
	f := k.fitness
	if why := k.fault(); f.Fault == "" {
		f.Fault = why
	}
	k.election.fit(now, f)
}

// fault says why this node cannot have the address, "" if it can.
func (k *Keeper) fault() string {
	switch link := k.port.Link(); {
	case link.Index == 0:
		return "interface " + k.cfg.VIP.Interface + " does not exist"
	case !link.Up:
		return "interface " + k.cfg.VIP.Interface + " is down"
	}
	return ""
}

// tickleWait is how long clients wait to be reset for the address to come here.
const tickleWait = 3 * time.Second

// tickle resets the clients that were listed, once the address is here.
func (k *Keeper) tickle(now time.Duration) {
	switch {
	case len(k.pending) == 0:
	case now > k.tickleBy:
		k.pending = nil
	case k.address.on:
		k.port.Tickle(k.pending)
		k.pending = nil
	}
}
