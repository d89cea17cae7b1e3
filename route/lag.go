package route

import (
	"fmt"
	"maps"
	"time"
)

// lagState is where the hysteresis of one replica stands.
//
//	           more than the limit
//	in <---------------------------------> out
//	     Rise answers below 80 % of it
type lagState struct {
	reason string    // why it is out, empty while it is in
	good   int       // answers below 80 % in a row, while it is out
	asked  time.Time // of the last answer that was counted
}

// judgeLag says why m is too far behind to serve reads, empty when it is not. An
// answer without a known lag changes nothing: that the primary is silent is no
// fault of its replicas, and the read set must outlive it.
func (b *builder) judgeLag(m *Member) string {
	p := &b.in.Policy
	was := b.next.memo.lag[m.Name]
	if p.MaxLagBytes == 0 && p.MaxLag == 0 {
		b.setLag(m.Name, was, lagState{})
		return ""
	}
	h := b.in.Health[m.Name]
	if h.Addr != m.Addr || !h.LagKnown || b.next.Primary == nil || h.AskedAt.Equal(was.asked) {
		return was.reason
	}
	now := lagState{reason: was.reason, asked: h.AskedAt}
	switch over := p.tooFar(&h); {
	case over != "" && was.reason == "":
		now.reason = over // and stays as it was told, or every answer would be news
	case over != "":
	case was.reason != "" && p.near(&h):
		if now.good = was.good + 1; now.good >= p.Rise {
			now = lagState{asked: h.AskedAt}
		}
	}
	b.setLag(m.Name, was, now)
	return now.reason
}

// setLag replaces a state in a copy: the last table's memo is not ours to change.
func (b *builder) setLag(name string, was, now lagState) {
	if was == now {
		return
	}
	if !b.lagCopied {
		b.lagCopied = true
		b.next.memo.lag = maps.Clone(b.next.memo.lag)
	}
	if b.next.memo.lag == nil {
		b.next.memo.lag = make(map[string]lagState)
	}
	if now == (lagState{}) {
		delete(b.next.memo.lag, name)
		return
	}
	b.next.memo.lag[name] = now
}

// tooFar says which limit a replica is beyond, empty for none.
func (p *Policy) tooFar(h *NodeHealth) string {
	switch {
	case p.MaxLagBytes > 0 && h.LagBytes > p.MaxLagBytes:
		return fmt.Sprintf("lag of %d bytes, more than %d", h.LagBytes, p.MaxLagBytes)
	case p.MaxLag > 0 && h.LagTime > p.MaxLag:
		return fmt.Sprintf("lag of %v, more than %v", h.LagTime.Round(time.Millisecond), p.MaxLag)
	default:
		return ""
	}
}

// near reports that a replica is below 80 % of each limit.
func (p *Policy) near(h *NodeHealth) bool {
	return (p.MaxLagBytes == 0 || h.LagBytes <= p.MaxLagBytes/5*4) &&
		(p.MaxLag == 0 || h.LagTime <= p.MaxLag/5*4)
}

// forgetLag drops the states of members that are gone.
func (b *builder) forgetLag() {
	for name, was := range b.next.memo.lag {
		if b.in.Topology.Member(name) == nil {
			b.setLag(name, was, lagState{})
		}
	}
}
