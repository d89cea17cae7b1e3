package main

import (
	"context"
	"os"
	"sync"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/console"
)

// stop is a way to end a node.
type stop uint8

// Ways to end, the first for "do not".
const (
	goOn             stop = iota
	stopDrained           // SIGTERM: when transactions have ended, within drain_timeout
	stopAfterServers      // SIGINT, WAIT_FOR_SERVERS: when clients have given up their servers, within drain_timeout
	stopAfterClients      // WAIT_FOR_CLIENTS: when they have gone, however long that takes
	stopNow               // SHUTDOWN, and the second of all others
)

func (s stop) String() string {
	return [...]string{"", "when drained", "WAIT_FOR_SERVERS", "WAIT_FOR_CLIENTS", "at once"}[s]
}

// nextStop waits for a wish to stop, and gives goOn when done is closed before.
// What the other signals of PgBouncer ask for it does meanwhile.
func (n *node) nextStop(signals <-chan os.Signal, done <-chan struct{}) stop {
	for {
		select {
		case sig := <-signals:
			n.log.Info("signal", zap.String("signal", signalName(sig)))
			switch sig {
			case syscall.SIGHUP:
				_ = n.Reload() // it logs its error
			case syscall.SIGUSR1:
				n.told("SIGUSR1", n.desk.Pause(""))
			case syscall.SIGUSR2:
				n.told("SIGUSR2", n.desk.Resume(""))
			case syscall.SIGINT:
				return stopAfterServers
			default:
				return stopDrained
			}
		case s := <-n.stops:
			return s
		case <-done:
			return goOn
		}
	}
}

// told logs why a signal's command was not carried out.
func (n *node) told(signal string, err error) {
	if err != nil {
		n.log.Warn("signal had no effect", zap.String("signal", signal), zap.Error(err))
	}
}

// end stops the node. Any further wish to stop ends the patience; but a SIGTERM that
// finds it waiting for clients, which may take for ever, only bounds that.
func (n *node) end(how stop, signals <-chan os.Signal) {
	limit := n.config().DrainTimeout
	n.log.Info("stopping", zap.Stringer("how", how), zap.Int("clients", n.proxy.Clients()), zap.Duration("drain_timeout", limit))
	n.stopping.Store(true)
	if n.vip != nil && how != stopNow && n.vip.leave(signals) {
		how = stopNow
	}
	if how == stopAfterClients {
		how = n.awaitClients(signals)
	}
	if how == stopNow {
		limit = 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	stopped := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		if n.nextStop(signals, stopped) != goOn {
			n.log.Warn("stopping at once", zap.Int("clients", n.proxy.Clients()))
			cancel()
		}
	})
	if how == stopAfterServers {
		n.awaitServers(ctx)
	}
	n.stop(ctx)
	close(stopped)
	watch.Wait()
}

// awaitServers waits until clients have given up all servers; those that ask for
// one meanwhile get none.
func (n *node) awaitServers(ctx context.Context) {
	n.proxy.StopAccepting()
	n.pools.Pause("")
	if n.pools.AwaitPaused(ctx, "") != nil {
		n.log.Warn("drain_timeout: clients still have servers", zap.Int("clients", n.proxy.Clients()))
	}
}

// clientPoll is how often awaitClients looks.
const clientPoll = 50 * time.Millisecond

// awaitClients lets no more clients in and waits until the last has gone. It
// returns how to go on.
func (n *node) awaitClients(signals <-chan os.Signal) stop {
	n.proxy.StopAccepting()
	gone := make(chan struct{})
	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(clientPoll)
		defer tick.Stop()
		for n.proxy.Clients() > 0 {
			select {
			case <-tick.C:
			case <-over:
				return
			}
		}
		close(gone)
	})
	defer watch.Wait()
	defer close(over)
	if next := n.nextStop(signals, gone); next == goOn || next == stopDrained {
		return stopDrained
	}
	return stopNow
}

// Set and Reload are in reload.go.
var _ console.Target = (*desk)(nil)
