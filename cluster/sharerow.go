package cluster

import (
	"encoding/binary"
	"slices"
	"time"
)

const (
	// rowBytes is the size up to which limits are put into one row, which is a
	// datagram.
	rowBytes = 1000
	// maxRows bounds the rows of one turn; what is left goes with the next.
	maxRows = 16
)

// shareRow is what a node tells of its shares: all of its partners, and some of its
// limits, or all of them in a complete one.
type shareRow struct {
	seq      uint64
	nodes    int
	complete bool
	ready    bool
	partners []rowPartner
	limits   []rowLimit
}

type rowPartner struct {
	name, boot    string
	settled, gone bool
}

type rowLimit struct {
	LimitKey
	max, used, demand, right int
	pairs                    map[string]pair // those with zeros are left out
}

// partner gives what a row says of a node, zeros if nothing.
func (r *shareRow) partner(name string) rowPartner { return find(r.partners, name) }

func find(list []rowPartner, name string) rowPartner {
	for _, p := range list {
		if p.name == name {
			return p
		}
	}
	return rowPartner{}
}

// rows gives what has changed since it was last told.
func (s *sharer) rows() []shareRow {
	var list []shareRow
	for len(list) < maxRows {
		row := s.row()
		size := 0
		for key, l := range s.limits {
			if !l.dirty || size > rowBytes {
				continue
			}
			l.dirty = false
			limit := s.rowLimit(key, l)
			row.limits = append(row.limits, limit)
			size += len(limit.append(nil, s.members))
		}
		if len(row.limits) == 0 {
			break
		}
		list = append(list, row)
	}
	return list
}

// row begins a row.
func (s *sharer) row() shareRow {
	s.seq++
	row := shareRow{seq: s.seq, nodes: len(s.members), ready: s.ready}
	for _, p := range s.others() {
		row.partners = append(row.partners, rowPartner{p.name, p.boot, p.settled, p.gone})
	}
	return row
}

// whole gives the complete row.
func (s *sharer) whole() shareRow {
	row := s.row()
	row.complete = true
	for key, l := range s.limits {
		row.limits = append(row.limits, s.rowLimit(key, l))
	}
	return row
}

func (s *sharer) rowLimit(key LimitKey, l *sharedLimit) rowLimit {
	r := rowLimit{LimitKey: key, max: l.Max, used: l.Used, demand: l.Demand, right: s.right(key, s.most(key)), pairs: map[string]pair{}}
	for _, p := range s.others() {
		if pr := p.pairs[key]; pr != nil && *pr != (pair{}) {
			r.pairs[p.name] = *pr
		}
	}
	return r
}

// wants are the partners whose complete row is asked for.
func (s *sharer) wants() []string {
	var list []string
	_, living, _ := s.census(0)
	for _, p := range living {
		if !p.settled || !p.complete || !p.ready || !s.ready && !s.among(p, living) {
			list = append(list, p.name)
		}
	}
	return list
}

// hear takes a row of a partner's process.
func (s *sharer) hear(now time.Duration, from, boot string, row shareRow) {
	p := s.partners[from]
	if p == nil || slices.Contains(p.past, boot) {
		return
	}
	s.follow(p, boot)
	p.heard, p.row = now, now
	me := row.partner(s.self)
	known := me.boot == s.boot
	if row.seq > p.seq {
		p.seq, p.nodes, p.mutual = row.seq, row.nodes, known && me.settled
		p.theirs = row.partners
		if missing := row.missing(); !slices.Equal(missing, p.missing) {
			p.missing, p.complete = missing, false
		}
	}
	if known {
		s.settle(p, me.settled, &row)
	}
	for i := range row.limits {
		s.note(p, row.seq, &row.limits[i])
	}
	if row.complete && row.seq == p.seq {
		p.complete, p.whole, p.ready = true, row.partners, row.ready
	}
}

// missing are the nodes that are gone for the row's sender, by name.
func (r *shareRow) missing() []string {
	var list []string
	for _, p := range r.partners {
		if p.gone {
			list = append(list, p.name)
		}
	}
	slices.Sort(list)
	return list
}

// follow turns to the process that speaks.
func (s *sharer) follow(p *partner, boot string) {
	switch {
	case p.boot == boot && p.gone:
		// It was not dead. What was taken from it is given back.
		for key, pr := range p.pairs {
			pr.absorbed = 0
			s.touch(key)
		}
	case p.boot != boot:
		if p.boot != "" {
			p.past = append(p.past, p.boot)
			p.past = p.past[max(0, len(p.past)-maxPast):]
		}
		for key, pr := range p.pairs {
			*pr = pair{open: pr.balance()}
			s.touch(key)
		}
		p.boot, p.seq, p.mutual, p.complete, p.ready = boot, 0, false, false, false
		p.limits, p.theirs, p.whole = map[LimitKey]*theirLimit{}, nil, nil
	}
	p.gone = false
}

// touchAll has everything told again.
func (s *sharer) touchAll() {
	for _, l := range s.limits {
		l.dirty = true
	}
}

func (s *sharer) touch(key LimitKey) {
	if l := s.limits[key]; l != nil {
		l.dirty = true
	}
}

