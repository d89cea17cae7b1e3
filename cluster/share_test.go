package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var oneLimit = LimitKey{Kind: DatabaseLimit, Addr: "10.0.0.1:5432", Name: "app"}

// simLedger is the server connections of one node of a simulation.
type simLedger struct {
	of     *sharer
	limits map[LimitKey]*simLimit
}

type simLimit struct {
	max, used, want int
	share           int // -1 while nothing was said
}

func (l *simLedger) Limits() []Limit {
	var list []Limit
	for key, lim := range l.limits {
		if lim.max > 0 {
			list = append(list, Limit{LimitKey: key, Max: lim.max, Used: lim.used, Demand: max(lim.used, lim.want)})
		}
	}
	return list
}

func (l *simLedger) Share(key LimitKey, share int) int {
	lim := l.limits[key]
	if lim == nil {
		lim = &simLimit{}
		l.limits[key] = lim
	}
	lim.share = share
	return lim.used
}

func (l *simLedger) Elsewhere(string, int) {}

// room is how many may be open.
func (l *simLedger) room(key LimitKey) int {
	lim := l.limits[key]
	switch {
	case lim == nil || lim.max == 0:
		return 0
	case lim.share < 0:
		return l.of.initial(lim.max)
	}
	return min(lim.share, lim.max)
}

// simNode is a node's process, nil machine while it is down.
type simNode struct {
	name   string
	boots  int
	s      *sharer
	ledger *simLedger
	wants  map[LimitKey]int
	// heard is which process of each node memberlist has told of: news comes late,
	// but in order.
	heard map[string]int
}

// world is a simulation of nodes that share limits.
type world struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	now   time.Duration
	nodes []*simNode
	keys  []LimitKey
	max   map[LimitKey]int
	mail  []letter
	last  map[[2]string]time.Duration // when a row came through, from and to
	cut   map[[2]string]bool
	loss  int // percent
	log   []string
}

type letter struct {
	at       time.Duration
	from, to string
	boot     int // of the sender
	body     []byte
	want     bool
}

const simStep = 50 * time.Millisecond

func newWorld(t *testing.T, seed uint64, nodes int, limits ...int) *world {
	w := &world{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 7)), last: map[[2]string]time.Duration{}, cut: map[[2]string]bool{}, max: map[LimitKey]int{}}
	for i, most := range limits {
		key := oneLimit
		key.Name = fmt.Sprint("app", i)
		w.keys, w.max[key] = append(w.keys, key), most
	}
	for i := range nodes {
		w.nodes = append(w.nodes, &simNode{name: fmt.Sprint("lb", i+1), wants: map[LimitKey]int{}})
	}
	return w
}

func (w *world) start(n *simNode) {
	var peers []string
	for _, o := range w.nodes {
		if o != n {
			peers = append(peers, o.name)
		}
	}
	n.boots++
	n.s = newSharer(n.name, fmt.Sprint(n.name, "-", n.boots), peers, w.now)
	n.heard = map[string]int{}
	n.ledger = &simLedger{of: n.s, limits: map[LimitKey]*simLimit{}}
	for _, key := range w.keys {
		n.ledger.limits[key] = &simLimit{max: w.max[key], share: -1}
	}
	w.note("%s starts", n.s.boot)
}

func (w *world) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%8v ", w.now)+fmt.Sprintf(format, args...))
}

func (w *world) crash(n *simNode) {
	w.note("%s dies", n.s.boot)
	n.s, n.ledger = nil, nil
}

// leave is a goodbye, which comes at once to whoever lives.
func (w *world) leave(n *simNode) {
	w.note("%s leaves", n.s.boot)
	boot := n.s.boot
	n.s, n.ledger = nil, nil
	for _, o := range w.nodes {
		if o.s != nil && !w.cut[[2]string{n.name, o.name}] {
			o.s.departed(n.name, boot)
		}
	}
}

func (w *world) node(name string) *simNode {
	i := slices.IndexFunc(w.nodes, func(n *simNode) bool { return n.name == name })
	return w.nodes[i]
}

// send posts a message, which may be lost, late or doubled; but between nodes that
// live and are not parted, rows do come through again and again.
func (w *world) send(l letter) {
	way := [2]string{l.from, l.to}
	must := !l.want && w.now-w.last[way] > 400*time.Millisecond
	if w.cut[way] || !must && w.rng.IntN(100) < w.loss {
		return
	}
	for range 1 + w.rng.IntN(20)/19 {
		l.at = w.now + time.Duration(w.rng.IntN(6))*simStep
		if must {
			l.at = w.now
		}
		w.mail = append(w.mail, l)
	}
	if must {
		w.last[way] = w.now
	}
}

