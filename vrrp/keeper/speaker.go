package keeper

import (
	"errors"

	"github.com/pgvip/pgvip/vrrp/address"
	"github.com/pgvip/pgvip/vrrp/advert"
)

// speaker sends and judges VRRP adverts.
type speaker struct {
	k *Keeper
}

// router is what this node's adverts say, and those of others are compared with.
func (s speaker) router() advert.Router {
	v := &s.k.cfg.VIP
	r := advert.Router{
		Version: int(v.Version), Router: v.VirtualRouterID, Interval: v.AdvertInt,
		Source: s.k.port.Source(), Peers: v.UnicastPeers,
	}
	for _, a := range v.Addresses {
		if a.Addr().Is4() == v.Addresses[0].Addr().Is4() { // an advert has one family
			r.Addresses = append(r.Addresses, a.Addr())
		}
	}
	if v.Version == 2 {
		r.Auth = advert.Pass(v.AuthPass)
	}
	return r
}

// send sends one advert to all whom adverts are for.
func (s speaker) send(priority int) {
	r, source := s.router(), s.k.port.Source()
	a := advert.Advert{Version: r.Version, Router: r.Router, Priority: uint8(min(max(priority, 0), 254)),
		Interval: r.Interval, Addresses: r.Addresses, Auth: r.Auth}
	checksum := advert.PseudoHeader
	if s.k.cfg.VIP.Checksum == "rfc" {
		checksum = advert.Plain
	}
	for _, to := range s.k.port.Destinations() {
		packet, err := a.Append(nil, checksum, source, to)
		if err == nil {
			err = s.k.port.SendAdvert(to, packet)
		}
		switch {
		case err == nil:
			s.k.sent++
		case s.k.port.Link().Up && !errors.Is(err, address.ErrNoSource): // a fault tells the others
			s.k.rarely(sinceBoot(), "advert", "error", "%v", err)
		}
	}
}

// judge reads a packet and reports whether it concerns this virtual router.
func (s speaker) judge(p address.Packet) (advert.Packet, bool) {
	a, err := advert.Decode(p.Payload, p.Source, p.Destination, p.TTL)
	if err != nil {
		s.k.bad++
		s.k.rarely(sinceBoot(), "bad advert "+p.Source.String(), "peer", "advert of %s: %v", p.Source, err)
		return a, false
	}
	good := true
	for _, f := range s.router().Judge(a) {
		switch f {
		case advert.OtherRouter:
			return a, false
		case advert.LearnedInterval:
			continue
		}
		good = good && !f.Drop()
		s.k.rarely(sinceBoot(), f.String()+p.Source.String(), "peer", "advert of %s: %v", p.Source, f)
	}
	if !good {
		s.k.bad++
		return a, false
	}
	s.k.received++
	return a, true
}
