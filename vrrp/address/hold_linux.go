package address

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Hold puts every address on the interface for the next Lifetime, or refreshes it.
// It tries all of them even when one fails.
func (p *Port) Hold() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.held.Swap(true) {
		p.claimants.forget()
		p.wakeAnnouncer() // who may have been told before
	}
	index := p.Link().Index
	if index == 0 {
		return fmt.Errorf("hold on %s: %w", p.o.Interface, ErrNoInterface)
	}
	var errs []error
	for _, a := range p.o.Addresses {
		err := p.rtnl.AddrReplace(nil, entry(a, index))
		if err == nil {
			p.present[a.Addr()] = true
			continue
		}
		if errors.Is(err, unix.ENODEV) {
			err = ErrNoInterface
		}
		errs = append(errs, fmt.Errorf("hold %s on %s: %w", a.Addr(), p.o.Interface, err))
	}
	return errors.Join(errs...)
}

// entry is a virtual address as the kernel is to have it: it expires, brings no route
// to its network, and is no source of this node's own connections.
func entry(a netip.Prefix, index int) *netlink.Addr {
	e := &netlink.Addr{
		IPNet:     &net.IPNet{IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen())},
		LinkIndex: index,
		ValidLft:  int(Lifetime.Seconds()),
		Flags:     unix.IFA_F_NOPREFIXROUTE,
	}
	switch {
	case a.Addr().Is6():
		// Deprecated from the start, RFC 6724 rule 3. Without duplicate address
		// detection: it would take a second, and fail while the last owner lives.
		e.PreferedLft = 0
		e.Flags |= unix.IFA_F_NODAD
	case a.IsSingleIP():
		// Of link scope it is no source for what goes through a gateway, even if
		// it is the interface's first address.
		e.Scope = unix.RT_SCOPE_LINK
		e.PreferedLft = e.ValidLft
	default:
		// Within a network that the interface has already it is a secondary
		// address, which is no source either; the kernel wants equal scopes then.
		e.PreferedLft = e.ValidLft
	}
	return e
}

// Release removes every address, however it came there, and stops announcements: when
// it returns, no further one goes out. It tries all of them even when one fails; what
// is not there is no error.
func (p *Port) Release() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held.Store(false)
	p.schedule.stop()
	p.tickles = nil
	p.present = map[netip.Addr]bool{}
	index := p.Link().Index
	if index == 0 {
		return nil
	}
	if err := clearAll(p.rtnl, index, p.o.Addresses); err != nil {
		return fmt.Errorf("release on %s: %w", p.o.Interface, err)
	}
	return nil
}

// Clear removes the addresses from the interface without a Port: what a process that
// did not end well may have left. It needs CAP_NET_ADMIN only.
func Clear(name string, addresses []netip.Prefix) error {
	rtnl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	defer rtnl.Close()
	link, err := find(rtnl, name)
	if err == nil && link.Index != 0 {
		err = clearAll(rtnl, link.Index, addresses)
	}
	if err != nil {
		return fmt.Errorf("clear %s: %w", name, err)
	}
	return nil
}

// clearAll removes the addresses from the interface with this index.
func clearAll(rtnl *netlink.Handle, index int, addresses []netip.Prefix) error {
	var errs []error
	remove := func(e *netlink.Addr) {
		err := rtnl.AddrDel(nil, e)
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("remove %s: %w", e.IP, err))
		}
	}
	for _, a := range addresses {
		remove(entry(a, index))
	}
	// Somebody may have added it with another prefix length.
	list, err := list(rtnl, index)
	if err != nil {
		errs = append(errs, fmt.Errorf("list addresses: %w", err))
	}
	for _, e := range list {
		if slices.ContainsFunc(addresses, func(a netip.Prefix) bool { return a.Addr() == local(e) }) {
			remove(&e)
		}
	}
	return errors.Join(errs...)
}

// Present says whether all the addresses are on the interface.
func (p *Port) Present() (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	index := p.Link().Index
	if index == 0 {
		return false, nil
	}
	list, err := list(p.rtnl, index)
	if err != nil {
		return false, fmt.Errorf("addresses of %s: %w", p.o.Interface, err)
	}
	there := map[netip.Addr]bool{}
	for _, e := range list {
		there[local(e)] = true
	}
	for _, a := range p.vips {
		if !there[a] {
			return false, nil
		}
	}
	return true, nil
}

// list gives the addresses of the interface with this index.
func list(rtnl *netlink.Handle, index int) ([]netlink.Addr, error) {
	all, err := rtnl.AddrList(nil, netlink.FAMILY_ALL)
	// The list changed while it was read: another try is nearly always whole.
	for i := 0; i < 3 && errors.Is(err, netlink.ErrDumpInterrupted); i++ {
		all, err = rtnl.AddrList(nil, netlink.FAMILY_ALL)
	}
	if err != nil {
		return nil, err
	}
	var list []netlink.Addr
	for _, e := range all {
		if e.LinkIndex == index {
			list = append(list, e)
		}
	}
	return list, nil
}

// local is an entry's address.
func local(e netlink.Addr) netip.Addr {
	a, _ := netip.AddrFromSlice(e.IP)
	return a.Unmap()
}

// virtual reports that an address is one of those that may live here.
func (p *Port) virtual(a netip.Addr) bool {
	return slices.Contains(p.vips, a)
}