func (w *world) deliver() {
	var later []letter
	due := w.mail
	w.mail = nil
	w.rng.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
	for _, l := range due {
		to := w.node(l.to)
		switch {
		case l.at > w.now:
			later = append(later, l)
		case to.s == nil || to.heard[l.from] != l.boot:
		case l.want:
			w.send(letter{from: l.to, boot: to.boots, to: l.from, body: to.s.whole().append(nil)})
		default:
			row, err := parseShareRow(&decoder{b: l.body})
			if err != nil {
				w.t.Fatalf("seed %d: a row is not understood", w.seed)
			}
			to.s.hear(w.now, l.from, fmt.Sprint(l.from, "-", l.boot), row)
			w.last[[2]string{l.from, l.to}] = w.now
		}
	}
	w.mail = append(w.mail, later...)
}

// step lets 50 ms pass.
func (w *world) step() {
	w.now += simStep
	w.deliver()
	for _, n := range w.nodes {
		if n.s == nil {
			continue
		}
		w.work(n)
		for _, o := range w.nodes {
			if o.s != nil && o != n && !w.cut[[2]string{o.name, n.name}] {
				n.s.alive(o.name, w.now) // memberlist's word
				if w.rng.IntN(3) > 0 {
					n.heard[o.name] = o.boots
				}
			}
		}
		n.s.turn(w.now, n.ledger)
		rows := n.s.rows()
		if len(rows) == 0 {
			rows = []shareRow{n.s.row()}
		}
		for _, o := range w.nodes {
			if o == n {
				continue
			}
			for _, r := range rows {
				w.send(letter{from: n.name, boot: n.boots, to: o.name, body: r.append(nil)})
			}
		}
		for _, name := range n.s.wants() {
			w.send(letter{from: n.name, boot: n.boots, to: name, want: true})
		}
		if w.now%time.Second == 0 {
			n.s.touchAll()
		}
		w.work(n)
	}
}

// work opens and closes server connections as clients want them.
func (w *world) work(n *simNode) {
	for _, key := range w.keys {
		lim := n.ledger.limits[key]
		lim.want = n.wants[key]
		for lim.used > lim.want || lim.used > n.ledger.room(key) {
			if w.rng.IntN(3) == 0 {
				break // its transaction goes on
			}
			lim.used--
		}
		for lim.used < lim.want && lim.used < n.ledger.room(key) && w.rng.IntN(10) > 0 {
			lim.used++
		}
	}
}

// sum is what the living use of a limit, or could.
func (w *world) sum(key LimitKey) int {
	sum := 0
	for _, n := range w.nodes {
		if n.s != nil {
			sum += max(n.ledger.limits[key].used, n.ledger.room(key))
		}
	}
	return sum
}

// check fails when a limit is exceeded.
func (w *world) check() {
	w.t.Helper()
	for _, key := range w.keys {
		if sum := w.sum(key); sum > w.max[key] {
			w.fail("%d of %s, limit %d", sum, key.Name, w.max[key])
		}
	}
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	for _, n := range w.nodes {
		if n.s == nil {
			continue
		}
		for _, key := range w.keys {
			lim := n.ledger.limits[key]
			w.note("%s %s: used %d share %d right %d ready %t", n.s.boot, key.Name, lim.used, lim.share, n.s.right(key, w.max[key]), n.s.ready)
			for _, p := range n.s.others() {
				if pr := p.pairs[key]; pr != nil {
					w.note("    with %s: %+v settled %t mutual %t gone %t", p.boot, *pr, p.settled, p.mutual, p.gone)
				}
			}
		}
	}
	for _, n := range w.nodes {
		if n.s == nil {
			continue
		}
		for _, p := range n.s.others() {
			w.note("%s of %s: settled %t mutual %t gone %t complete %t row %v theirs %v whole %v", n.s.boot, p.boot, p.settled, p.mutual, p.gone, p.complete, p.row, p.theirs, p.whole)
		}
	}
	for _, line := range w.log[max(0, len(w.log)-40):] {
		w.t.Log(line)
	}
	w.t.Fatalf("seed %d at %v: "+format, append([]any{w.seed, w.now}, args...)...)
}

// TestSharesNeverExceed: whatever is lost, late or doubled, whoever dies, leaves and
// comes back, the nodes that live never use, nor may use, more than a limit; and once
// there is quiet, each limit is where it is needed.
func TestSharesNeverExceed(t *testing.T) {
	t.Parallel()
	seeds := []uint64{46, 131} // they need rules that the others do not
	for seed := range uint64(40) {
		seeds = append(seeds, seed)
	}
	for _, seed := range seeds {
		nodes := 2 + int(seed%3)
		w := newWorld(t, seed, nodes, 100, 7, 1)
		w.loss = w.rng.IntN(60)
		for _, n := range w.nodes {
			if w.rng.IntN(4) > 0 {
				w.start(n)
			}
		}
		for range 400 {
			w.chance()
			w.step()
			w.check()
		}
		w.calm()
	}
}

