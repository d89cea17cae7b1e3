package proxy

import (
	"slices"
	"time"

	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// shard is what the sessions of one loop share. It belongs to that loop.
type shard struct {
	proxy *Proxy
	loop  *loop.Loop
	stay  stay // of those who have not moved

	parked []parking // first come, first served
	timer  *loop.Timer
	clocks
}

// parking is one session's place.
type parking struct {
	s     *session
	since time.Time
}

// park makes the session wait until there is a node to go to.
func (s *session) park() {
	s.phase = parked
	sh := s.proxy.shards[s.conn.Loop()]
	sh.parked = append(sh.parked, parking{s, sh.loop.Now()})
	s.proxy.counters.Parked.Add(1)
	sh.arm()
}

func (sh *shard) leave(s *session) {
	i := slices.IndexFunc(sh.parked, func(p parking) bool { return p.s == s })
	if i >= 0 {
		sh.parked = slices.Delete(sh.parked, i, i+1)
		sh.proxy.counters.Parked.Add(-1)
	}
}

// unpark lets the parked sessions look again: there is a new table.
func (sh *shard) unpark() {
	waiting := sh.parked
	sh.parked = nil
	table := sh.proxy.table.Load()
	for _, p := range waiting {
		if p.s.phase != parked {
			continue
		}
		if p.s.choose(table) == nil {
			sh.parked = append(sh.parked, p) // with its old place and time
			continue
		}
		sh.proxy.counters.Parked.Add(-1)
		p.s.seek()
	}
}

// arm makes the one timer follow whoever has been parked longest.
func (sh *shard) arm() {
	limit := sh.proxy.settings.Load().FailoverWaitTimeout
	if limit <= 0 || len(sh.parked) == 0 || sh.timer.Pending() {
		return
	}
	left := limit - sh.loop.Now().Sub(sh.parked[0].since)
	sh.timer = sh.loop.After(max(left, time.Millisecond), sh.expire)
}

func (sh *shard) expire() {
	limit := sh.proxy.settings.Load().FailoverWaitTimeout
	for len(sh.parked) > 0 && sh.loop.Now().Sub(sh.parked[0].since) >= limit {
		s := sh.parked[0].s
		table := sh.proxy.table.Load()
		s.end(causeRefused, noNode(table, s.role, limit))
	}
	sh.arm()
}

func noNode(t *route.Table, role route.Role, limit time.Duration) *wire.Error {
	return wire.Fatal(wire.CodeCannotConnectNow, nowhere(t, role), "Waited failover_wait_timeout ("+limit.String()+").")
}
