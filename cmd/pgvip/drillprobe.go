package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/pgvip/pgvip/wire"
)

const (
	// probeEvery is how often the address is tried: the gap is known to that.
	probeEvery = 5 * time.Millisecond
	// probeLimit is how long one probe waits. A lost SYN is sent again after a second:
	// such a probe tells nothing that the next one does not.
	probeLimit = 500 * time.Millisecond
)

// prober tries an address until stop.
type prober struct {
	address string
	end     context.CancelFunc
	running sync.WaitGroup
	ended   time.Time // set by stop

	mu      sync.Mutex
	results []probeResult // guarded by mu
}

// probeResult is one try; end is when it was answered, zero without an answer.
type probeResult struct{ begin, end time.Time }

func newProber(address string) *prober {
	ctx, cancel := context.WithCancel(context.Background())
	p := &prober{address: address, end: cancel}
	p.running.Go(func() { p.run(ctx) })
	return p
}

func (p *prober) stop() {
	p.ended = time.Now()
	p.end()
	p.running.Wait()
}

func (p *prober) run(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.running.Go(func() { p.note(probe(p.address)) })
		case <-ctx.Done():
			return
		}
	}
}

func (p *prober) note(r probeResult) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.results = append(p.results, r)
}

// probe connects and asks for TLS, with which a login may begin: pgvip answers it
// with one byte and writes nothing to its log when that is all.
func probe(address string) probeResult {
	r := probeResult{begin: time.Now()}
	conn, err := net.DialTimeout("tcp", address, probeLimit)
	if err != nil {
		return r
	}
	defer conn.Close()
	conn.SetDeadline(r.begin.Add(probeLimit))
	if _, err := conn.Write((&wire.Startup{Code: wire.SSLRequestCode}).Append(nil)); err != nil {
		return r
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err == nil && (answer[0] == 'S' || answer[0] == 'N') {
		r.end = time.Now()
	}
	return r
}

// answers waits until the address has been answering for a while.
func (p *prober) answers(ctx context.Context, d time.Duration) error {
	if err := sleep(ctx, d); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.ContainsFunc(p.results, func(r probeResult) bool { return !r.end.IsZero() }) {
		return fmt.Errorf("nobody answers at %s", p.address)
	}
	return nil
}

// probeSum is what the tries have come to.
type probeSum struct {
	probes, answered, unanswered int
	gap                          time.Duration // longest time between two answers, of which one came after the move was asked for
	before, after                time.Duration // of the gap's two ends, since the move was asked for
}

func (p *prober) sum(asked time.Time) probeSum {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := probeSum{probes: len(p.results)}
	var ends []time.Time
	for _, r := range p.results {
		switch {
		case r.end.IsZero():
			s.unanswered++
		case r.end.Before(p.ended):
			ends = append(ends, r.end)
		}
	}
	if s.answered = len(ends); s.answered == 0 {
		return s
	}
	slices.SortFunc(ends, time.Time.Compare)
	ends = append(ends, p.ended) // a silence that has not ended is one as well
	for i := 1; i < len(ends); i++ {
		if gap := ends[i].Sub(ends[i-1]); gap > s.gap && ends[i].After(asked) {
			s.gap, s.before, s.after = gap, ends[i-1].Sub(asked), ends[i].Sub(asked)
		}
	}
	return s
}
