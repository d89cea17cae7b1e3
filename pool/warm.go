package pool

import (
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// When a switchover is announced, servers are logged in at the node that is going
// to be the primary, so that the clients which wait need not wait for logins too.
// They are pending: they lie in a pool that nobody can ask for, count against all
// limits, and are lent to nobody.
//
//	announced          candidate proven        "not in recovery", answered
//	---------> pending -----------------> asked ------------------> idle, in the
//	             |                          |                       primary's pool
//	             '---- another primary, ----'---- anything else ---> closed
//	                   called off, a minute
//
// The proof in the new epoch is each server's own (rule 27): a node that has just
// been promoted may have been somebody else's for a moment.

// warmLimit is how long pending servers are kept for a promotion.
const warmLimit = time.Minute

// provenSQL is what a pending server must answer with true.
const provenSQL = "SELECT NOT pg_catalog.pg_is_in_recovery()"

// warmKey names a pending pool: unlike its node, it is the same before and after
// the promotion.
type warmKey struct{ name, addr, database, user string }

func (k Key) warm() warmKey { return warmKey{k.Node.Name, k.Node.Addr, k.Database, k.User} }

// warmUp begins pending pools at the nodes of h, beside each pool of the primary.
// The caller holds mu.
func (t *Set) warmUp(h *route.Hold) {
	var models []*Pool
	for _, p := range t.pools {
		if p.role == route.Primary && !p.gone.Load() {
			models = append(models, p)
		}
	}
	for _, node := range h.Warm {
		for _, model := range models {
			key := Key{Node: node, Database: model.key.Database, User: model.key.User}
			if t.pending[key.warm()] != nil {
				continue
			}
			// As one of a replica, which the node still is: its logins prove nothing.
			p := t.newPool(key, route.Replica, model.loop)
			if p.account == nil {
				continue
			}
			p.pending = true
			t.pending[key.warm()] = p
			t.register(p)
			p.loop.Post(func() { p.warmLike(model) })
		}
	}
}

// warmLike logs in as many servers as another pool has in use.
func (p *Pool) warmLike(model *Pool) {
	p.wanted = len(model.servers)
	p.disuse = p.loop.After(warmLimit, func() { p.set.endPending(p) })
	p.fill()
}

// followPending gives the pending servers to the primary once that is proven, and
// ends those that have waited in vain. The caller holds mu.
func (t *Set) followPending(table *route.Table) {
	for key, p := range t.pending {
		switch primary := table.Primary; {
		case primary != nil && primary.Name == key.name && primary.Addr == key.addr:
			delete(t.pending, key)
			heir := t.poolOn(Key{Node: primary, Database: key.database, User: key.user}, route.Primary, p.loop)
			if heir.loop == p.loop {
				p.loop.Post(func() { p.bequeath(heir) })
				continue
			}
			p.loop.Post(func() { p.Retire(false) })
		case primary != nil && table.Hold == nil:
			delete(t.pending, key)
			p.loop.Post(func() { p.Retire(false) })
		}
	}
}

// dropPending ends the pending pools, whose servers were made under settings that do
// not count any more. The caller holds mu.
func (t *Set) dropPending() {
	for key, p := range t.pending {
		delete(t.pending, key)
		p.loop.Post(func() { p.Retire(false) })
	}
}

// endPending ends a pending pool whose time is over.
func (t *Set) endPending(p *Pool) {
	t.mu.Lock()
	ours := t.pending[p.key.warm()] == p
	if ours {
		delete(t.pending, p.key.warm())
	}
	t.mu.Unlock()
	if ours {
		p.Retire(false)
	}
}

// bequeath gives the servers of a pending pool to the primary's, and those that
// are still being logged in when they come.
func (p *Pool) bequeath(heir *Pool) {
	p.log.Info("servers were warmed for the new primary", zap.Int("servers", len(p.idle)), zap.Int("logins", p.dialing))
	p.heir = heir
	heir.arriving += p.dialing
	for _, s := range append([]*Server(nil), p.idle...) {
		heir.arriving++
		p.hand(s)
	}
	p.Retire(false)
}

// hand gives one idle server of a pending pool to the heir, which has counted it
// among those that arrive.
func (p *Pool) hand(s *Server) {
	heir := p.heir
	p.removed(s)
	if heir.retired || !heir.room() {
		heir.arriving--
		p.servers[s] = struct{}{}
		s.state = settling
		s.terminate("the new primary's pool has no place for it")
		return
	}
	s.pool = heir
	s.permit = s.permit.transfer(heir.account)
	s.mode = heir.rules.Mode
	s.state = settling
	s.unproven = true
	heir.servers[s] = struct{}{}
	s.ask(proving, provenSQL)
}

// proven goes on after the answer to provenSQL.
func (s *Server) proven() {
	s.chore = noChore
	s.arrived()
	if !s.writable {
		s.terminate("warmed, but its node is in recovery")
		s.pool.fill()
		return
	}
	s.pool.set.counters.ServersWarmed.Add(1)
	s.pool.trouble = false
	// So that clients which log in now need no login of their own.
	s.pool.set.loggedIn(s.pool.key, s.pool.role, s.reported)
	s.pool.returned(s)
}

// arrived ends the time in which the server's pool counts on it without having it.
func (s *Server) arrived() {
	if s.unproven {
		s.unproven = false
		s.pool.arriving--
	}
}

// loginArrived takes a login that was under way when its pending pool ended.
func (p *Pool) loginArrived(conn *Conn, err error, generation int) {
	if err != nil || p.heir.retired {
		p.heir.arriving--
		if conn != nil {
			p.set.closeLater(conn)
		}
		p.heir.fill()
		return
	}
	s, err := p.newServer(conn, generation)
	if err != nil {
		p.heir.arriving--
		p.heir.fill()
		return
	}
	p.servers[s] = struct{}{}
	p.hand(s)
}

// oneTrue reports that a DataRow has one column, and that is true.
func oneTrue(message []byte) bool {
	return string(message[wire.HeaderSize:]) == "\x00\x01\x00\x00\x00\x01t"
}
