package address

import (
	"net/netip"

	"github.com/pgvip/pgvip/vrrp/beat"
)

// Port is one interface with its virtual addresses. Its methods may be called from
// any goroutine; none of them waits for the network.
type Port struct {
	events  chan Event
	adverts chan Packet
}

// Open opens the sockets. The interface need not exist yet. An address that is left
// over from an earlier life is not removed: Release does that.
func Open(o Options) (*Port, error) { return &Port{}, nil }

// Close ends all goroutines and closes the sockets and both channels. Addresses stay
// until they expire: who wants them gone calls Release before.
func (p *Port) Close() error { return nil }

// Events are to be read until it is closed. The first one is a LinkChanged.
func (p *Port) Events() <-chan Event { return p.events }

// Adverts are the VRRP packets of others, in their order. When they are not read in
// time they are dropped and counted.
func (p *Port) Adverts() <-chan Packet { return p.adverts }

// Hold puts every address on the interface for the next Lifetime, or refreshes it.
// It tries all of them even when one fails.
func (p *Port) Hold() error { return nil }

// Release removes every address, however it came there, and stops announcements. It
// tries all of them even when one fails; what is not there is no error.
func (p *Port) Release() error { return nil }

// Present says whether all the addresses are on the interface.
func (p *Port) Present() (bool, error) { return false, nil }

// Link is the interface's state as last heard.
func (p *Port) Link() Link { return Link{} }

// Source is the address that adverts are sent from: of the family of the first
// virtual address; link-local with IPv6. It is not valid while there is none.
func (p *Port) Source() netip.Addr { return netip.Addr{} }

// Destinations are where adverts go: the multicast group, or the peers.
func (p *Port) Destinations() []netip.Addr { return nil }

// SendAdvert sends one VRRP packet, without IP header, to one of Destinations.
func (p *Port) SendAdvert(to netip.Addr, packet []byte) error { return nil }

// Announce begins the schedule of announcements anew: at once, some more soon,
// Repeat in all; the same again after Delay; then every Refresh.
func (p *Port) Announce() {}

// Rival announces at once in answer to a claim of somebody else. When called often it
// holds back more and more, so that two owners make no storm.
func (p *Port) Rival() {}

// Quiet ends announcements.
func (p *Port) Quiet() {}

// Probe asks three times who has the addresses, as one who has none of them would
// (RFC 5227), and tells the outcome as an event with the number that it returns. It
// takes less than a second. A probe that is under way is given up for the new one.
func (p *Port) Probe() int { return 0 }

// Tickle has the clients of these connections reset: each is sent a TCP segment that
// it answers, and the kernel answers that with RST. It is sent from the virtual
// address, which must be held and announced. Sending is paced.
func (p *Port) Tickle(flows []beat.Flow) {}

// Counters returns a copy.
func (p *Port) Counters() Counters { return Counters{} }
