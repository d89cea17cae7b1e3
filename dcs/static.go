package dcs

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pgvip/pgvip/route"
)

// Server is one of a list.
type Server struct {
	Name string
	Addr string // host:port
}

// Static is a Source without a cluster manager: it says which servers there are,
// and no more. Its news is always fresh, for nobody knows better.
type Static struct {
	list func() []Server // as configured by then

	mu    sync.Mutex
	stats Stats // guarded by mu
}

// NewStatic makes a source; list is asked each second, so that it may change.
func NewStatic(list func() []Server) *Static { return &Static{list: list} }

// Stats gives a copy of the counters.
func (s *Static) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Run says each second what the list is, until ctx ends.
func (s *Static) Run(ctx context.Context, news func(Snapshot)) {
	tick := time.NewTicker(readEvery)
	defer tick.Stop()
	var last []Server
	revision := int64(0)
	for {
		now := time.Now()
		servers := s.list()
		if revision == 0 || !slices.Equal(servers, last) {
			last, revision = servers, revision+1
		}
		s.mu.Lock()
		s.stats.Reads++
		s.stats.LastRead, s.stats.Revision = now, revision
		s.mu.Unlock()
		news(Snapshot{Topology: topologyOf(servers, revision), At: now})
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// topologyOf calls every server a running replica: which one is not, SQL says.
func topologyOf(servers []Server, revision int64) route.Topology {
	topo := route.Topology{Kind: route.StaticList, Configured: true, Timeline: 1, Revision: revision}
	for _, s := range servers {
		topo.Members = append(topo.Members, route.Member{Name: s.Name, Addr: s.Addr, State: "running", Role: "replica"})
	}
	slices.SortFunc(topo.Members, func(a, b route.Member) int { return cmp.Compare(a.Name, b.Name) })
	return topo
}
