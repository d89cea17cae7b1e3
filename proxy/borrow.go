package proxy

import (
	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// seek looks for a server. In Data it may find one at once; otherwise Lent comes
// later.
func (s *session) seek() {
	if s.phase == parked {
		s.asks() // the wait for a node has a limit of its own
	}
	s.find()
	s.watch()
}

// find looks first for a node, then for its pool, then for a server of that.
func (s *session) find() {
	node := s.choose(s.proxy.table.Load())
	if node == nil || s.shard.behind(s) {
		s.park()
		return
	}
	p := s.pool(node)
	if p.Loop() == s.conn.Loop() {
		s.phase = queued
		if w := p.Acquire(s); w != nil {
			s.waiter = w
		}
		return
	}
	// A pool lives on one loop, and both sockets of a session belong together:
	// the client moves. It has no server now, so nothing is in flight.
	s.phase = moving
	s.conn.Loop().Post(func() { s.move(p) })
}

// choose gives the node to go to now. A reader stays where it is while that
// node is a replica, so that what it reads does not go back in time.
func (s *session) choose(t *route.Table) *route.Node {
	if s.flow != nil && s.proxy.settling.Load() {
		return nil
	}
	if s.role == route.Primary {
		return t.Primary
	}
	if !t.Has(route.Replica, s.node) || s.shares && s.proxy.settings.Load().ReadBalanceTransaction {
		s.reads(s.proxy.node(t, s.role))
	}
	return s.node
}

func (s *session) pool(node *route.Node) *pool.Pool {
	if s.last != nil && s.last.Loop() == s.conn.Loop() && s.last.Serves(node) {
		return s.last
	}
	key := pool.Key{Node: node, Database: s.who.database, User: s.who.user}
	if s.who.backend == nil {
		p := s.proxy.pools.Pool(key, s.role)
		s.join(p)
		return p
	}
	if s.private != nil {
		s.private.Dismiss()
	}
	s.private = s.proxy.pools.Private(key, s.role, s.conn.Loop(), s.who.backend)
	return s.private
}

// join makes the session count as a client of a pool, and of no other one.
func (s *session) join(p *pool.Pool) {
	if s.joined == p {
		return
	}
	p.Join()
	s.part()
	s.joined = p
}

// part ends join.
func (s *session) part() {
	if s.joined != nil {
		s.joined.Part()
		s.joined = nil
	}
}

// move takes the session to the loop of pool p.
func (s *session) move(p *pool.Pool) {
	if s.phase != moving {
		return // it has ended meanwhile
	}
	if s.statements != nil {
		s.statements.Leave()
	}
	s.shard.remove(s)
	from, to := s.home.Load(), &stay{p.Loop()}
	s.conn.Move(p.Loop(), func(err error) {
		s.home.Store(to)
		if err != nil {
			s.end(causeClientLost, nil)
			return
		}
		s.proxy.shards[p.Loop()].add(s)
		s.seek()
	})
	// Only now: who reads the new home posts behind the arrival. If that has
	// happened already, home is the new one, or even a later one.
	s.home.CompareAndSwap(from, to)
}

// rest goes back to having neither request nor server, and on to the next
// request if one has arrived already.
func (s *session) rest() {
	s.phase = resting
	s.rests()
	s.conn.Resume(loop.PauseFull)
	s.conn.ProcessLater()
}

// leaveQueue gives up waiting, wherever it waits.
func (s *session) leaveQueue() {
	if w := s.waiter; w != nil {
		s.waiter = nil
		w.Leave()
	}
	if s.phase == parked {
		s.proxy.shards[s.conn.Loop()].leave(s)
	}
}

// Profile implements pool.Borrower.
func (s *session) Profile() *pool.Profile { return &s.profile }

// Lent implements pool.Borrower.
func (s *session) Lent(server *pool.Server) {
	s.waiter = nil
	s.server = server
	s.phase = bound
	s.shares = server.Shared()
	if s.shares {
		s.last = server.Pool()
	}
	s.attach()
	s.conn.Resume(loop.PauseFull)
	if !s.inData {
		s.conn.Process()
	}
	if s.leaving && s.phase == bound {
		s.finish()
	}
}

// Refused implements pool.Borrower.
func (s *session) Refused(err *wire.Error) {
	s.waiter = nil
	s.end(causeRefused, err)
}

// Rerouted implements pool.Borrower.
func (s *session) Rerouted() {
	s.waiter = nil
	switch {
	case s.phase != queued:
	case s.replication != noReplication:
		s.endReplication()
	default:
		s.seek()
	}
}

// Reply implements pool.Borrower.
func (s *session) Reply(server *pool.Server, b []byte) {
	if !s.conn.Write(b) {
		if !s.clogged {
			s.clog()
		}
		server.Pause()
	}
}

// Ready implements pool.Borrower.
func (s *session) Ready(server *pool.Server) {
	s.mayCommit = false
	s.rests()
	over := s.shares && !s.leaving && !s.goodbye && s.fault == nil && s.frames.Between() && !s.large.whole && server.Done()
	if s.waiting && over && !s.held {
		s.waiting, s.resetting, s.held = false, false, false // the next request takes its turn
	} else if s.waiting && s.goOn() {
		return
	}
	s.resetting = false
	switch {
	case s.goodbye && !server.Settled():
		server.Terminate() // it waits for the data of a COPY
	case s.fault != nil:
		s.end(causeProtocol, s.fault)
	case s.leaving, s.goodbye:
		s.end(causeClient, nil)
	case s.proxy.draining.Load() && server.Status() == 'I':
		s.shutdown()
	case over:
		s.giveBack()
	}
}

// giveBack returns the server at the end of a transaction.
func (s *session) giveBack() {
	server := s.server
	s.server = nil
	s.conn.Resume(loop.PausePeer)
	s.rest()
	server.Release()
}

// Awaits implements pool.Borrower. What was held back until everything has been
// answered would wait for ever now: in a COPY it is for the server to refuse, and
// after an error it is skipped, or is the Sync itself.
func (s *session) Awaits(*pool.Server) {
	if !s.waiting {
		return
	}
	s.waiting, s.resetting, s.held = false, false, false
	s.conn.Loop().Post(func() {
		if s.phase == bound && !s.waiting {
			s.proceed()
		}
	})
}

// Lost implements pool.Borrower. What was in flight decides the SQLSTATE: after
// 08007 the client cannot know whether its transaction was committed (rule 13).
func (s *session) Lost(server *pool.Server, why pool.Loss) {
	s.server = nil
	flying := !server.Settled()
	switch {
	case s.goodbye:
		s.endTold(causeClient)
	case s.again && s.retries(server):
	case why == pool.LossTold:
		s.endTold(causeServer)
	case !server.Between():
		s.endTold(causeServer) // there is no place for words inside a message
	case why == pool.LossFenced && s.replication != noReplication:
		s.endReplication()
	case why == pool.LossFenced && !flying:
		s.end(causeFenced, wire.Fatal(wire.CodeAdminShutdown, "terminating connection because the primary has changed", "Connect again."))
	case why == pool.LossMaint:
		s.end(causeReplaced, wire.Fatal(wire.CodeAdminShutdown, "terminating connection because its server goes into maintenance", "Connect again."))
	case why == pool.LossReplaced:
		s.end(causeReplaced, wire.Fatal(wire.CodeAdminShutdown, "terminating connection because its server is being replaced",
			"Connect again. The setting is server_fast_close of pgvip."))
	case flying && s.mayCommit:
		s.end(causeServer, wire.Fatal(wire.CodeTransactionUnknown, "server connection was lost while a transaction may have been committing",
			"Find out whether it was committed before you repeat it."))
	default:
		s.end(causeServer, wire.Fatal(wire.CodeConnectionFailure, "server connection was lost", ""))
	}
}

// endTold ends a session that needs no word of ours.
func (s *session) endTold(why cause) {
	was := s.phase
	s.phase = ended
	s.proxy.flows.closed(s.flow)
	if s.private != nil {
		s.private.Dismiss()
	}
	s.conn.Finish()
	s.forget()
	s.logEnd(why, was, nil)
}

// Flushed implements pool.Borrower.
func (s *session) Flushed(*pool.Server) { s.conn.Resume(loop.PausePeer) }
