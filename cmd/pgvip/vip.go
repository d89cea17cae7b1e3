package main

import (
	"context"
	"errors"
	"net"
	"os"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/config"
	"github.com/pgvip/pgvip/vrrp/beat"
	"github.com/pgvip/pgvip/vrrp/supervise"
)

// vipLeave bounds how long a stop waits until the virtual IP is another node's: a
// hand-over takes some tens of milliseconds, and a node without a fit peer must
// not hang in its stop.
const vipLeave = 2 * time.Second

// vip is this node's part in the virtual IP: the keeper process by its supervisor,
// and what follows from what the keeper says.
type vip struct {
	log    *zap.Logger
	node   *node
	keeper *supervise.Supervisor
	hooks  *hooks
	checks *scripts
	lock   net.Listener

	drained  atomic.Bool // by an operator
	pressure pressure

	// changed are told each new state of this node's part, in order and from one
	// goroutine; they must not block. Set before start.
	changed []func(beat.State)

	stopHooks context.CancelFunc
	running   sync.WaitGroup

	mu     sync.Mutex
	config beat.Config // guarded by mu; of the keeper
}

// newVIP makes it; nothing runs before start. It is nil without a virtual IP.
func (n *node) newVIP(c *config.Config) (*vip, error) {
	if !c.VIP.Enabled() {
		return nil, nil
	}
	k, err := keeperConfig(c, n.boot)
	if err != nil {
		return nil, err
	}
	lock, err := lockVIP(c)
	if err != nil {
		return nil, err
	}
	v := &vip{log: n.log, node: n, lock: lock, config: k}
	v.hooks = newHooks(n.log, c)
	v.checks = &scripts{log: n.log, changed: func() { v.keeper.Beat() }}
	v.keeper = supervise.New(supervise.Options{Config: k, Fitness: v.fitness, Event: v.event, Log: n.log})
	return v, nil
}

// start starts the keeper. Until this node is ready it only listens, and answers
// its peers.
func (v *vip) start() {
	if err := confine(); err != nil {
		v.log.Debug("virtual IP: this process keeps its privileges", zap.Error(err))
	}
	for _, w := range vipWarnings(v.node.config()) {
		if w != "" {
			v.log.Warn(w)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	v.stopHooks = stop
	v.running.Go(func() { v.hooks.run(ctx) })
	v.running.Go(func() { v.sayReady(ctx) })
	v.checks.apply(v.node.config())
	v.keeper.Start()
}

// sayReady has the keeper hear at once that this node may own the address.
func (v *vip) sayReady(ctx context.Context) {
	select {
	case <-v.node.control.Ready():
		v.keeper.Beat()
	case <-ctx.Done():
	}
}

// Status is what is known of the virtual IP.
func (v *vip) Status() supervise.Status { return v.keeper.Status() }

// errNotHere refuses a move of what is not here.
var errNotHere = errors.New("this node does not hold the virtual IP: ask its owner")

// Move asks for a planned move to a peer, "*" for the best one. It returns before
// the address has moved.
func (v *vip) Move(to string) error {
	if st := v.Status(); st.State != beat.Active {
		return errNotHere
	}
	v.log.Info("virtual IP: move asked for", zap.String("to", to))
	v.keeper.Move(to)
	return nil
}

// Drain takes this node out of the election until Undrain: the address is handed
// over first.
func (v *vip) Drain() {
	if !v.drained.Swap(true) {
		v.log.Info("virtual IP: drained by an operator")
	}
	v.keeper.Beat()
}

// Undrain ends Drain.
func (v *vip) Undrain() {
	if v.drained.Swap(false) {
		v.log.Info("virtual IP: no longer drained")
	}
	v.keeper.Beat()
}

// Drained reports whether an operator has taken this node out of the election.
func (v *vip) Drained() bool { return v.drained.Load() }

// Tickle has the connections of a dead owner's clients reset.
func (v *vip) Tickle(flows []beat.Flow) { v.keeper.Tickle(flows) }

// apply makes a reloaded configuration count. A keeper lives by one configuration:
// another one means another keeper, which finds this process's own key and keeps
// the address.
func (v *vip) apply(c *config.Config) {
	v.hooks.apply(c)
	v.checks.apply(c)
	next, err := keeperConfig(c, v.node.boot)
	if err != nil { // what newVIP has taken is not reloaded
		v.log.Error("reload: the virtual IP stays as it is", zap.Error(err))
		return
	}
	v.mu.Lock()
	same := reflect.DeepEqual(v.config, next)
	v.config = next
	v.mu.Unlock()
	if !same {
		v.keeper.Replace(next)
	}
}

// event takes what a keeper says.
func (v *vip) event(e beat.Event) {
	fields := []zap.Field{zap.String("kind", e.Kind), zap.String("reason", e.Text)}
	if e.State != "" {
		fields = append(fields, zap.String("state", string(e.State)))
	}
	if e.Warn {
		v.log.Warn("virtual IP", fields...)
	} else {
		v.log.Info("virtual IP", fields...)
	}
	v.node.vipEvents.note(bootTime(), e)
	v.node.vipClients.event(e)
	v.node.control.record.noteVIP(time.Now().Add(-e.Age), e.Kind, e.Text, e.Warn)
	if e.Kind != "state" {
		return
	}
	v.hooks.state(e.State, v.Status().Priority)
	for _, f := range v.changed {
		f(e.State)
	}
}

// leave hands the address over, before anything else of this node stops. Any
// further wish to stop ends the waiting; it reports whether there was one.
func (v *vip) leave(signals <-chan os.Signal) (hurried bool) {
	began, held := time.Now(), v.Status().Holds
	ctx, cancel := context.WithTimeout(context.Background(), vipLeave)
	defer cancel()
	var watch sync.WaitGroup
	over := make(chan struct{}) // closed when the waiting has ended
	watch.Go(func() {
		if v.node.nextStop(signals, over) != goOn {
			hurried = true
			cancel()
		}
	})
	v.settle(ctx)
	err := v.keeper.Leave(ctx)
	v.part(err == nil)
	close(over)
	watch.Wait()
	took := zap.Duration("took", time.Since(began).Round(time.Millisecond))
	switch {
	case err == nil && held:
		v.log.Info("virtual IP: handed over", took)
	case err == nil:
		v.log.Info("virtual IP: left the election", took)
	default:
		v.keeper.Close() // it drops the address
		v.log.Warn("virtual IP: the hand-over has not come to its end, the address was dropped", took)
	}
	return hurried
}

// close ends the keeper, which gives the address up if it has not left, and waits
// for the hooks that are due.
func (v *vip) close() {
	v.keeper.Close()
	v.checks.stop()
	v.hooks.stop()
	v.stopHooks()
	v.running.Wait()
	v.lock.Close()
}
