package address

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// watching is owned by watch, once it runs.
type watching struct {
	first  bool    // the link was not looked at yet
	events []Event // of the first look, in Open
	// reborn says that the interface was deleted since the last look, though one
	// with its index may be there again.
	reborn bool
	broken string // the failure told last
}

// look is how often the state is read although no news came.
const look = time.Second

// watch tells what happens to the link and the addresses. News only say that there is
// something to look at; what is told is the difference between two looks. So nothing
// is lost when the kernel has to drop news (ENOBUFS).
func (p *Port) watch() {
	timeout := unix.NsecToTimeval(look.Nanoseconds())
	if err := p.news.SetReceiveTimeout(&timeout); err != nil {
		panic("BUG: " + err.Error()) // it only stores the number
	}
	p.emit(p.watching.events...)
	for {
		p.sync()
		for !p.relevant() {
		}
		if p.closed() {
			return
		}
	}
}

// relevant waits for news and reports that they may concern the interface.
func (p *Port) relevant() bool {
	msgs, _, err := p.news.Receive()
	switch {
	case errors.Is(err, os.ErrClosed), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS):
		return true
	case err != nil:
		select {
		case <-p.done:
		case <-time.After(look / 10): // whatever it is, it must not spin
		}
		return true
	}
	found := false
	for _, m := range msgs {
		found = p.concerns(m) || found
	}
	return found
}

// concerns reports that a message is about the interface or one of its addresses.
func (p *Port) concerns(m syscall.NetlinkMessage) bool {
	index := p.Link().Index
	switch m.Header.Type {
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return len(m.Data) < unix.SizeofIfAddrmsg || int(nl.DeserializeIfAddrmsg(m.Data).Index) == index
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		if len(m.Data) < unix.SizeofIfInfomsg {
			return true
		}
		ours := int(nl.DeserializeIfInfomsg(m.Data).Index) == index
		if ours && m.Header.Type == unix.RTM_DELLINK {
			p.watching.reborn = true
		}
		return ours || index == 0
	}
	return false
}

// sync looks, and tells what is different from the last time.
func (p *Port) sync() {
	p.mu.Lock()
	events, err := p.compareLocked()
	p.mu.Unlock()
	p.emit(events...)
	if err == nil {
		p.watching.broken = ""
		return
	}
	if text := err.Error(); text != p.watching.broken && !p.closed() {
		p.watching.broken = text
		p.emit(Event{Kind: Failed, Err: err})
	}
}

// compareLocked looks and updates what is known.
func (p *Port) compareLocked() ([]Event, error) {
	now, err := find(p.rtnl, p.o.Interface)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", p.o.Interface, err)
	}
	var entries []netlink.Addr
	if now.Index != 0 {
		if entries, err = list(p.rtnl, now.Index); err != nil {
			return nil, fmt.Errorf("addresses of %s: %w", p.o.Interface, err)
		}
	}
	var events []Event
	was, first := p.Link(), p.watching.first
	if first || was.Index != now.Index || was.Up != now.Up || !bytes.Equal(was.MAC, now.MAC) {
		p.link.Store(&now)
		p.changes.Add(1)
		events = append(events, Event{Kind: LinkChanged, Link: now})
		p.watching.first = false
	}
	changes := p.compareAddressesLocked(entries)
	if !first { // what was there before Open nobody has added since
		events = append(events, changes...)
	}
	p.chooseSourceLocked(entries)
	return events, p.joinLocked(now.Index)
}

// find asks for an interface; its index is 0 if it does not exist.
func find(rtnl *netlink.Handle, name string) (Link, error) {
	link, err := rtnl.LinkByName(name)
	var none netlink.LinkNotFoundError
	switch {
	case errors.As(err, &none), errors.Is(err, unix.ENODEV):
		return Link{}, nil
	case err != nil:
		return Link{}, err
	}
	a := link.Attrs()
	// RUNNING is the carrier; the kernel sets it too for links that know of none.
	up := a.Flags&net.FlagUp != 0 && a.RawFlags&unix.IFF_RUNNING != 0
	return Link{Index: a.Index, Up: up, MAC: clone(a.HardwareAddr)}, nil
}

// compareAddressesLocked tells of virtual addresses that came or went without us.
func (p *Port) compareAddressesLocked(list []netlink.Addr) []Event {
	p.locals = map[netip.Addr]bool{}
	for _, e := range list {
		p.locals[local(e)] = true
	}
	var events []Event
	for _, a := range p.vips {
		was, is := p.present[a], p.locals[a]
		p.present[a] = is
		switch {
		case was && !is && p.held.Load():
			events = append(events, Event{Kind: Removed, Address: a})
		case !was && is && !p.held.Load():
			events = append(events, Event{Kind: Appeared, Address: a})
		}
	}
	return events
}

// chooseSourceLocked sets what adverts are sent from.
func (p *Port) chooseSourceLocked(list []netlink.Addr) {
	const unfit = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED | unix.IFA_F_DEPRECATED
	source := p.o.Source
	for _, e := range list {
		a := local(e)
		if source.IsValid() || p.virtual(a) || a.Is4() != p.vips[0].Is4() || e.Flags&unfit != 0 {
			continue
		}
		// RFC 9568 section 5.1.2.1: over IPv6 it is the link-local address.
		if a.Is4() || a.IsLinkLocalUnicast() {
			source = a
		}
	}
	p.source.Store(&source)
}

// forwards reports that the interface routes IPv6.
func forwards(name string) bool {
	if strings.ContainsRune(name, '/') {
		return false
	}
	b, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + name + "/forwarding")
	return err == nil && strings.TrimSpace(string(b)) == "1"
}
