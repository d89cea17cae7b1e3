package admin

import (
	"context"
	"sync"
	"time"
)

const (
	// freshFor is how long one look at the event loops serves everybody: ten
	// scrapers cost as much as one.
	freshFor = time.Second
	// patience is how long a busy loop is waited for.
	patience = time.Second
	// loopsDead is when loops that have not answered are taken for stuck.
	loopsDead = 10 * time.Second
)

// Source is the program as this package sees it. Its methods may be called from
// several goroutines.
type Source interface {
	// View tells all that needs no event loop. It never waits for one.
	View() View
	// Load asks the event loops, until ctx ends.
	Load(ctx context.Context) (*Load, error)
}

// gatherer looks at the program for all who ask.
type gatherer struct {
	source Source
	began  time.Time

	// Guarded by mu.
	mu     sync.Mutex
	look   *look // under way, or nil
	load   *Load // last that succeeded
	loadAt time.Time
	tried  time.Time // end of the last look, whatever came of it
	err    error     // of the last look
}

// look is one collection from the loops.
type look struct {
	done chan struct{} // closed when it has ended
}

// view gives a view of now. What the loops say in it is at most freshFor old, or
// as old as it says.
func (g *gatherer) view(ctx context.Context) View {
	if l := g.start(); l != nil {
		select {
		case <-l.done:
		case <-ctx.Done():
		}
	}
	v := g.source.View()
	g.mu.Lock()
	load, at, err := g.load, g.loadAt, g.err
	g.mu.Unlock()
	v.LoadAge = seconds(v.At, at)
	if err != nil {
		v.LoadError = "the event loops do not answer: " + err.Error()
	}
	if load != nil {
		v.add(load)
	}
	return v
}

// start begins a look unless there is one, or has just been; nil means that what
// is known will do.
func (g *gatherer) start() *look {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.look != nil {
		return g.look
	}
	if !g.tried.IsZero() && time.Since(g.tried) < freshFor {
		return nil
	}
	l := &look{done: make(chan struct{})}
	g.look = l
	// Nobody's own: it must not end with the request that happened to be first.
	// It ends by itself, after patience at the latest.
	go g.collect(l)
	return l
}

func (g *gatherer) collect(l *look) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	load, err := g.source.Load(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.look, g.err, g.tried = nil, err, time.Now()
	if err == nil {
		g.load, g.loadAt = load, g.tried
	}
	close(l.done)
}

// wait returns when no look is under way.
func (g *gatherer) wait() {
	g.mu.Lock()
	l := g.look
	g.mu.Unlock()
	if l != nil {
		<-l.done
	}
}

// alive reports whether the loops answer.
func (g *gatherer) alive(ctx context.Context) bool {
	g.view(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	last := g.loadAt
	if last.IsZero() {
		last = g.began
	}
	return time.Since(last) < loopsDead
}
