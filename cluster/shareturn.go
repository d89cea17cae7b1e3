package cluster

import (
	"slices"
	"time"
)

// turn does what is due: it takes note of what is used, of who is gone, takes what
// they had, gives what others need, and tells the ledger.
func (s *sharer) turn(now time.Duration, ledger Ledger) {
	s.survey(ledger)
	for _, p := range s.others() {
		if !p.gone && now-p.heard > s.patience(p, now) {
			s.lose(p)
		}
	}
	s.begin(now)
	s.absorb(now)
	for key, l := range s.limits {
		most := s.most(key)
		right := s.right(key, most)
		keep := min(max(right, 0), most)
		if s.ready {
			keep = s.give(now, key, right, keep, ledger)
		} else {
			keep = 0
		}
		if l.share != keep {
			ledger.Share(key, keep)
			l.share, l.dirty = keep, true
		}
		if used := s.elsewhere(key); key.Kind == NodeLimit && used != l.elsewhere {
			ledger.Elsewhere(key.Addr, used)
			l.elsewhere = used
		}
	}
}

// patience is how long a partner may be silent. It ends early after a takeover, and
// where another node has lost patience.
func (s *sharer) patience(p *partner, now time.Duration) time.Duration {
	if now < s.hasty {
		return goneSoon
	}
	for _, o := range s.partners {
		if !o.gone && o.mutual && now-o.row <= shareNews && slices.Contains(o.missing, p.name) {
			return goneSoon
		}
	}
	return goneAfter
}

// survey notes the limits that the ledger has, and those that others speak of.
func (s *sharer) survey(ledger Ledger) {
	here := make(map[LimitKey]bool, len(s.limits))
	for _, now := range ledger.Limits() {
		here[now.LimitKey] = true
		if l := s.know(now.LimitKey); l != nil && l.Limit != now {
			l.Limit, l.last, l.dirty = now, now.Max, true
		}
	}
	for key, l := range s.limits {
		if !here[key] && (l.Max > 0 || l.Used > 0) {
			l.Limit, l.dirty = Limit{LimitKey: key}, true
		}
	}
	for _, p := range s.others() {
		for key := range p.limits {
			s.know(key)
		}
		for key := range p.pairs {
			s.know(key)
		}
	}
}

// know gives the record of a limit, nil when there are too many.
func (s *sharer) know(key LimitKey) *sharedLimit {
	l := s.limits[key]
	if l == nil && len(s.limits) < maxLimits {
		l = &sharedLimit{Limit: Limit{LimitKey: key}, share: -1, dirty: true}
		s.limits[key] = l
	}
	return l
}

// pairOf gives the counters of a limit with a partner.
func (p *partner) pairOf(key LimitKey) *pair {
	pr := p.pairs[key]
	if pr == nil {
		pr = &pair{}
		p.pairs[key] = pr
	}
	return pr
}

// absorb takes what nodes had that are gone. It is the first of the living who does,
// and only when all of them see the same nodes gone: then none of them changes what
// it has given those or got from them.
func (s *sharer) absorb(now time.Duration) {
	gone, living, agreed := s.census(now)
	if len(gone) == 0 || !agreed || !s.ready || len(living) > 0 && living[0].name < s.self {
		return
	}
	for _, p := range living {
		if !p.ready {
			return // what it has from them is still open
		}
	}
	for key, l := range s.limits {
		for _, p := range gone {
			if rest := s.rest(key, p, living); rest != 0 {
				p.pairOf(key).absorbed += rest
				l.dirty = true
			}
		}
	}
}

// census tells the living from the gone, both by name; agreed says that all of the
// living are in touch and see the same nodes gone.
func (s *sharer) census(now time.Duration) (gone, living []*partner, agreed bool) {
	for _, p := range s.others() {
		if p.gone {
			gone = append(gone, p)
		} else {
			living = append(living, p)
		}
	}
	for _, p := range living {
		if !p.settled || !p.mutual || !p.complete || now-p.row > shareNews {
			return gone, living, false
		}
		for _, g := range gone {
			if !slices.Contains(p.missing, g.name) {
				return gone, living, false
			}
		}
	}
	return gone, living, true
}