// chance changes what clients want, and who lives.
func (w *world) chance() {
	for _, n := range w.nodes {
		if w.rng.IntN(20) == 0 {
			n.wants[w.keys[w.rng.IntN(len(w.keys))]] = []int{0, 1, 5, 50, 200}[w.rng.IntN(5)]
		}
		switch {
		case n.s == nil && w.rng.IntN(25) == 0:
			w.start(n)
		case n.s != nil && w.rng.IntN(150) == 0:
			w.crash(n)
			if w.rng.IntN(3) == 0 {
				w.start(n) // at once, before anybody has missed it
			}
		case n.s != nil && w.rng.IntN(250) == 0:
			w.leave(n)
		}
	}
}

// run lets time pass, and checks all the while.
func (w *world) run(span time.Duration) {
	w.t.Helper()
	for end := w.now + span; w.now < end; {
		w.step()
		w.check()
	}
}

// calm ends the faults and looks whether limits follow the need.
func (w *world) calm() {
	w.t.Helper()
	w.loss = 0
	for _, n := range w.nodes {
		if n.s == nil {
			w.start(n)
		}
		clear(n.wants)
	}
	w.run(6 * time.Second)
	// One node has all the clients: it has all but the others' reserve.
	first := w.nodes[w.rng.IntN(len(w.nodes))]
	for _, key := range w.keys {
		first.wants[key] = 2 * w.max[key]
	}
	w.run(4 * time.Second)
	for _, key := range w.keys {
		most := w.max[key]
		least := most - (len(w.nodes)-1)*(most/reservePart)
		if used := first.ledger.limits[key].used; used < least {
			w.fail("%s, which has all clients, has %d of %d, want %d", first.name, used, most, least)
		}
	}
	// All want more than there is: each has its part.
	for _, n := range w.nodes {
		for _, key := range w.keys {
			n.wants[key] = 2 * w.max[key]
		}
	}
	w.run(6 * time.Second)
	for _, key := range w.keys {
		for _, n := range w.nodes {
			if used := n.ledger.limits[key].used; used < w.max[key]/len(w.nodes) {
				w.fail("%s has %d of %d, want its part", n.name, used, w.max[key])
			}
		}
		if sum := w.sum(key); sum != w.max[key] {
			w.fail("%d of %d are lost", w.max[key]-sum, w.max[key])
		}
	}
}

// TestSharesInAPartition: each side stays within its share until it takes the other
// for gone, then has the rest; together again, they share as before at once.
func TestSharesInAPartition(t *testing.T) {
	for seed := range uint64(50) {
		w := newWorld(t, seed, 2, 100)
		key := w.keys[0]
		a, b := w.nodes[0], w.nodes[1]
		w.start(a)
		w.start(b)
		a.wants[key] = 200
		w.run(4 * time.Second)
		before := [2]int{a.ledger.room(key), b.ledger.room(key)}
		if before[0] != 95 || a.ledger.limits[key].used != 95 {
			w.fail("the active node has %d before", before[0])
		}
		b.wants[key] = 200
		w.cut[[2]string{"lb1", "lb2"}], w.cut[[2]string{"lb2", "lb1"}] = true, true
		w.mail = nil
		w.run(goneAfter - simStep) // checks the sum
		if a.ledger.room(key) != before[0] || b.ledger.room(key) != before[1] {
			w.fail("shares changed within the bound")
		}
		for range 10 {
			w.step()
		}
		if a.ledger.room(key) != 100 || b.ledger.room(key) != 100 {
			w.fail("not the rest: %d and %d", a.ledger.room(key), b.ledger.room(key))
		}
		clear(w.cut)
		for range 40 {
			w.step()
		}
		w.check()
		w.run(4 * time.Second)
		for _, n := range w.nodes {
			if used := n.ledger.limits[key].used; used != 50 {
				w.fail("%s has %d at the end", n.name, used)
			}
		}
	}
}

// TestSharesAtTakeover: a standby has its reserve at once, and all of the limit when
// the active node has been gone for the bound, or has said goodbye.
func TestSharesAtTakeover(t *testing.T) {
	for _, goodbye := range []bool{false, true} {
		w := newWorld(t, 1, 2, 100)
		key := w.keys[0]
		a, b := w.nodes[0], w.nodes[1]
		w.start(a)
		w.start(b)
		a.wants[key] = 200
		w.run(4 * time.Second)
		bound := goneAfter + 8*simStep // the last words are under way
		if goodbye {
			w.leave(a)
			bound = simStep
		} else {
			w.crash(a)
		}
		b.wants[key] = 200
		if room := b.ledger.room(key); room != 5 {
			w.fail("the standby has %d, want its reserve", room)
		}
		w.run(bound)
		if room := b.ledger.room(key); room != 100 {
			w.fail("after a goodbye %t: %d of 100", goodbye, room)
		}
		// It comes back, and has no more than the other gives.
		delete(a.wants, key)
		w.start(a)
		w.run(4 * time.Second)
		if room := a.ledger.room(key); room != 5 {
			w.fail("back again: %d", room)
		}
	}
}

