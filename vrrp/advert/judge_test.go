package advert

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestJudge(t *testing.T) {
	v2 := func(p *Packet) {
		p.Version, p.Interval, p.Auth = 2, time.Second, Pass("secret")
	}
	peer, me := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.1")
	multi := Router{
		Version: 3, Router: 51, Interval: 100 * time.Millisecond, Source: me,
		Addresses: addrs("10.0.0.8", "10.0.0.9"),
	}
	uni := multi
	uni.Peers = []netip.Addr{peer}
	old := multi
	old.Version, old.Interval, old.Auth = 2, time.Second, Pass("secret")
	open := old
	open.Auth = Auth{}

	tests := []struct {
		name   string
		r      Router
		change func(*Packet)
		want   []Finding
	}{
		{"as it should be", multi, func(*Packet) {}, nil},
		{"another order of addresses", multi, func(p *Packet) { slices.Reverse(p.Addresses) }, nil},
		{"another virtual router", multi, func(p *Packet) { p.Router, p.Version, p.TTL = 7, 2, 1 }, []Finding{OtherRouter}},
		{"own packet", multi, func(p *Packet) { p.Source = me }, []Finding{Own}},
		{"version 2", multi, v2, []Finding{OtherVersion}},
		{"forwarded", multi, func(p *Packet) { p.TTL = 254 }, []Finding{Forwarded}},
		{"unicast", multi, func(p *Packet) { p.Destination = me }, []Finding{WrongCast}},
		{"interval", multi, func(p *Packet) { p.Interval = time.Second }, []Finding{LearnedInterval}},
		{"fewer addresses", multi, func(p *Packet) { p.Addresses = p.Addresses[:1] }, []Finding{OtherAddresses}},
		{"unicast of a peer", uni, func(p *Packet) { p.Destination, p.TTL = me, 64 }, nil},
		{"multicast of a peer", uni, func(*Packet) {}, []Finding{WrongCast}},
		{"unicast of a stranger", uni, func(p *Packet) { p.Destination, p.Source = me, netip.MustParseAddr("10.0.0.3") }, []Finding{Stranger}},
		{"version 2 as it should be", old, v2, nil},
		{"interval of version 2", old, func(p *Packet) { v2(p); p.Interval *= 2 }, []Finding{OtherInterval}},
		{"another password", old, func(p *Packet) { v2(p); p.Auth = Pass("guess") }, []Finding{OtherAuth}},
		{"no password", old, func(p *Packet) { v2(p); p.Auth = Auth{} }, []Finding{OtherAuth}},
		{"data without authentication", open, func(p *Packet) { v2(p); p.Auth.Type = 0 }, nil},
		{"a password that is not asked for", open, v2, []Finding{OtherAuth}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := Packet{
				Advert: Advert{Version: 3, Router: 51, Priority: 100, Interval: 100 * time.Millisecond,
					Addresses: addrs("10.0.0.8", "10.0.0.9")},
				Source: peer, Destination: Group(false), TTL: 255, Checksum: PseudoHeader,
			}
			tt.change(&p)
			if got := tt.r.Judge(p); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestWhatKeepalivedBearsIsNotDropped(t *testing.T) {
	for f := OtherRouter; f <= OtherAddresses; f++ {
		if got, want := f.Drop(), f != LearnedInterval && f != OtherAddresses; got != want {
			t.Errorf("%s: drop is %t, want %t", f, got, want)
		}
		if f.String() == "" {
			t.Errorf("finding %d has no text", f)
		}
	}
}
