package proxy

import (
	"net"
	"net/netip"
	"sync"

	"github.com/pgvip/pgvip/wire"
)

// Flow is the TCP connection of a client, or of the load balancer that it comes
// through.
type Flow struct{ Client, Local netip.AddrPort }

// flows notes which connections come and go, at accept and at the end: no query
// touches it. Each take begins anew, so what it holds is bounded by what happens
// between two takes.
type flows struct {
	watch func(local netip.Addr) bool // immutable; nil for nobody

	mu sync.Mutex
	// change is guarded by mu: +1 for a connection that has come since the last
	// take, -1 for one that has gone. Who has done both is not in it.
	change map[Flow]int
}

// opened notes a connection, and returns how it is to be closed; nil when nobody
// wants to know.
func (f *flows) opened(conn net.Conn) *Flow {
	if f.watch == nil {
		return nil
	}
	flow := Flow{plainAddr(conn.RemoteAddr()), plainAddr(conn.LocalAddr())}
	if !flow.Local.IsValid() || !f.watch(flow.Local.Addr()) {
		return nil
	}
	f.note(flow, 1)
	return &flow
}

// closed notes the end of a connection, before its socket is closed: the client may
// come again from the same port at once.
func (f *flows) closed(flow *Flow) {
	if flow != nil {
		f.note(*flow, -1)
	}
}

func (f *flows) note(flow Flow, by int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.change == nil {
		f.change = make(map[Flow]int)
	}
	if f.change[flow] += by; f.change[flow] == 0 {
		delete(f.change, flow)
	}
}

// plainAddr is the address as the network has it: a socket that takes both families
// shows IPv4 as a part of IPv6.
func plainAddr(a net.Addr) netip.AddrPort {
	ap := addrPort(a)
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// TakeFlows tells which of the watched connections (Options.Flows) have come and
// which have gone since the last call, those of logins and of the console too.
func (p *Proxy) TakeFlows() (opened, closed []Flow) {
	f := &p.flows
	f.mu.Lock()
	change := f.change
	f.change = nil
	f.mu.Unlock()
	for flow, by := range change {
		if by > 0 {
			opened = append(opened, flow)
		} else {
			closed = append(closed, flow)
		}
	}
	return opened, closed
}

// EndMoved ends the sessions whose clients are connected to one of our addresses
// that has gone to another node: nothing reaches them any more, and what they have
// under way must not hold up what they begin over there. With resting it ends only
// those that wait for nothing. It returns how many there are on those addresses.
func (p *Proxy) EndMoved(gone func(local netip.Addr) bool, resting bool) int {
	n := 0
	for _, s := range p.sessions.all() {
		local := s.from.local.Addr()
		if !local.IsValid() || !gone(local.Unmap()) {
			continue
		}
		n++
		if resting {
			s.post(s.movedAtRest)
		} else {
			s.post(s.moved)
		}
	}
	return n
}

// movedAtRest is moved, unless the client waits for something.
func (s *session) movedAtRest() {
	if s.phase == resting && !s.clogged {
		s.moved()
	}
}

// moved ends the session because its address is another node's now.
func (s *session) moved() {
	if s.started.IsZero() {
		s.doomed = true // start is still to come
		return
	}
	if s.server != nil && !s.server.Settled() && s.mayCommit {
		s.end(causeMoved, wire.Fatal(wire.CodeTransactionUnknown, "the virtual IP has moved while a transaction may have been committing",
			"Find out whether it was committed before you repeat it."))
		return
	}
	s.end(causeMoved, wire.Fatal(wire.CodeAdminShutdown, "terminating connection because the virtual IP has moved", "Connect again."))
}

// operatorConn is the connection of an operator, whose end is noted.
type operatorConn struct {
	net.Conn
	closed func()
}

// Close implements net.Conn.
func (c *operatorConn) Close() error {
	c.closed()
	return c.Conn.Close()
}
