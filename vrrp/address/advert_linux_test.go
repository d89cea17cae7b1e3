package address

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hear waits for an advert with this payload and skips others.
func hear(t *testing.T, p *Port, payload string) Packet {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case a := <-p.Adverts():
			if string(a.Payload) == payload {
				return a
			}
		case <-timeout:
			t.Fatalf("no advert %q within %v", payload, patience)
		}
	}
}

// say sends an advert to all destinations.
func say(t *testing.T, p *Port, payload string) {
	t.Helper()
	for _, to := range p.Destinations() {
		if err := p.SendAdvert(to, []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAdvertsByMulticast(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	tests := []struct{ vip, group string }{
		{"10.9.0.100/32", "224.0.0.18"},
		{"fd09::100/128", "ff02::12"},
	}
	for _, tt := range tests {
		t.Run(tt.group, func(t *testing.T) {
			o := Options{Addresses: prefixes(tt.vip)}
			a, b := l.hosts[0].open(o), l.hosts[1].open(o)
			eventually(t, "sources", func() bool { return a.Source().IsValid() && b.Source().IsValid() })
			source := a.Source()
			if tt.group == "224.0.0.18" && source != netip.MustParseAddr("10.9.0.1") {
				t.Errorf("the source is %s, want the interface's address", source)
			}
			if tt.group == "ff02::12" && !source.IsLinkLocalUnicast() {
				t.Errorf("the source is %s, want a link-local one", source)
			}
			say(t, a, "one")
			got := hear(t, b, "one")
			got.Payload = nil
			want := Packet{Source: source, Destination: netip.MustParseAddr(tt.group), TTL: 255, OnInterface: true}
			if got.Source != want.Source || got.Destination != want.Destination ||
				got.TTL != want.TTL || !got.OnInterface {
				t.Errorf("received %+v, want %+v", got, want)
			}
			say(t, b, "two")
			if hear(t, a, "two"); len(a.Adverts()) > 0 {
				t.Errorf("a heard %+v besides", <-a.Adverts()) // its own would have come before
			}
		})
	}
}

func TestAdvertHasInternetControlPrecedence(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	o := Options{Addresses: prefixes("10.9.0.100/32")}
	a, b := l.hosts[0].open(o), l.hosts[1].open(o)
	var s *socket
	l.hosts[1].do(func() (err error) {
		s, err = openSocket(unix.AF_INET, unix.SOCK_RAW, protoVRRP)
		return err
	})
	defer s.close()
	say(t, a, "one")
	hear(t, b, "one")
	var header []byte
	eventually(t, "the packet", func() bool {
		s.drain(func(m message) { header = slices.Clone(m.b) })
		return header != nil
	})
	if header[1] != internetControl || !bytes.HasSuffix(header, []byte("one")) {
		t.Errorf("the packet is %x, want type of service %#x", header, internetControl)
	}
}

func TestAdvertsByUnicast(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 3)
	open := func(i int, peers ...string) *Port {
		o := Options{Addresses: prefixes("10.9.0.100/32")}
		for _, s := range peers {
			o.Peers = append(o.Peers, netip.MustParseAddr(s))
		}
		return l.hosts[i].open(o)
	}
	a, b := open(0, "10.9.0.2", "10.9.0.3"), open(1, "10.9.0.1")
	stranger, multicast := open(2, "10.9.0.2", "10.9.0.1"), l.hosts[2].open(Options{Addresses: prefixes("10.9.0.100/32")})
	say(t, stranger, "stranger")
	eventually(t, "the refusal of a stranger", func() bool { return b.Counters().AdvertsRefused == 1 })
	hear(t, a, "stranger") // to a it is a peer
	say(t, multicast, "multicast")
	say(t, a, "peer")
	got := hear(t, b, "peer")
	if got.Destination != netip.MustParseAddr("10.9.0.2") || got.TTL != 255 || !got.OnInterface {
		t.Errorf("received %+v", got)
	}
	eventually(t, "the refusal of unicast by multicast", func() bool { return multicast.Counters().AdvertsRefused >= 1 })
	if n := b.Counters().AdvertsRefused; n != 1 {
		t.Errorf("%d packets refused, want the stranger's", n)
	}
}

func TestAdvertsWithoutAnAddressYet(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	own := netip.MustParseAddr("10.9.0.1")
	l.hosts[0].remove(own)
	o := Options{Addresses: prefixes("10.9.0.100/32")}
	a, b := l.hosts[0].open(o), l.hosts[1].open(o)
	keep(t, a) // which is no address to send from
	if err := a.SendAdvert(group4, []byte("x")); !errors.Is(err, ErrNoSource) {
		t.Errorf("sent without a source: %v", err)
	}
	say(t, b, "early")
	hear(t, a, "early")
	l.hosts[0].add("10.9.0.1/24")
	eventually(t, "a source", func() bool { return a.Source() == own })
	say(t, a, "one")
	hear(t, b, "one")
}

func TestAdvertsSurviveTheInterface(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	for _, vip := range []string{"10.9.0.100/32", "fd09::100/128"} {
		t.Run(vip, func(t *testing.T) {
			o := Options{Addresses: prefixes(vip)}
			a, b := l.hosts[0].open(o), l.hosts[1].open(o)
			discard(b)
			l.hosts[1].down("eth0")
			l.hosts[1].up("eth0")
			if netip.MustParsePrefix(vip).Addr().Is6() {
				l.hosts[1].add("fd09::2/64") // as the kernel drops them with the link
			}
			l.forwards(2)
			eventually(t, "the link", func() bool { return b.Link().Up && b.Source().IsValid() })
			say(t, a, "after a flap")
			hear(t, b, "after a flap")
			// More often than a socket may have memberships.
			for range 25 {
				if err := l.hosts[1].nl.LinkDel(l.hosts[1].link("eth0")); err != nil {
					t.Fatal(err)
				}
				l.plug(2)
				want := l.hosts[1].link("eth0").Attrs().Index
				eventually(t, "the new interface", func() bool { return b.Link().Index == want })
			}
			l.hosts[1].add("10.9.0.2/24")
			eventually(t, "the new interface", func() bool { return b.Link().Up && b.Source().IsValid() })
			say(t, a, "after death")
			hear(t, b, "after death")
			say(t, b, "from the dead")
			hear(t, a, "from the dead")
			if n := b.Counters().AdvertsDropped; n != 0 {
				t.Errorf("%d adverts dropped", n)
			}
		})
	}
}

func TestOpenWithoutInterface(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1)
	if err := l.hosts[0].nl.LinkDel(l.hosts[0].link("eth0")); err != nil {
		t.Fatal(err)
	}
	p := l.hosts[0].open(both())
	if e := next(t, p, LinkChanged); e.Link.Index != 0 || e.Link.Up {
		t.Errorf("the link is %+v", e.Link)
	}
	if err := p.SendAdvert(group4, []byte("x")); !errors.Is(err, ErrNoInterface) {
		t.Errorf("sent without an interface: %v", err)
	}
	l.plug(1)
	for e := next(t, p, LinkChanged); !e.Link.Up; e = next(t, p, LinkChanged) {
	}
	if err := p.Hold(); err != nil {
		t.Error(err)
	}
}

// Whatever comes as an IPv4 packet is taken apart or refused.
func FuzzDecodeIPv4(f *testing.F) {
	f.Add(packet("45c00018 00000000 ff700000 0a090001 e0000012 31339601"))
	f.Add(packet("46c0001c 00000000 ff700000 0a090001 e0000012 94040000 31339601"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodeIPv4(b)
		if err != nil {
			return
		}
		if head := int(b[0]&0xf) * 4; head+len(p.Payload) > len(b) || !bytes.Contains(b, p.Payload) {
			t.Fatalf("payload %x of %x", p.Payload, b)
		}
	})
}
