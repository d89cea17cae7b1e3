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