// settle agrees with a partner that knows our process on what both have given each
// other; theirs says that it knows the opening balances. Where both know them and
// differ, which takes a partition, the word of the first by name counts.
func (s *sharer) settle(p *partner, theirs bool, row *shareRow) {
	if !p.settled && theirs && row.complete {
		p.pairs = map[LimitKey]*pair{}
		p.settled = true
		for i := range row.limits {
			if e := row.limits[i].pairs[s.self]; e != (pair{}) {
				p.pairs[row.limits[i].LimitKey] = &pair{open: -e.open}
			}
		}
	}
	if !p.settled || !theirs {
		return
	}
	listed := map[LimitKey]bool{}
	for i := range row.limits {
		l := &row.limits[i]
		listed[l.LimitKey] = true
		e, pr := l.pairs[s.self], p.pairOf(l.LimitKey)
		before := *pr
		pr.in = max(pr.in, e.out)
		if p.name < s.self {
			pr.open = -e.open
		}
		if before != *pr {
			s.touch(l.LimitKey)
		}
	}
	if row.complete && p.name < s.self {
		for key, pr := range p.pairs {
			if !listed[key] && pr.open != 0 {
				pr.open = 0
				s.touch(key)
			}
		}
	}
}

// note keeps what a partner says of a limit.
func (s *sharer) note(p *partner, seq uint64, l *rowLimit) {
	t := p.limits[l.LimitKey]
	if t == nil {
		if len(p.limits) >= maxLimits {
			return
		}
		t = &theirLimit{}
		p.limits[l.LimitKey] = t
	}
	if seq < t.seq {
		return
	}
	*t = theirLimit{seq: seq, max: l.max, used: l.used, demand: l.demand, right: l.right, pairs: l.pairs}
}

// Flags of a row, and of a partner in it.
const (
	flagComplete = 1 << iota
	flagReady

	flagSettled = 1
	flagGone    = 2
)

func (r shareRow) append(b []byte) []byte {
	b = binary.AppendUvarint(b, r.seq)
	b = binary.AppendUvarint(b, uint64(r.nodes))
	flags := byte(0)
	if r.complete {
		flags |= flagComplete
	}
	if r.ready {
		flags |= flagReady
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(len(r.partners)))
	names := make([]string, 0, len(r.partners))
	for _, p := range r.partners {
		flags := byte(0)
		if p.settled {
			flags |= flagSettled
		}
		if p.gone {
			flags |= flagGone
		}
		b = appendText(b, p.name)
		b = appendText(b, p.boot)
		b = append(b, flags)
		names = append(names, p.name)
	}
	b = binary.AppendUvarint(b, uint64(len(r.limits)))
	for _, l := range r.limits {
		b = l.append(b, names)
	}
	return b
}

// append writes a limit; partners stand for their places in the row.
func (l rowLimit) append(b []byte, names []string) []byte {
	b = append(b, byte(l.Kind))
	b = appendText(b, l.Addr)
	b = appendText(b, l.Name)
	for _, n := range []int{l.max, l.used, l.demand, l.right} {
		b = binary.AppendVarint(b, int64(n))
	}
	b = binary.AppendUvarint(b, uint64(len(l.pairs)))
	for i, name := range names {
		pr, ok := l.pairs[name]
		if !ok {
			continue
		}
		b = append(b, byte(i))
		for _, n := range []int{pr.open, pr.in, pr.out, pr.absorbed} {
			b = binary.AppendVarint(b, int64(n))
		}
	}
	return b
}

// Bounds on names of limits: an address, and PostgreSQL's names of 63 bytes, which
// a client may exceed without harm.
const (
	maxAddr  = 300
	maxLabel = 1024
)

func parseShareRow(d *decoder) (shareRow, error) {
	r := shareRow{seq: d.uint(), nodes: int(min(d.uint(), maxPeers+1))}
	flags := d.byte()
	r.complete, r.ready = flags&flagComplete != 0, flags&flagReady != 0
	n := d.count(3)
	if n > maxPeers {
		d.fail()
	}
	for i := 0; i < n && !d.bad; i++ {
		p := rowPartner{name: d.text(maxName), boot: d.text(maxBoot)}
		flags := d.byte()
		p.settled, p.gone = flags&flagSettled != 0, flags&flagGone != 0
		if r.partner(p.name) != (rowPartner{}) {
			d.fail()
		}
		r.partners = append(r.partners, p)
	}
	limits := d.count(8)
	if limits > maxLimits {
		d.fail()
	}
	for i := 0; i < limits && !d.bad; i++ {
		r.limits = append(r.limits, d.rowLimit(r.partners))
	}
	if d.bad {
		return shareRow{}, errMessage
	}
	return r, nil
}

func (d *decoder) rowLimit(partners []rowPartner) rowLimit {
	l := rowLimit{LimitKey: LimitKey{Kind: LimitKind(d.byte()), Addr: d.text(maxAddr), Name: d.text(maxLabel)}}
	l.max, l.used, l.demand, l.right = d.int(), d.int(), d.int(), d.int()
	l.pairs = map[string]pair{}
	last := -1
	for range d.count(5) {
		at := int(d.byte())
		pr := pair{open: d.int(), in: d.int(), out: d.int(), absorbed: d.int()}
		if d.bad || at <= last || at >= len(partners) || pr.in < 0 || pr.out < 0 {
			d.fail()
			return rowLimit{}
		}
		last = at
		l.pairs[partners[at].name] = pr
	}
	if l.Kind < UserLimit || l.Kind > NodeLimit {
		d.fail()
	}
	return l
}
