package cluster

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"
)

// resolveTimeout bounds a look-up of a peer's name. The addresses known before
// hold when it fails.
const resolveTimeout = time.Second

// roster says who the peers are, and which addresses are theirs.
type roster struct {
	mu    sync.RWMutex
	peers map[string]*seat // guarded by mu; by name
}

// seat is one peer's place.
type seat struct {
	host  string
	port  uint16
	addrs []netip.Addr // replaced, never changed; empty until resolved
}

// set replaces the peers. Those whose address is the same keep what was resolved.
func (r *roster) set(peers []Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seats := make(map[string]*seat, len(peers))
	for _, p := range peers {
		host, text, _ := net.SplitHostPort(p.Address)
		port, _ := strconv.ParseUint(text, 10, 16)
		s := &seat{host: host, port: uint16(port)}
		if old := r.peers[p.Name]; old != nil && old.host == host {
			s.addrs = old.addrs
		}
		if ip, err := netip.ParseAddr(host); err == nil {
			s.addrs = []netip.Addr{ip.Unmap()}
		}
		seats[p.Name] = s
	}
	r.peers = seats
}

// resolve looks the names of peers up. ctx ends it.
func (r *roster) resolve(ctx context.Context) {
	r.mu.RLock()
	hosts := map[string]string{}
	for name, s := range r.peers {
		if _, err := netip.ParseAddr(s.host); err != nil {
			hosts[name] = s.host
		}
	}
	r.mu.RUnlock()
	for name, host := range hosts {
		one, cancel := context.WithTimeout(ctx, resolveTimeout)
		addrs, err := net.DefaultResolver.LookupNetIP(one, "ip", host)
		cancel()
		if err != nil || len(addrs) == 0 {
			continue
		}
		for i := range addrs {
			addrs[i] = addrs[i].Unmap()
		}
		r.mu.Lock()
		if s := r.peers[name]; s != nil && s.host == host {
			s.addrs = addrs
		}
		r.mu.Unlock()
	}
}

// admits reports whether an address is some peer's.
func (r *roster) admits(from netip.Addr) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, s := range r.peers {
		if slices.Contains(s.addrs, from) {
			return true
		}
	}
	return false
}

// has reports whether there is a peer of this name.
func (r *roster) has(name string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.peers[name] != nil
}

// refuse says why a node of this name and address is not admitted, nil if it is.
func (r *roster) refuse(name string, at netip.AddrPort) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := r.peers[name]
	if s == nil {
		return fmt.Errorf("no peer of the configuration has the name %q", name)
	}
	if at.Port() != s.port || !slices.Contains(s.addrs, at.Addr().Unmap()) {
		return fmt.Errorf("%q is at %s, not where the configuration has it", name, at)
	}
	return nil
}

// names are those of all peers, sorted.
func (r *roster) names() []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	names := make([]string, 0, len(r.peers))
	for name := range r.peers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// where gives the addresses at which a peer may be.
func (r *roster) where(name string) []netip.AddrPort {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := r.peers[name]
	if s == nil {
		return nil
	}
	var list []netip.AddrPort
	for _, a := range s.addrs {
		list = append(list, netip.AddrPortFrom(a, s.port))
	}
	return list
}

// address is host:port as the configuration has it.
func (r *roster) address(name string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := r.peers[name]
	if s == nil {
		return ""
	}
	return net.JoinHostPort(s.host, strconv.Itoa(int(s.port)))
}
