package cluster

import (
	"cmp"
	"slices"
	"time"
)

// How a limit on server connections holds over all nodes together.
//
// Each node has a share of it, and takes no more. To begin with that is an equal
// part, its base. Whoever needs less gives to whoever needs more, and lowers its own
// share before the other hears of it, so that what is lost or late on the way only
// makes the sum smaller. What two nodes have given each other are counters that grow,
// so that a message may come twice, late or never:
//
//	share of a = base + for each peer b: open + in - out
//	                                      |     |    '- given to b, ever
//	                                      |     '------ given by b, as far as heard
//	                                      '------------ from the time before
//
// The counters belong to a pair of processes. When b starts anew, a keeps the balance
// that it had with the process before as the opening one, and b takes a's word for
// it: what the old b had cannot be used by anybody else. Until b has heard it from
// all (or taken them for gone), it has no share.
//
// A node that has said goodbye, or that nobody has heard for goneAfter, is gone: the
// first of the others by name, once all of them see it so, takes the whole share of
// it (absorbed), and gives on what others need. When that very process is heard
// again, it was no death but a partition: what was taken is given back at once.
// Between the two, the sum may exceed the limit by what the parted nodes use.
//
// The machine below is pure: it gets the time and calls the ledger, which counts.

const (
	// goneAfter is how long a node may be silent before the others take its share.
	goneAfter = 2 * time.Second
	// goneSoon is that for a node that owned the virtual IP until it came here: its
	// clients are here already, and hastyFor is how long after that this counts.
	goneSoon = 300 * time.Millisecond
	hastyFor = 5 * time.Second
	// shareNews is how old the last word of a peer may be for dealings with it.
	shareNews = goneAfter / 2
	// reservePart of a limit stays with a node that needs none of it, so that it can
	// begin to serve at once.
	reservePart = 20
	// maxPast is how many processes of a node are remembered that have ended.
	maxPast = 8
	// maxLimits bounds the limits that are shared; a node keeps its base of others.
	maxLimits = 4096
)

// LimitKind says what a limit is about.
type LimitKind uint8

// Kinds of limits.
const (
	UserLimit     LimitKind = iota + 1 // max_user_connections
	DatabaseLimit                      // max_db_connections
	NodeLimit                          // what a PostgreSQL takes
)

// LimitKey names a limit, which is one for each PostgreSQL.
type LimitKey struct {
	Kind LimitKind
	Addr string // of the PostgreSQL
	Name string // of the user or database
}

// Limit is one as the pools of this node see it.
type Limit struct {
	LimitKey
	Max    int // for all nodes together; above 0
	Used   int
	Demand int // used and waited for
}

// Ledger counts the server connections of this node.
type Ledger interface {
	// Limits lists the limits that there are.
	Limits() []Limit
	// Share bounds a limit, now or once there is such a one, to what this node may
	// have of it, and tells how many are in use: those above stay, but none is added.
	Share(key LimitKey, share int) (used int)
	// Elsewhere tells how many connections the other nodes have to a PostgreSQL.
	Elsewhere(addr string, used int)
}

// sharer is this node's part in sharing the limits.
type sharer struct {
	self, boot string
	members    []string // all nodes, sorted
	partners   map[string]*partner
	limits     map[LimitKey]*sharedLimit
	// ready says that this node knows what it may have.
	ready bool
	seq   uint64        // of rows
	hasty time.Duration // until then a silent node is gone after goneSoon
}

// partner is another node.
type partner struct {
	name string
	boot string
	past []string
	// settled says that the opening balances with this process are known.
	settled bool
	gone    bool
	heard   time.Duration // when it last gave a sign of life
	pairs   map[LimitKey]*pair

	// Of its rows.
	seq     uint64
	nodes   int           // how many it counts
	mutual  bool          // it has settled with this process of ours
	row     time.Duration // when the last one came; 0 for none
	missing []string      // whom it takes for gone
	theirs  []rowPartner
	// complete says that all its limits are known as they were when it came to miss
	// those; whole is what it said of its partners then, and ready that it had shares.
	complete bool
	whole    []rowPartner
	ready    bool
	limits   map[LimitKey]*theirLimit
}

// pair is what this node and a partner have given each other.
type pair struct{ open, in, out, absorbed int }

