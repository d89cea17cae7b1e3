package dcs

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgvip/pgvip/route"
)

// TestStaticFollowsItsList: fresh each second, a new revision with each change.
func TestStaticFollowsItsList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var servers atomic.Value
		servers.Store([]Server{{"b", "h:2"}, {"a", "h:1"}})
		s := NewStatic(func() []Server { return servers.Load().([]Server) })
		got := make(chan Snapshot)
		ctx, cancel := context.WithCancel(t.Context())
		go s.Run(ctx, func(n Snapshot) { got <- n })
		first := <-got
		topo := first.Topology
		if topo.Kind != route.StaticList || topo.Empty() || len(topo.Members) != 2 || topo.Members[0].Name != "a" || topo.Revision != 1 {
			t.Errorf("first: %+v", topo)
		}
		second := <-got
		if second.At.Sub(first.At) != time.Second || second.Topology.Revision != 1 {
			t.Errorf("second: %v later, revision %d", second.At.Sub(first.At), second.Topology.Revision)
		}
		servers.Store([]Server{{"b", "h:2"}})
		if third := <-got; len(third.Topology.Members) != 1 || third.Topology.Revision != 2 {
			t.Errorf("changed: %+v", third.Topology)
		}
		if stats := s.Stats(); stats.Reads != 3 || !stats.LastRead.Equal(time.Now()) {
			t.Errorf("stats: %+v", stats)
		}
		cancel()
	})
}
