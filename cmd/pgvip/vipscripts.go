package main

import (
	"context"
	"maps"
	"os"
	"reflect"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/config"
	"github.com/pgvip/pgvip/vrrp/track"
)

// scripts runs the track scripts of the configuration that counts. Use newScripts,
// then apply, and stop once.
type scripts struct {
	log     *zap.Logger
	changed func() // what they amount to has changed; must not block

	running sync.WaitGroup

	mu sync.Mutex
	// Guarded by mu.
	list   []track.Script
	runner *track.Runner // nil without scripts
	end    context.CancelFunc
}

// trackScripts are those of a configuration, by name.
func trackScripts(c *config.Config) []track.Script {
	var list []track.Script
	for _, name := range slices.Sorted(maps.Keys(c.VIP.TrackScript)) {
		s := c.VIP.TrackScript[name]
		list = append(list, track.Script{
			Name: name, Command: s.Script, Env: plainEnvironment(os.Environ()), Interval: s.Interval, Timeout: s.Timeout,
			Rise: s.Rise, Fall: s.Fall, Weight: s.Weight, Reverse: s.Reverse, InitFail: s.InitFail,
		})
	}
	return list
}

// apply runs the scripts of a configuration in place of those before, unless they
// are the same.
func (s *scripts) apply(c *config.Config) {
	list := trackScripts(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	if reflect.DeepEqual(list, s.list) {
		return
	}
	s.stopLocked()
	runner, err := track.NewRunner(list, s.tell)
	if err != nil { // config has found what can be wrong
		s.log.Error("virtual IP: track_script", zap.Error(err))
		return
	}
	ctx, end := context.WithCancel(context.Background())
	s.list, s.runner, s.end = list, runner, end
	s.running.Go(func() { runner.Run(ctx) })
}

// tell logs a script's change.
func (s *scripts) tell(c track.Change) {
	fields := []zap.Field{zap.String("script", c.Script), zap.Stringer("state", c.State), zap.Int("weight", c.Verdict.Weight)}
	if c.State == track.Bad {
		s.log.Warn("virtual IP: track_script", append(fields, zap.String("reason", c.Why))...)
	} else {
		s.log.Info("virtual IP: track_script", fields...)
	}
	s.changed()
}

// verdict is what they amount to.
func (s *scripts) verdict() track.Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runner == nil {
		return track.Verdict{}
	}
	return s.runner.Verdict()
}

// stop ends them and waits for what runs.
func (s *scripts) stop() {
	s.mu.Lock()
	s.stopLocked()
	s.mu.Unlock()
	s.running.Wait()
}

func (s *scripts) stopLocked() {
	if s.end != nil {
		s.end()
	}
	s.list, s.runner, s.end = nil, nil, nil
}
