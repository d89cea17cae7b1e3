package failover

import (
	"context"
	"slices"
	"sync"
	"time"
)

// visit is the answer to one SELECT: where it was served.
type visit struct {
	kind                    kind
	connected, began, ended time.Time
	recovery                bool
	host                    string
}

// visits collects them. Its methods may be called by any goroutine.
type visits struct {
	mu  sync.Mutex
	all []visit
}

func (v *visits) add(one visit) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all = append(v.all, one)
}

func (v *visits) take() []visit {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := v.all
	v.all = nil
	return all
}

// any reports whether there is one that fits.
func (v *visits) any(fits func(visit) bool) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.ContainsFunc(v.all, fits)
}

// count counts those that fit.
func (v *visits) count(fits func(visit) bool) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return count(v.all, fits)
}

// count counts the visits that fit.
func count(all []visit, fits func(visit) bool) int {
	n := 0
	for _, v := range all {
		if fits(v) {
			n++
		}
	}
	return n
}

// crew is the clients of one front, and what they have seen.
type crew struct {
	// Immutable.
	name              string // in the ledger's table
	primary, replicas string // addresses

	ledger   ledger
	acks     track
	failures failures
	visits   visits

	cancel context.CancelFunc
	group  sync.WaitGroup
}

// crowd is how many of each kind there are, and the pause between two turns. It
// is light: on two cores PostgreSQL, Patroni and etcd want their share, and what
// is measured is time without service and not throughput.
func crowd() []struct {
	kind  kind
	count int
	pace  time.Duration
} {
	return []struct {
		kind  kind
		count int
		pace  time.Duration
	}{
		{writer, 4, 5 * time.Millisecond},
		{short, 2, 10 * time.Millisecond},
		{long, 2, 10 * time.Millisecond},
		{reader, 1, 10 * time.Millisecond},
		{idler, 8, 3 * time.Second},
		{newcomer, 1, 25 * time.Millisecond},
		{follower, 2, 10 * time.Millisecond},
		{readcomer, 1, 25 * time.Millisecond},
	}
}

// start lets the clients work until stop.
func (c *crew) start() {
	var ctx context.Context
	ctx, c.cancel = context.WithCancel(context.Background())
	c.ledger.begin()
	c.acks.reset()
	c.failures.take()
	c.visits.take()
	for _, group := range crowd() {
		for range group.count {
			one := &client{crew: c, kind: group.kind, pace: group.pace}
			c.group.Go(func() { one.work(ctx) })
		}
	}
}

// stop ends the clients and waits for them.
func (c *crew) stop() {
	if c.cancel != nil {
		c.cancel()
		c.group.Wait()
		c.cancel = nil
	}
}
