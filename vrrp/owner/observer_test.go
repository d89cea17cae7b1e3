package owner

import (
	"slices"
	"time"
)

// The classes of two holders at once. Only unexplained is a fault of the protocol.
const (
	unexplained = iota
	// unattended: a holder's keeper was dead or stopped, so that nobody could take its
	// address away before the main process replaces the keeper, or the kernel's expiry.
	replaced   // the main process was awake
	unattended // it was not
	paused     // a holder's virtual machine was paused, and its clock may not know
	inOutage   // with takeover by ARP: a holder went on alone when nobody had etcd
	classes
)

// gapOfMove is how long a planned move may leave the address with nobody (or a
// simultaneous look at both may); longer counts as no owner.
const gapOfMove = 50 * ms

// move is an address that comes or goes.
type move struct {
	at   time.Duration
	host *host
	add  bool
}

// observer watches who holds the address.
type observer struct {
	w       *world
	looked  time.Duration
	holders int
	class   int
	began   time.Duration // of two holders

	dual    [classes]time.Duration // the longest
	episode [classes]int
	// within: of two holders in an outage, how long etcd has answered all of them.
	etcdBack, within time.Duration
	back             bool // etcd could answer all holders at the last look

	moves   []move
	bad     time.Duration // since when there is not one holder
	settled time.Duration // end of the last such time that was longer than gapOfMove
	none    time.Duration // time without any holder
}

func (o *observer) moved(h *host, add bool) {
	o.moves = append(o.moves, move{o.w.now, h, add})
	o.look()
}

func (h *host) serves() bool { return h.address && h.up && !h.paused }

func (o *observer) look() {
	w := o.w
	if o.holders == 0 {
		o.none += w.now - o.looked
	}
	if o.holders >= 2 && o.class == inOutage && o.back {
		o.etcdBack += w.now - o.looked
		o.within = max(o.within, o.etcdBack)
	}
	o.looked, o.back = w.now, o.allHaveEtcd()
	before := o.holders
	o.holders = 0
	for _, h := range w.nodes {
		if h.serves() {
			o.holders++
		}
	}
	switch {
	case o.holders >= 2 && before < 2:
		o.began, o.etcdBack = w.now, 0
		o.class = o.classify()
		w.tracef("!!!! TWO HOLDERS (class %d)", o.class)
	case o.holders < 2 && before >= 2:
		o.end()
	}
	if before == 1 && o.holders != 1 {
		o.bad = w.now
	}
	if o.holders == 1 && before != 1 && (w.now-o.bad > gapOfMove || before > 1) {
		o.settled = w.now
	}
}

// close ends what is still going on.
func (o *observer) close() {
	o.look()
	if o.holders >= 2 {
		o.end()
	}
}

// end counts a time of two holders.
func (o *observer) end() {
	d := o.w.now - o.began
	o.w.tracef("!!!! one holder again after %v", d)
	if d > 0 {
		o.episode[o.class]++
		o.dual[o.class] = max(o.dual[o.class], d)
	}
}

func (o *observer) classify() int {
	w := o.w
	holders := slices.DeleteFunc(slices.Clone(w.nodes), func(h *host) bool { return !h.serves() })
	for _, h := range holders {
		if !h.keeper.awake() || h.keeper.m.resuming {
			if h.main.awake() {
				return replaced
			}
			return unattended
		}
	}
	for _, h := range holders {
		if m := h.keeper.m; w.arp && h.keeper.truth && m.own != nil && m.soloUntil() > m.now {
			return inOutage
		}
	}
	for _, h := range holders {
		if h.resumed > 0 && w.now-h.resumed < 3*time.Second {
			return paused
		}
	}
	return unexplained
}

// allHaveEtcd says whether etcd can answer every holder.
func (o *observer) allHaveEtcd() bool {
	for _, h := range o.w.nodes {
		if h.serves() && !(o.w.etcd.up && h.requests && h.answers) {
			return false
		}
	}
	return true
}
