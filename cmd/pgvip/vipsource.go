package main

import (
	"context"
	"net"
	"net/netip"
	"slices"

	"github.com/pgvip/pgvip/config"
)

// Rule 44: the virtual IP is never where a connection to PostgreSQL, etcd or
// Patroni comes from. Such a connection would break when the address moves, and
// worse, its answers would reach the new owner.

// ownDialer opens connections that come from an address which this node keeps. The
// kernel chooses as ever, and is overruled where it would take a virtual address.
type ownDialer struct {
	vips []netip.Addr
	own  []netip.Addr // of this node, by the configuration
	nic  string       // where it has more
}

// newOwnDialer gives one for a configuration, nil when there is no virtual IP.
func newOwnDialer(c *config.Config) *ownDialer {
	if !c.VIP.Enabled() {
		return nil
	}
	d := &ownDialer{nic: c.VIP.Interface}
	for _, p := range c.VIP.Addresses {
		d.vips = append(d.vips, p.Addr())
	}
	if a := c.VIP.UnicastSource; a.IsValid() {
		d.own = append(d.own, a)
	}
	for _, end := range config.Ends(c.Cluster.Address, c.Cluster.Heartbeat) {
		d.own = append(d.own, end.Addr())
	}
	return d
}

// dialFunc is for those who open connections by addresses; nil means a plain
// dialer, as it is without a virtual IP.
func (d *ownDialer) dialFunc() func(ctx context.Context, network, address string) (net.Conn, error) {
	if d == nil {
		return nil
	}
	return d.DialContext
}

// DialContext opens a connection to a numeric address.
func (d *ownDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{KeepAlive: -1} // whoever asked sets the options
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return dialer.DialContext(ctx, network, address) // a Unix socket
	}
	// Bound always, and not only when the kernel's choice is a virtual address now:
	// one may arrive between this look and the connection.
	if from := d.source(to); from.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
		dialer.Control = bindNoPort
	}
	return dialer.DialContext(ctx, network, address)
}

// source is the address to come from; the zero one leaves it to the kernel.
func (d *ownDialer) source(to netip.AddrPort) netip.Addr {
	// Connecting a UDP socket looks the route up and sends nothing.
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return netip.Addr{} // no route: the connection's own error says it better
	}
	defer conn.Close()
	chosen := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	if !slices.Contains(d.vips, chosen) {
		return chosen
	}
	for _, a := range slices.Concat(d.own, d.ofInterface()) {
		if a.Is4() == chosen.Is4() && !slices.Contains(d.vips, a) {
			return a
		}
	}
	return netip.Addr{} // better this one than none
}

// ofInterface gives the addresses of the interface that reach beyond it.
func (d *ownDialer) ofInterface() []netip.Addr {
	nic, err := net.InterfaceByName(d.nic)
	if err != nil {
		return nil
	}
	addresses, err := nic.Addrs()
	if err != nil {
		return nil
	}
	var list []netip.Addr
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLinkLocalUnicast() {
			list = append(list, p.Addr())
		}
	}
	return list
}
