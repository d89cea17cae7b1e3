// Package address is the rim of the virtual IP: what the keeper does to the network
// and hears from it. A Port is one interface with the addresses that may live on it.
//
//	Hold, Release, Present   the addresses, by netlink, with a lifetime in the kernel
//	Announce, Rival, Quiet   gratuitous ARP and unsolicited NA on a schedule
//	Probe                    who answers for the addresses, if anybody
//	SendAdvert, Adverts      VRRP's packets, IP protocol 112
//	Tickle                   resets of the clients of a dead owner
//	Events                   what happened to link and addresses, and who claims them
//
// It decides nothing: whether this node may hold the addresses is the caller's to
// know. All calls return at once; what waits runs on goroutines of the Port.
//
// Linux only. Elsewhere Open fails with errors.ErrUnsupported. It needs CAP_NET_RAW
// when it opens and CAP_NET_ADMIN to change addresses.
package address

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// Lifetime is how long an address stays that nobody refreshes: the kernel removes it
// 3.0 to 3.3 s after the last Hold. It counts in whole seconds.
const Lifetime = 3 * time.Second

// Errors that callers decide by.
var (
	// ErrNoInterface says that the interface does not exist now.
	ErrNoInterface = errors.New("the interface does not exist")
	// ErrNoSource says that the interface has no address of its own to send from
	// in the family of the adverts, or not yet.
	ErrNoSource = errors.New("the interface has no address to send from")
)

// Options are fixed for a Port's life.
type Options struct {
	Interface string
	// Addresses are the virtual ones, which move together. The first one chooses
	// the family of adverts.
	Addresses []netip.Prefix

	// Source and Peers make adverts go by unicast, keepalived's unicast_src_ip and
	// unicast_peer. Without Peers they are multicast; Source then replaces the
	// interface's first address.
	Source netip.Addr
	Peers  []netip.Addr

	// Keepalived's garp_master_delay, garp_master_repeat and garp_master_refresh.
	Delay   time.Duration
	Repeat  int
	Refresh time.Duration // 0 for never
}

// Kind says what an Event tells.
type Kind int

// Kinds of events.
const (
	// LinkChanged: the interface went up or down, vanished, came back, or changed
	// its index or hardware address. Event.Link is how it is now.
	LinkChanged Kind = iota + 1
	// Removed: an address that is being held is not there any more, and it was not
	// Release: somebody removed it, or the kernel did because it was not refreshed.
	Removed
	// Appeared: an address is there that is not being held: somebody added it. Of
	// what was there before Open, Present knows.
	Appeared
	// Claimed: a frame of Event.MAC, which is none of this machine's, claims
	// Event.Address for itself: its owner, or a rival if the addresses are held here.
	// Repeats of a claim come at most once a second.
	Claimed
	// Probed is the outcome of the Probe with the number Event.Probe: Event.MAC
	// answered for Event.Address; or nobody did when both are zero; or, with
	// Event.Err, nothing is known.
	Probed
	// Failed: something the Port does by itself did not work; Event.Err says what.
	Failed
)

// String gives a short stable word.
func (k Kind) String() string {
	switch k {
	case LinkChanged:
		return "link"
	case Removed:
		return "removed"
	case Appeared:
		return "appeared"
	case Claimed:
		return "claimed"
	case Probed:
		return "probed"
	case Failed:
		return "failed"
	}
	return "unknown"
}

// Event is something that happened on the interface.
type Event struct {
	Kind    Kind
	Address netip.Addr // of Removed, Appeared, Claimed and an answered Probed
	MAC     net.HardwareAddr
	Link    Link // of LinkChanged
	Probe   int  // of Probed
	Err     error
}

// Link is the interface's state.
type Link struct {
	Index int  // 0 while it does not exist
	Up    bool // administratively up, and with a carrier
	MAC   net.HardwareAddr
}

// Packet is a received VRRP packet of somebody else.
type Packet struct {
	Source, Destination netip.Addr // without zone
	TTL                 int        // or hop limit
	// OnInterface says that it came in by the Port's interface. A multicast packet
	// that did not is dropped before.
	OnInterface bool
	Payload     []byte // without the IP header; the receiver owns it
}

// Counters only grow.
type Counters struct {
	Announced      uint64 // frames sent: gratuitous ARP and unsolicited NA
	Claims         uint64 // frames of rivals while the addresses were held
	Tickled        uint64 // clients
	AdvertsDropped uint64 // received, while Adverts was not read
	AdvertsRefused uint64 // received, but not from a peer, or not the way that is configured
}
