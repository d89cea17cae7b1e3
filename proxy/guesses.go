package proxy

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Bounds of the wrong cancel keys that are looked at. Honest clients send some:
// for a session that has just ended, for one of another node. A secret of
// protocol 3.0 has 32 bits; at this pace one address needs years to hit the one
// session whose process id it knows.
const (
	guessBurst = 100                    // in one go
	guessPace  = 100 * time.Millisecond // each, beyond that
	// maxGuessers bounds the addresses that are remembered.
	maxGuessers = 4096
)

// guesses counts the wrong cancel keys by where they come from. It keeps for
// each address the time at which all its guesses will have been paid for.
type guesses struct {
	mu   sync.Mutex
	paid map[netip.Prefix]time.Time // guarded by mu
}

// allowed reports whether a cancel request from this address is looked at.
func (g *guesses) allowed(from net.Addr, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.paid[neighbourhood(from)].Sub(now) < guessBurst*guessPace
}

// wrong notes a wrong key.
func (g *guesses) wrong(from net.Addr, now time.Time) {
	where := neighbourhood(from)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.paid == nil {
		g.paid = make(map[netip.Prefix]time.Time)
	}
	due, known := g.paid[where]
	if !known && len(g.paid) >= maxGuessers {
		g.forget(now)
	}
	if due.Before(now) {
		due = now
	}
	g.paid[where] = due.Add(guessPace)
}

// right takes back one wrong: the key was right after all.
func (g *guesses) right(from net.Addr) {
	where := neighbourhood(from)
	g.mu.Lock()
	defer g.mu.Unlock()
	if due, known := g.paid[where]; known {
		g.paid[where] = due.Add(-guessPace)
	}
}

// forget makes room: for all who have paid, or else for any one of the others.
func (g *guesses) forget(now time.Time) {
	var any netip.Prefix
	for where, due := range g.paid {
		if due.Before(now) {
			delete(g.paid, where)
		}
		any = where
	}
	if len(g.paid) >= maxGuessers {
		delete(g.paid, any)
	}
}

// neighbourhood is what one guesser can have for the asking: an address of IPv4,
// a /64 of IPv6. All Unix sockets are one.
func neighbourhood(from net.Addr) netip.Prefix {
	tcp, ok := from.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	where, _ := ip.Prefix(bits)
	return where
}
