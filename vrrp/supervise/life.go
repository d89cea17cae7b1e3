package supervise

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/vrrp/beat"
)

const (
	// startPatience is how long a keeper may take until its first beat: it has to be
	// loaded, and owns nothing before.
	startPatience = 2 * time.Second
	// closePatience is how long one may take to give the address up when it is told
	// to go: longer than it would take to notice a silence.
	closePatience = time.Second

	// A keeper that dies younger than youth has failed to start. The first swift of
	// those in a row are replaced at once, later ones after a growing pause.
	youth   = 2 * time.Second
	swift   = 3
	longest = 5 * time.Second
)

// anotherConfig is the one reason to replace a keeper that is as it should be.
const anotherConfig = "another configuration"

// takeBack is the wish of a move that ends the one before.
const takeBack = "-"

// run has one keeper after the other until ctx ends or one has left.
func (s *Supervisor) run(ctx context.Context) {
	s.began = uptime()
	for {
		began := uptime()
		why := s.live(ctx)
		if why == "" {
			s.over()
			return
		}
		if uptime()-began >= youth || why == anotherConfig {
			s.failures = 0
		}
		if why != anotherConfig {
			s.failures++
		}
		s.died(why)
		if !s.pause(ctx) {
			s.over()
			return
		}
	}
}

// pause waits before the next keeper. It reports whether there is to be one.
func (s *Supervisor) pause(ctx context.Context) bool {
	var wait time.Duration
	if n := s.failures - swift; n > 0 {
		wait = min(100*time.Millisecond<<min(n-1, 10), longest)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}

// died notes the end of a keeper that was needed.
func (s *Supervisor) died(why string) {
	s.mu.Lock()
	s.before = sum(s.before, s.status.Counters)
	s.status = Status{
		// Holds stays: the address is where the keeper has left it.
		Status: beat.Status{
			State: beat.Initialize, Holds: s.status.Holds, Arbiter: s.status.Arbiter, Reason: "the keeper is being replaced: " + why,
			Peers: s.status.Peers, Ready: s.status.Ready,
		},
		Heard: s.status.Heard, Starts: s.status.Starts, Trouble: why,
	}
	s.mu.Unlock()
	s.event(beat.Event{Kind: "keeper", Warn: why != anotherConfig, Text: "the keeper is replaced: " + why})
}

// over notes that there will be no keeper any more.
func (s *Supervisor) over() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.State, s.status.PID = beat.Initialize, 0
	s.status.Reason = "pgvip is stopping"
}

// live has one keeper from its start to its end. It gives why it ended, "" when no
// other one is wanted.
func (s *Supervisor) live(ctx context.Context) string {
	k, err := s.spawn()
	if err != nil {
		return err.Error()
	}
	s.mu.Lock()
	config := s.config
	s.changed = false
	s.status.PID, s.status.Starts = k.pid(), s.status.Starts+1
	if s.status.Starts > 1 {
		// What startup_delay waits for has been going on since the first one started.
		config.VIP.StartupDelay = max(0, config.VIP.StartupDelay-(uptime()-s.began))
	}
	s.mu.Unlock()
	s.log.Debug("a keeper of the virtual IP has started", zap.Int("pid", k.pid()))
	why := s.talk(ctx, k, &config)
	if why == "" || why == anotherConfig && config.Etcd == nil {
		// Without an arbiter the next one cannot know whether the address is still
		// this node's: it gives it up, so that a peer takes over at once.
		k.dismiss()
	} else {
		k.kill()
	}
	return why
}

// talk sends beats and hears them until the keeper is to be ended.
func (s *Supervisor) talk(ctx context.Context, k *keeper, config *beat.Config) string {
	tick := time.NewTicker(beat.Interval)
	defer tick.Stop()
	sent, heard, patience := uptime(), uptime(), s.startPatience
	speak := true
	for {
		now := uptime()
		if gap := now - sent; gap > s.silence {
			// It has taken this process for dead and given up.
			return fmt.Sprintf("this process has paused for %s", gap.Round(time.Millisecond))
		}
		if silence := now - heard; silence > patience {
			return fmt.Sprintf("no beat for %s", silence.Round(time.Millisecond))
		}
		if speak {
			if s.beat(k, config) {
				return anotherConfig
			}
			config, sent = nil, now
		}
		speak = false
		select {
		case <-ctx.Done():
			return ""
		case <-tick.C:
			speak = true
		case <-s.wake:
			speak = true
		case p, ok := <-k.packets:
			if !ok {
				return k.ended()
			}
			patience, heard = s.silence, uptime()
			if s.take(p) {
				return ""
			}
		}
	}
}

// beat sends what there is to say, unless there is another configuration.
func (s *Supervisor) beat(k *keeper, config *beat.Config) (anew bool) {
	fitness := s.o.Fitness()
	s.mu.Lock()
	if s.changed {
		s.mu.Unlock()
		return true
	}
	p := beat.ToKeeper{Config: config, Fitness: &fitness, Move: s.move, Leave: s.leave}
	if s.move == takeBack {
		s.move = "" // said once
	}
	tickles := s.tickles
	s.tickles = nil
	s.mu.Unlock()
	k.send(&p)
	for _, t := range tickles {
		k.send(&beat.ToKeeper{Tickle: t})
	}
	return false
}

// take keeps a beat of the keeper, and reports whether it has left.
func (s *Supervisor) take(p *beat.FromKeeper) bool {
	s.mu.Lock()
	if s.status.Holds && !p.Status.Holds {
		s.move = "" // the wish is fulfilled
	}
	s.status.Status, s.status.Heard = p.Status, time.Now()
	left := s.leave && p.Status.Left
	s.mu.Unlock()
	for _, e := range p.Events {
		s.event(e)
	}
	if left {
		close(s.left)
	}
	return left
}
