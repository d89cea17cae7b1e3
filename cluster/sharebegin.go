package cluster

import "time"

// A node that has just started knows nothing of what the process before it has given
// and got. Its partners that were there know it (sharer.settle). What it had with one
// that has started anew as well, or is gone, nobody knows any more: it is taken for
// nothing, which leaves all shares together as they should be. But one of the two may
// come out below zero then, for it has given on what it had got; the other one, which
// has used nothing yet, makes up for it.

// begin settles with the partners that cannot tell, and once that is done lets this
// node have its shares. Until then it has none.
func (s *sharer) begin(now time.Duration) {
	if s.ready {
		return
	}
	for _, p := range s.others() {
		if !p.settled && !p.gone && s.mayBegin(p) {
			s.beginWith(p)
		}
	}
	gone, living, agreed := s.census(now)
	if !agreed {
		return
	}
	for _, p := range living {
		if p.name < s.self && !p.ready || !s.among(p, living) {
			return // it is first
		}
	}
	for _, p := range gone {
		p.settled = true
	}
	if len(gone) > 0 {
		s.makeUp(gone, living)
	}
	s.fill(living)
	s.ready = true
}

// among reports that a partner has settled with all of the living, and has known
// this process for so long that it takes nothing of those who are gone.
func (s *sharer) among(p *partner, living []*partner) bool {
	if me := find(p.whole, s.self); !me.settled || me.boot != s.boot {
		return false
	}
	for _, o := range living {
		if with := find(p.whole, o.name); o != p && (!with.settled || with.boot != o.boot) {
			return false
		}
	}
	return true
}

// fill gives to those who have less than nothing. This node has used nothing yet.
func (s *sharer) fill(living []*partner) {
	for key, l := range s.limits {
		ours := s.right(key, s.most(key))
		for _, p := range living {
			if has := s.has(p, key); has < 0 && ours > 0 {
				gift := min(-has, ours)
				p.pairOf(key).out += gift
				ours -= gift
				l.dirty = true
			}
		}
	}
}

// makeUp gives what those who are gone have given beyond what they had, or takes of
// what they had left what this node lacks.
func (s *sharer) makeUp(gone, living []*partner) {
	for key, l := range s.limits {
		rest, ours := 0, s.right(key, s.most(key))
		for _, p := range gone {
			rest += s.rest(key, p, living)
		}
		switch {
		case rest < 0 && ours > 0:
			gone[0].pairOf(key).open -= min(-rest, ours)
		case ours < 0 && rest > 0:
			gone[0].pairOf(key).open += min(-ours, rest)
		}
		l.dirty = true
	}
}

// mayBegin reports that this node and a partner are new to each other, it is this
// node that decides, and both know what they have with all who come first: those who
// can tell, and nodes whose names are before both.
func (s *sharer) mayBegin(b *partner) bool {
	if s.self >= b.name || !b.complete || find(b.whole, s.self).boot != s.boot || !b.newTo(s.self) {
		return false
	}
	for _, c := range s.others() {
		if c == b || c.gone {
			continue
		}
		later := c.name > s.self
		if !c.settled && !(later && c.newTo(s.self)) {
			return false
		}
		if !find(b.whole, c.name).settled && !(later && c.newTo(b.name)) {
			return false
		}
	}
	return true
}

// newTo reports that a partner knows no process of a node, by its own word.
func (p *partner) newTo(node string) bool { return p.row > 0 && !find(p.theirs, node).settled }

// beginWith settles with a partner that is new too.
func (s *sharer) beginWith(b *partner) {
	b.pairs = map[LimitKey]*pair{}
	b.settled = true
	for key := range b.limits {
		s.know(key)
	}
	for key, l := range s.limits {
		most := s.most(key)
		theirs := s.base(b.name, most)
		if t := b.limits[key]; t != nil {
			theirs = t.right
		}
		ours := s.right(key, most)
		switch {
		case theirs < 0 && ours > 0:
			b.pairOf(key).open = -min(-theirs, ours)
		case ours < 0 && theirs > 0:
			b.pairOf(key).open = min(-ours, theirs)
		}
		l.dirty = true
	}
}
