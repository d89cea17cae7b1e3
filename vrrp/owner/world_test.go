package owner

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"
)

// The simulation runs the real machine of two or three nodes in virtual time,
// with a virtual etcd, LAN, kernel, and the processes around the machine. A
// history is one run with random faults; it is the same for the same seed.

const ms = time.Millisecond

type event struct {
	at  time.Duration
	seq int
	do  func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].at != q[j].at {
		return q[i].at < q[j].at
	}
	return q[i].seq < q[j].seq
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

// setup is what a history is made of, apart from its faults.
type setup struct {
	count   int
	arp     bool
	without repair // rules that are switched off
	adverts bool   // VRRP adverts are heard besides the pings
	preempt bool
	linger  time.Duration // of a keeper whose main process is gone
	chaos   bool          // one thing after another changes
	long    bool          // etcd is down for long
	trace   bool
}

type world struct {
	setup
	rnd    *rand.Rand
	now    time.Duration
	events queue
	seq    int
	nodes  []*host
	boots  int
	etcd   virtualEtcd
	lan    [][]bool      // from, to
	loss   float64       // of packets
	slow   time.Duration // packets take up to this longer
	dark   time.Duration // when no living node had etcd, the last time
	watch  observer
	log    []string
}

func newWorld(seed uint64, s setup) *world {
	w := &world{setup: s, rnd: rand.New(rand.NewPCG(seed, 36))}
	w.etcd = virtualEtcd{w: w, up: true}
	for i := range s.count {
		h := &host{w: w, id: i, name: fmt.Sprintf("lb%d", i+1), drift: (w.rnd.Float64() - 0.5) * 1e-3, priority: 100,
			off: -time.Duration(w.rnd.IntN(3600)) * time.Second, requests: true, answers: true}
		if w.rnd.IntN(3) == 0 {
			h.priority += w.rnd.IntN(100)
		}
		w.nodes = append(w.nodes, h)
		w.lan = append(w.lan, make([]bool, s.count))
		for j := range w.lan[i] {
			w.lan[i][j] = true
		}
	}
	w.watch.w = w
	return w
}

// begin starts all nodes and lets them come to a first owner. That takes longest
// when there has never been one.
func (w *world) begin() {
	for _, h := range w.nodes {
		h.fit = Fitness{Listening: true, Healthy: 3}
		w.after(w.upTo(200*ms), h.powerOn)
	}
	if w.chance(0.1) {
		w.run(4 * time.Second)
		return
	}
	w.etcd.now = Snapshot{Revision: 7, Record: Record{Owner: w.pick().name, Boot: "before", Term: 3, Hold: 250 * ms, Mod: 7}}
	w.run(1700 * ms)
}

func (w *world) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.events, event{w.now + max(d, 0), w.seq, do})
}

