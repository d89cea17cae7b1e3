package advert

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Router is what a router knows of its virtual router, and compares with what it hears.
type Router struct {
	Version   int
	Router    uint8
	Interval  time.Duration
	Addresses []netip.Addr
	Auth      Auth

	Source netip.Addr   // from which it sends itself; need not be known yet
	Peers  []netip.Addr // with these it speaks by unicast, without any by multicast
}

// Finding is one thing about a packet that does not fit.
type Finding uint8

// Findings. A packet with one of the first group is not for this router to act on;
// those of the second are for an operator to know.
const (
	OtherRouter   Finding = iota + 1 // another virtual router of the same network: no fault
	Own                              // sent from this router's own address
	OtherVersion                     //
	Forwarded                        // TTL or hop limit below 255, and multicast
	WrongCast                        // unicast for a router that has no peers, or multicast for one that has
	Stranger                         // unicast by somebody who is no peer
	OtherAuth                        // type or password of version 2
	OtherInterval                    // version 2 (RFC 3768, section 7.1: "MUST discard")

	LearnedInterval // version 3, whose receivers go by the sender's interval
	OtherAddresses  // the lists differ: since 2.x keepalived goes on, too
)

func (f Finding) String() string {
	names := [...]string{
		OtherRouter: "another virtual router", Own: "sent from this router's own address",
		OtherVersion: "another version", Forwarded: "its TTL is not 255",
		WrongCast: "unicast and multicast are mixed", Stranger: "its sender is not a peer",
		OtherAuth: "other authentication", OtherInterval: "another interval",
		LearnedInterval: "another interval, which is adopted", OtherAddresses: "other addresses",
	}
	if f == 0 || int(f) >= len(names) {
		return fmt.Sprintf("Finding(%d)", uint8(f))
	}
	return names[f]
}

// Drop says that a packet with this finding must not reach the state machine.
func (f Finding) Drop() bool { return f <= OtherInterval }

// Judge compares a packet with what the router expects, as keepalived does, and says
// what does not fit: nothing in the usual case. Two things are stricter: keepalived
// hears strangers unless check_unicast_src is set, who then take part unasked; and
// RFC 9568 (section 7.1) leaves the lists of addresses to the implementation.
func (r Router) Judge(p Packet) []Finding {
	if p.Router != r.Router {
		return []Finding{OtherRouter} // the rest would be about somebody else
	}
	var found []Finding
	note := func(bad bool, f Finding) {
		if bad {
			found = append(found, f)
		}
	}
	unicast := len(r.Peers) > 0
	note(r.Source.IsValid() && p.Source == r.Source, Own)
	note(p.Version != r.Version, OtherVersion)
	note(!unicast && p.TTL != TTL, Forwarded)
	note(p.Destination.IsMulticast() == unicast, WrongCast)
	note(unicast && !slices.Contains(r.Peers, p.Source), Stranger)
	if p.Version == r.Version {
		v2 := r.Version == 2
		note(v2 && !r.Auth.equal(p.Auth), OtherAuth)
		note(v2 && p.Interval != r.Interval, OtherInterval)
		note(!v2 && p.Interval != r.Interval, LearnedInterval)
	}
	note(!sameAddresses(r.Addresses, p.Addresses), OtherAddresses)
	return found
}

// equal ignores the data of a packet without authentication (RFC 3768, section 5.3.10).
func (a Auth) equal(b Auth) bool {
	return a.Type == b.Type && (a.Type == 0 || a.Data == b.Data)
}

// sameAddresses compares without regard to order, which no RFC demands to be the same.
func sameAddresses(a, b []netip.Addr) bool {
	if slices.Equal(a, b) {
		return true // without allocation, in nearly every packet
	}
	sorted := func(l []netip.Addr) []netip.Addr {
		return slices.SortedFunc(slices.Values(l), netip.Addr.Compare)
	}
	return slices.Equal(sorted(a), sorted(b))
}