// rest is what a node that is gone had left of a limit, when all is counted that
// it has given and got.
func (s *sharer) rest(key LimitKey, gone *partner, living []*partner) int {
	most := s.most(key)
	if most == 0 {
		return 0
	}
	rest := s.base(gone.name, most)
	if pr := gone.pairs[key]; pr != nil {
		rest -= pr.balance()
	}
	for _, p := range living {
		if t := p.limits[key]; t != nil {
			pr := t.pairs[gone.name]
			rest -= pr.balance()
		}
	}
	return rest
}

// give hands out what others need more, and returns how much this node may use.
func (s *sharer) give(now time.Duration, key LimitKey, right, keep int, ledger Ledger) int {
	l := s.limits[key]
	sides, targets, total := s.deal(now, key, right)
	own := slices.IndexFunc(sides, func(d side) bool { return d.partner == nil })
	for i, d := range sides {
		need, surplus := targets[i]-d.has, right-targets[own]
		urgent := d.has < max(d.demand, total/reservePart)
		if d.partner == nil || need <= 0 || surplus <= 0 || !urgent && need < max(1, total/reservePart) {
			continue
		}
		lower := min(keep, right-min(need, surplus))
		if !urgent {
			// It can wait: nobody gives up a server for it.
			lower = max(lower, min(keep, l.Used))
		}
		// First the own share is lowered, then it is seen what is free.
		used := ledger.Share(key, lower)
		l.share, l.dirty, keep = lower, true, lower
		if gift := right - max(used, lower); gift > 0 {
			d.partner.pairOf(key).out += gift
			right -= gift
		}
	}
	return min(keep, max(right, 0))
}

// side is one of those among whom a limit is divided; partner is nil for this node.
type side struct {
	partner     *partner
	has, demand int
}

// deal says among whom a limit is divided, in an order on which all agree, and what
// each is to have of what they have together.
func (s *sharer) deal(now time.Duration, key LimitKey, right int) (sides []side, targets []int, total int) {
	var demands []int
	for _, name := range s.members {
		d := side{partner: s.partners[name], has: right, demand: s.limits[key].Demand}
		if p := d.partner; p != nil {
			if p.gone || !p.mutual || now-p.row > shareNews {
				continue
			}
			d.has, d.demand = s.has(p, key), 0
			if t := p.limits[key]; t != nil {
				d.demand = t.demand
			}
		}
		sides, demands = append(sides, d), append(demands, d.demand)
		total += max(d.has, 0)
	}
	return sides, split(total, total/reservePart, demands), total
}

// has is what a partner has of a limit by its own word. What is on its way counts as
// there.
func (s *sharer) has(p *partner, key LimitKey) int {
	pr := p.pairOf(key)
	if t := p.limits[key]; t != nil {
		return t.right + pr.out - t.pairs[s.self].in
	}
	return s.base(p.name, s.most(key)) - pr.balance()
}

// split divides a limit: each gets what it needs, and no less than the reserve, as
// far as that goes, those who need least first; what is left goes by need.
func split(total, reserve int, demands []int) []int {
	targets := make([]int, len(demands))
	order := make([]int, len(demands))
	sum := 0
	for i, d := range demands {
		order[i], targets[i] = i, max(d, reserve)
		sum += d
	}
	slices.SortStableFunc(order, func(a, b int) int { return targets[a] - targets[b] })
	left := total
	for n, i := range order {
		targets[i] = min(targets[i], left/(len(order)-n))
		left -= targets[i]
	}
	if sum == 0 { // nobody needs any: evenly
		for n, i := range order {
			part := left / (len(order) - n)
			targets[i] += part
			left -= part
		}
		return targets
	}
	rest := left
	for i, d := range demands {
		part := left * d / sum
		targets[i] += part
		rest -= part
	}
	targets[slices.Index(demands, slices.Max(demands))] += rest
	return targets
}