// TestSharesFollowTheVirtualIP: the node to which the address comes waits for a dead
// one no longer than it takes to know it dead, and for a living one as ever.
func TestSharesFollowTheVirtualIP(t *testing.T) {
	for _, dead := range []bool{true, false} {
		w := newWorld(t, 1, 3, 100)
		key := w.keys[0]
		a, b := w.nodes[0], w.nodes[1]
		for _, n := range w.nodes {
			w.start(n)
		}
		a.wants[key] = 200
		w.run(4 * time.Second)
		if dead {
			w.crash(a)
		}
		b.s.hasty = w.now + hastyFor
		b.wants[key] = 200
		w.run(goneSoon + 24*simStep) // below goneAfter; the last words are under way, and the third node has to agree
		room := b.ledger.room(key)
		if dead && room < 90 {
			w.fail("%d of the dead node's 100", room)
		}
		if !dead && room > 60 {
			w.fail("%d, though the other lives", room)
		}
	}
}

// TestSharesOfOneNodeAlone: without a word of the others, all of it after the bound.
func TestSharesOfOneNodeAlone(t *testing.T) {
	w := newWorld(t, 1, 3, 100, 1)
	w.start(w.nodes[1])
	w.nodes[1].wants[w.keys[0]], w.nodes[1].wants[w.keys[1]] = 200, 2
	w.run(goneAfter)
	if used := w.nodes[1].ledger.limits[w.keys[0]].used; used != 0 {
		w.fail("%d used before it is known who is there", used)
	}
	w.run(500 * time.Millisecond)
	for _, key := range w.keys {
		if used := w.nodes[1].ledger.limits[key].used; used != w.max[key] {
			w.fail("%d of %d", used, w.max[key])
		}
	}
}

// TestSharesFollowTheLimit: a limit that changes, on one node first, and the room of
// a PostgreSQL that others take a part of.
func TestSharesFollowTheLimit(t *testing.T) {
	w := newWorld(t, 3, 3, 90)
	key := w.keys[0]
	for _, n := range w.nodes {
		w.start(n)
		n.wants[key] = 200
	}
	w.run(4 * time.Second)
	for _, most := range []int{60, 120, 3, 45} {
		for i, n := range w.nodes {
			n.ledger.limits[key].max = most
			if i == 0 {
				for range 6 {
					w.step()
				}
			}
		}
		w.max[key] = most
		for range 40 {
			w.step()
		}
		w.run(6 * time.Second)
		if sum := w.sum(key); sum != most {
			w.fail("%d of %d", sum, most)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		total, reserve int
		demands, want  []int
	}{
		{100, 5, []int{0, 0}, []int{50, 50}},
		{7, 0, []int{0, 0}, []int{3, 4}},
		{100, 5, []int{30, 0}, []int{95, 5}},
		{100, 5, []int{300, 0}, []int{95, 5}},
		{100, 5, []int{300, 300}, []int{50, 50}},
		{100, 5, []int{300, 20}, []int{80, 20}},
		{100, 5, []int{60, 20}, []int{75, 25}},
		{1, 0, []int{0, 3}, []int{0, 1}},
		{0, 0, []int{1, 1}, []int{0, 0}},
		{90, 4, []int{100, 10, 0}, []int{76, 10, 4}},
	} {
		got := split(tt.total, tt.reserve, tt.demands)
		if !slices.Equal(got, tt.want) {
			t.Errorf("split(%d, %d, %v) = %v, want %v", tt.total, tt.reserve, tt.demands, got, tt.want)
		}
	}
}

// FuzzShareRow: what is understood means the same when it is written again.
func FuzzShareRow(f *testing.F) {
	s := newSharer("lb1", "boot", []string{"lb2", "lb3"}, 0)
	s.know(oneLimit)
	s.partners["lb3"].pairOf(oneLimit).out = 7
	s.partners["lb2"].boot = "other"
	f.Add(s.whole().append(nil))
	f.Add(s.row().append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		row, err := parseShareRow(&decoder{b: b})
		if err != nil {
			return
		}
		first := row.append(nil)
		again, err := parseShareRow(&decoder{b: first})
		if err != nil || !slices.Equal(again.append(nil), first) {
			t.Fatalf("%+v became %+v, %v", row, again, err)
		}
		s := newSharer("lb1", "boot", []string{"lb2", "lb3"}, 0)
		s.hear(time.Second, "lb2", "other", row)
		s.turn(time.Second, &simLedger{of: s, limits: map[LimitKey]*simLimit{}})
		s.whole()
	})
}