func (w *world) run(until time.Duration) {
	for len(w.events) > 0 && w.events[0].at <= until {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
	w.now = until
	w.watch.look()
}

func (w *world) tracef(format string, args ...any) {
	if w.trace {
		w.log = append(w.log, fmt.Sprintf("%9.1f  ", float64(w.now)/1e6)+fmt.Sprintf(format, args...))
	}
}

func (w *world) upTo(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(w.rnd.Int64N(int64(d)))
}

func (w *world) chance(p float64) bool { return w.rnd.Float64() < p }

// lateness is how much later than asked a living process runs.
func (w *world) lateness() time.Duration {
	switch x := w.rnd.Float64(); {
	case x < 0.95:
		return w.upTo(1500 * time.Microsecond)
	case x < 0.995:
		return w.upTo(12 * ms)
	}
	return w.upTo(35 * ms)
}

// send brings something from one node's keeper to another's, if the wire is there
// when it is sent and when it arrives.
func (w *world) send(from, to *host, deliver func()) {
	if !w.lan[from.id][to.id] || !from.up || w.chance(w.loss) {
		return
	}
	d := 100*time.Microsecond + w.upTo(900*time.Microsecond) + w.upTo(w.slow)
	if w.chance(0.05) {
		d += w.upTo(20 * ms)
	}
	w.after(d, func() {
		if w.lan[from.id][to.id] && to.up {
			to.keeper.run(deliver)
		}
	})
}

// virtualEtcd holds the two keys.
type virtualEtcd struct {
	w    *world
	up   bool
	slow time.Duration
	now  Snapshot
	deaf func(*host, Request) bool // requests that are lost
	held []func()                  // requests that it may still see to when it is back
}

func (e *virtualEtcd) delay() time.Duration {
	d := 150*time.Microsecond + e.w.upTo(850*time.Microsecond) + e.w.upTo(e.slow)
	if e.w.chance(0.07) {
		d += e.w.upTo(30 * ms)
	}
	return d
}

// request carries a request of a keeper out: it may be lost, or be late by as long
// as an outage, on its way there and back.
func (e *virtualEtcd) request(h *host, r Request) {
	w, k := e.w, h.keeper
	answered := false
	answer := func(reply Reply) {
		k.run(func() {
			if !answered {
				answered = true
				k.answer(r.ID, reply)
			}
		})
	}
	if w.chance(0.5) { // the runtime's own time-out, or the machine's
		w.after(r.Timeout+w.upTo(20*ms), func() { answer(Reply{Err: errTimeout}) })
	}
	commit := func() {
		reply := e.commit(h, r)
		back := func() { w.after(e.delay(), func() { answer(reply) }) }
		switch {
		case h.answers:
			back()
		case w.chance(0.5):
			h.stuckAnswers = append(h.stuckAnswers, back)
		}
	}
	if e.deaf != nil && e.deaf(h, r) {
		return
	}
	there := func() { w.after(e.delay(), func() { e.arrive(r, commit) }) }
	switch {
	case h.requests:
		there()
	case w.chance(0.5):
		h.stuckRequests = append(h.stuckRequests, there)
	}
}

func (e *virtualEtcd) arrive(r Request, commit func()) {
	d := 300*time.Microsecond + e.w.upTo(1500*time.Microsecond)
	if r.writes() {
		d = 1500*time.Microsecond + e.w.upTo(6*ms)
	}
	if e.w.chance(0.03) {
		d += e.w.upTo(80 * ms)
	}
	hold := func() {
		if e.w.chance(0.5) {
			e.held = append(e.held, commit)
		}
	}
	if !e.up {
		hold()
		return
	}
	e.w.after(d, func() {
		if e.up {
			commit()
		} else {
			hold()
		}
	})
}

func (r Request) writes() bool { return r.PutRecord != nil || r.PutClaim != nil || r.DeleteClaim }

func (e *virtualEtcd) commit(h *host, r Request) Reply {
	ok := (r.RecordMod < 0 || r.RecordMod == e.now.Record.Mod) && (r.ClaimMod < 0 || r.ClaimMod == e.now.Claim.Mod)
	if ok && r.writes() {
		e.now.Revision++
		if r.PutRecord != nil {
			e.now.Record = *r.PutRecord
			e.now.Record.Mod = e.now.Revision
		}
		if r.DeleteClaim {
			e.now.Claim = Claim{}
		}
		if r.PutClaim != nil {
			e.now.Claim = *r.PutClaim
			e.now.Claim.Mod = e.now.Revision
		}
		e.w.tracef("etcd: %s by %s -> record{%s term %d mod %d hold %v wait %v} claim{%s mod %d on %d}", r.What, h.name,
			e.now.Record.Owner, e.now.Record.Term, e.now.Record.Mod, e.now.Record.Hold, e.now.Record.Wait, e.now.Claim.Node, e.now.Claim.Mod, e.now.Claim.Record)
		e.notify()
	}
	return Reply{Snapshot: e.now, Committed: ok}
}

// notify shows the keys to every watch.
func (e *virtualEtcd) notify() {
	s := e.now
	for _, h := range e.w.nodes {
		if !h.up || !h.answers || !e.up {
			continue
		}
		k := h.keeper
		e.w.after(e.delay(), func() {
			if h.answers {
				k.run(func() { k.do(k.m.Watched(h.clock(), s)) })
			}
		})
	}
}

func (e *virtualEtcd) set(up bool) {
	e.w.watch.look()
	e.up = up
	e.w.watch.look()
	if up {
		releaseAll(e.w, &e.held, 250*ms)
	}
}

// releaseAll lets held up things go on within a while.
func releaseAll(w *world, held *[]func(), within time.Duration) {
	for _, do := range *held {
		w.after(w.upTo(within), do)
	}
	*held = nil
}
