package proxy

import "github.com/pgvip/pgvip/wire"

// Kill ends the sessions of a database, or with "" of all, whatever they do.
func (p *Proxy) Kill(database string) {
	for _, s := range p.sessions.all() {
		if database == "" || s.who.database == database {
			s.post(s.kill)
		}
	}
}

// KillClient ends the session with this ID, and reports whether there is one.
func (p *Proxy) KillClient(id uint64) bool {
	if id > 1<<32-1 {
		return false
	}
	s := p.sessions.find(uint32(id))
	if s != nil {
		s.post(s.kill)
	}
	return s != nil
}

// kill ends the session because an operator wants that.
func (s *session) kill() {
	if s.started.IsZero() {
		s.doomed = true // start is still to come
		return
	}
	s.end(causeKilled, wire.Fatal(wire.CodeAdminShutdown, "terminating connection due to administrator command", ""))
}

// StopAccepting lets no more clients come in. Those who log in by a Unix socket can
// still reach the console.
func (p *Proxy) StopAccepting() {
	p.closing.Store(true)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.listeners {
		if l.Addr().Network() != "unix" {
			l.Close()
		}
	}
}

// closed says to a client that it has come too late.
func (p *Proxy) closed() error {
	switch {
	case p.closing.Load():
		return wire.Fatal(wire.CodeCannotConnectNow, "pgvip is shutting down", "")
	case p.drained.Load():
		return wire.Fatal(wire.CodeCannotConnectNow, "this pgvip is drained by an operator", "Connect to another node, or to the virtual IP.")
	}
	return nil
}

// disabled says to a client that its database takes nobody.
func (p *Proxy) disabled(database string) error {
	configured := p.settings.Load().Disabled
	if !p.pools.Disabled(database, configured != nil && configured(database)) {
		return nil
	}
	return wire.Fatal(wire.CodeCannotConnectNow, "database \""+database+"\" is disabled", "")
}
