package proxy

import (
	"fmt"
	"slices"
	"time"

	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// While there is no node to go to, clients wait: first come, first served, for
// failover_wait_timeout at most, and within bounds for their number and for what
// they have sent meanwhile. Those who are still logging in wait on the cold path
// and count as well.

// weighPause is how often the kernel's buffers of those are looked at who have
// sent more than pgvip has taken.
const weighPause = 100 * time.Millisecond

// lot is the part of a shard where sessions are parked.
type lot struct {
	parked []parking              // first come, first served
	roles  [route.Replica + 1]int // of parked, by role
	timer  *loop.Timer
	scale  *loop.Timer // while somebody has sent more than is read
}

// parking is one session's place.
type parking struct {
	s     *session
	since time.Time
}

// parkedNow are bounded for the whole process.
func (p *Proxy) parkedNow() int64 { return p.counters.Parked.Load() + p.counters.LoginsParked.Load() }

// mayWait says whether one client more may wait for a node.
func (p *Proxy) mayWait(role route.Role) *wire.Error {
	if err := rejected(p.table.Load(), role); err != nil {
		return err
	}
	limit := int64(p.settings.Load().FailoverWaitMaxClients)
	if limit <= 0 || p.parkedNow() < limit {
		return nil
	}
	p.counters.ParkedRefused.Add(1)
	return wire.Fatal(wire.CodeTooManyConnections, nowhere(p.table.Load(), role)+", and too many clients wait for one",
		fmt.Sprintf("The limit is failover_wait_max_clients of pgvip, %d.", limit))
}

// park makes the session wait until there is a node to go to.
func (s *session) park() {
	if err := s.proxy.mayWait(s.role); err != nil {
		s.end(causeRefused, err)
		return
	}
	s.phase = parked
	sh := s.shard
	sh.parked = append(sh.parked, parking{s, sh.loop.Now()})
	sh.roles[s.role]++
	s.proxy.counters.Parked.Add(1)
	sh.armParking()
	if !s.inData {
		s.weigh(len(s.conn.Peek()))
	}
}

// behind reports that others wait for a node of this role who came before: there
// is one by now, and they are about to be told.
func (sh *shard) behind(s *session) bool { return sh.roles[s.role] > 0 }

// weigh notes that a parked session has sent n bytes. One that sends more than
// there is room for has to go; it returns false then.
func (s *session) weigh(n int) bool {
	p := s.proxy
	more := int64(n) - s.weight
	s.weight = int64(n)
	total := p.counters.ParkedBytes.Add(more)
	limit := p.settings.Load().FailoverWaitMaxBytes
	if limit > 0 && more > 0 && total > limit {
		p.counters.ParkedRefused.Add(1)
		s.end(causeRefused, wire.Fatal(wire.CodeOutOfMemory, nowhere(p.table.Load(), s.role)+", and clients that wait for one have sent too much",
			fmt.Sprintf("The limit is failover_wait_max_bytes of pgvip, %d.", limit)))
		return false
	}
	if n > 0 && !s.shard.scale.Pending() {
		s.shard.scale = s.shard.loop.After(weighPause, s.shard.weighAll)
	}
	return true
}

// weighAll looks at those who have sent more than fits into pgvip's buffers: the
// rest is in the kernel's.
func (sh *shard) weighAll() {
	full := false
	for i := len(sh.parked) - 1; i >= 0; i-- {
		s := sh.parked[i].s
		if s.phase != parked || !s.conn.Paused() {
			continue
		}
		full = true
		s.weigh(len(s.conn.Peek()) + s.conn.Unread())
	}
	if full && !sh.scale.Pending() {
		sh.scale = sh.loop.After(weighPause, sh.weighAll)
	}
}

// unweigh ends weigh.
func (s *session) unweigh() {
	if s.weight != 0 {
		s.proxy.counters.ParkedBytes.Add(-s.weight)
		s.weight = 0
	}
}

func (sh *shard) leave(s *session) {
	i := slices.IndexFunc(sh.parked, func(p parking) bool { return p.s == s })
	if i >= 0 {
		sh.parked = slices.Delete(sh.parked, i, i+1)
		sh.roles[s.role]--
		sh.proxy.counters.Parked.Add(-1)
		s.unweigh()
	}
}

// unpark lets the parked sessions look again: there is a new table.
func (sh *shard) unpark() {
	waiting := sh.parked
	sh.parked, sh.roles = nil, [len(sh.roles)]int{}
	table := sh.proxy.table.Load()
	for _, p := range waiting {
		if p.s.phase != parked {
			continue
		}
		node := p.s.choose(table)
		if err := rejected(table, p.s.role); node == nil && err != nil {
			sh.proxy.counters.Parked.Add(-1)
			p.s.unweigh()
			p.s.end(causeRefused, err)
			continue
		}
		if node == nil {
			sh.parked = append(sh.parked, p) // with its old place and time
			sh.roles[p.s.role]++
			continue
		}
		sh.proxy.counters.Parked.Add(-1)
		p.s.unweigh()
		p.s.seek()
	}
}

// armParking makes the one timer follow whoever has been parked longest.
func (sh *shard) armParking() {
	limit := sh.proxy.settings.Load().FailoverWaitTimeout
	if limit <= 0 || len(sh.parked) == 0 || sh.lot.timer.Pending() {
		return
	}
	left := limit - sh.loop.Now().Sub(sh.parked[0].since)
	sh.lot.timer = sh.loop.After(max(left, time.Millisecond), sh.expireParked)
}

func (sh *shard) expireParked() {
	limit := sh.proxy.settings.Load().FailoverWaitTimeout
	for len(sh.parked) > 0 && sh.loop.Now().Sub(sh.parked[0].since) >= limit {
		s := sh.parked[0].s
		table := sh.proxy.table.Load()
		s.end(causeRefused, noNode(table, s.role, limit))
	}
	sh.armParking()
}

func noNode(t *route.Table, role route.Role, limit time.Duration) *wire.Error {
	return wire.Fatal(wire.CodeCannotConnectNow, nowhere(t, role), "Waited failover_wait_timeout ("+limit.String()+").")
}