func (p *pair) balance() int { return p.open + p.in - p.out + p.absorbed }

// theirLimit is what a partner says of a limit.
type theirLimit struct {
	seq               uint64
	max, used, demand int
	right             int
	pairs             map[string]pair // with each node
}

// sharedLimit is what this node knows of a limit of its own.
type sharedLimit struct {
	Limit      // Max is 0 while the ledger has none
	last  int  // Max when there was one
	share int  // as the ledger has it; -1 for not yet
	dirty bool // there is something to tell

	elsewhere int // as the ledger has it
}

func newSharer(self, boot string, peers []string, now time.Duration) *sharer {
	s := &sharer{self: self, boot: boot, partners: map[string]*partner{}, limits: map[LimitKey]*sharedLimit{}}
	for _, name := range peers {
		s.partners[name] = newPartner(name, now)
	}
	s.members = append(slices.Clone(peers), self)
	slices.Sort(s.members)
	return s
}

func newPartner(name string, now time.Duration) *partner {
	return &partner{name: name, heard: now, pairs: map[LimitKey]*pair{}, limits: map[LimitKey]*theirLimit{}}
}

// others are the partners of the configuration, by name.
func (s *sharer) others() []*partner {
	var list []*partner
	for _, name := range s.members {
		if p := s.partners[name]; p != nil {
			list = append(list, p)
		}
	}
	return list
}

// alive notes a sign of life that is no row.
func (s *sharer) alive(name string, now time.Duration) {
	if p := s.partners[name]; p != nil && !p.gone {
		p.heard = now
	}
}

// departed notes a goodbye of a process: what it had is free.
func (s *sharer) departed(name, boot string) {
	p := s.partners[name]
	if p == nil || p.boot != boot {
		return
	}
	p.past = append(p.past, boot)
	s.lose(p)
}

// lose takes a partner for gone.
func (s *sharer) lose(p *partner) {
	p.gone, p.mutual, p.complete = true, false, false
}

// base is what a node has of a limit to begin with. Nodes may count differently
// while a configuration is being changed: the larger number is safe.
func (s *sharer) base(node string, most int) int {
	nodes := s.nodes()
	part := most / nodes
	if s.rank(node) < most%nodes {
		part++
	}
	return part
}

// nodes is how many there are, by the largest count.
func (s *sharer) nodes() int {
	nodes := len(s.members)
	for _, p := range s.others() {
		if !p.gone && p.row > 0 {
			nodes = max(nodes, p.nodes)
		}
	}
	return nodes
}

// rank is a node's place in the order in which what cannot be divided is given; the
// last one while nodes count differently.
func (s *sharer) rank(node string) int {
	if nodes := s.nodes(); nodes != len(s.members) {
		return nodes
	}
	return slices.Index(s.members, node)
}

// elsewhere is how many of a limit the other nodes use, as far as they are here.
func (s *sharer) elsewhere(key LimitKey) int {
	used := 0
	for _, p := range s.others() {
		if t := p.limits[key]; t != nil && !p.gone {
			used += t.used
		}
	}
	return used
}

// abstain takes note of a node that shares nothing: it is as good as gone.
func (s *sharer) abstain(name string) {
	if p := s.partners[name]; p != nil && !p.gone {
		s.lose(p)
	}
}

// most is a limit as all nodes have it: the smallest, where they differ. 0 is none.
func (s *sharer) most(key LimitKey) int {
	most, last := 0, 0
	if l := s.limits[key]; l != nil {
		most, last = l.Max, l.last
	}
	for _, p := range s.others() {
		if t := p.limits[key]; t != nil && !p.gone && t.max > 0 && (most == 0 || t.max < most) {
			most = t.max
		}
	}
	return cmp.Or(most, last)
}

// right is what this node has of a limit.
func (s *sharer) right(key LimitKey, most int) int {
	right := s.base(s.self, most)
	for _, p := range s.partners {
		if pr := p.pairs[key]; pr != nil {
			right += pr.balance()
		}
	}
	return right
}

// initial is what the ledger gives a limit that Share has said nothing of.
func (s *sharer) initial(most int) int {
	if !s.ready {
		return 0
	}
	return s.base(s.self, most)
}

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
