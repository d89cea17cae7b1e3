// Package owner decides whether this node owns the virtual IP, with etcd as the
// arbiter. It is a pure machine: it takes what happened together with the time,
// and returns what is to be done. It never blocks, sleeps, locks or opens
// anything, and it holds no clock; vrrp/keeper drives it and carries its actions
// out, vrrp/arbiter is its way to etcd.
//
// Times are durations since the host's boot (CLOCK_BOOTTIME). A Machine belongs to
// one goroutine, which carries out the actions of each call, in their order, before
// the next call.
//
//	        claim            window over          committed
//	Backup --------> waiting ------------> winning ---------> Owner
//	  ^  |             | the owner lives      | unknown         |  lives up to a deadline:
//	  |  |             v                      v                 |  a read of etcd, or every
//	  |  |          withdrawing (until etcd has said) <---------|  peer's acknowledgement,
//	  |  |                                                      |  moves it on
//	  |  +--- release, offer: taking (no window) --------------->
//	  |  +--- no etcd for anybody: proposing to all peers ------>
//	  +------- deadline, another owner, move, main process gone <
//
// # The ownership and its number
//
// The owner key holds a Record: who owns the address, in which term, and the
// longest promise that this owner may be living on. A term is one ownership and
// grows by one with each change of owner, also with those that happen while etcd
// is out of reach; it is what the status calls the epoch. The key's mod revision
// will not do for that: an owner touches its own key when it lengthens or shortens
// its promise. Compare-and-swaps are guarded by mod revisions all the same.
//
// # Why there are not two owners
//
// Whoever wants to own writes a claim and waits for the owner's longest promise,
// which the record tells; from the claim on, a read confirms nothing to the owner
// unless it has removed the claim. A peer that acknowledges a ping promises not to
// own before the acknowledgement has run out, and acknowledges nobody while it
// claims; every configured peer must have acknowledged. repair.go lists the single
// rules, and the simulation shows for each what happens without it.
package owner

import (
	"math"
	"slices"
	"time"
)

const (
	never   = time.Duration(math.MinInt64 / 4) // longer ago than anything
	forever = time.Duration(math.MaxInt64 / 4)
)

// Machine is one node's part in the ownership of one virtual IP.
type Machine struct {
	// Immutable after New.
	cfg   Config
	start time.Duration
	rank  int // of this node's name among all
	off   repair

	// Of the current call.
	now  time.Duration
	woke time.Duration // end of the last gap in this machine's clock
	next time.Duration // when something is due
	out  []Action

	// What etcd said.
	known  bool
	seen   Snapshot
	first  Snapshot
	seenAt time.Duration
	etcdOK time.Duration // start of the last request that was answered
	stale  struct {      // how long the claim has been there
		mod   int64
		since time.Duration
	}
	lastID   uint64
	asked    map[uint64]asked
	nextRead time.Duration
	reading  int

	// The peers.
	peers    []*peer // by name
	seq      uint64
	pingAt   time.Duration
	sent     map[uint64]time.Duration // pings of this ownership
	shortSeq uint64                   // the last ping that said Short

	// What this node has promised and heard as a backup.
	born      time.Duration // what an earlier machine of this node may have promised is over
	earlier   Persist       // what an earlier machine has promised (peers have the rest)
	persisted time.Duration // the promises' end as the runtime has stored it
	heard     struct {      // the owner's last ping
		deed
		at time.Duration
	}
	advert  time.Duration // the owner's last VRRP advert
	resign  time.Duration // the owner's last advert of priority 0
	gone    release       // the last release of a peer
	retired int64         // the highest term that a peer has released

	// Ownership, and the way to it.
	own      *tenure
	try      attempt
	backoff  time.Duration // no claim before
	again    time.Duration // no proposal before
	resolve  time.Duration // the outcome of an attempt is unknown: etcd must have been read since
	owe      debt
	finished int64 // the highest term that this machine has given up
	resuming bool
	dropping *dropping
	unpaid   *deed // given up with a debt: to be released once that is paid
	told     telling

	// What the main process wants.
	fit      Fitness
	mainGone bool
	leaving  bool
	moveTo   string
	outSince time.Duration // since when this node must not own; never: it may
	rival    fitter
	offerAt  time.Duration

	outage outage

	reason   string
	ready    bool
	counters Counters
}

// New makes a machine that owns nothing yet. Tick is due at once.
func New(cfg Config, now time.Duration) (*Machine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	m := &Machine{
		cfg: cfg, start: now, now: now, woke: now, next: now,
		etcdOK: never, asked: map[uint64]asked{}, sent: map[uint64]time.Duration{},
		// What a machine of before the boot has promised is over with the boot's first seconds.
		born:    max(now+cfg.Grant+cfg.Margin, cfg.Alone+cfg.Margin),
		earlier: Persist{cfg.Promised, cfg.PromisedTerm}, persisted: cfg.Promised,
		advert: never, resign: never, backoff: never, resolve: never, outSince: never,
		resuming: cfg.Resume, seq: uint64(max(now, 0) / time.Microsecond),
	}
	m.heard.at, m.rival.since, m.offerAt = never, never, never
	m.outage.reset()
	m.owe.until = never
	for _, name := range slices.Sorted(slices.Values(cfg.Peers)) {
		m.peers = append(m.peers, newPeer(name))
		if name < cfg.Node {
			m.rank++
		}
	}
	return m, nil
}

// Next says when Tick is due. It changes with every call of another method. The
// runtime ticks punctually: what the machine holds, it holds until then.
func (m *Machine) Next() time.Duration { return m.next }

// Tick does what is due, above all giving the address up at its deadline.
func (m *Machine) Tick(now time.Duration) []Action {
	return m.do(now, func() {})
}

// Heard takes a VRRP advert of the peer of this name ("" for a foreign router). It
// is a sign of life, or with priority 0 a reason to claim, and never a proof.
func (m *Machine) Heard(now time.Duration, from string, priority uint8) []Action {
	return m.do(now, func() {
		switch owner := m.ownerName(); {
		case from == "" || from != owner:
		case priority == 0:
			m.resign = m.now
		default:
			m.advert = m.now
		}
	})
}

// Watched takes both keys as a watch shows them.
func (m *Machine) Watched(now time.Duration, s Snapshot) []Action {
	return m.do(now, func() { m.learn(s) })
}

// Fit takes how well this node could serve; it comes with each beat of the main
// process and says that this lives.
func (m *Machine) Fit(now time.Duration, f Fitness) []Action {
	return m.do(now, func() { m.fit, m.mainGone = f, false })
}

// Move asks for a planned move to the peer of this name, "*" for the best one, and
// stands until the address has moved or "-" (or "") takes it back. It may be repeated.
func (m *Machine) Move(now time.Duration, to string) []Action {
	return m.do(now, func() {
		if to == "-" {
			to = ""
		}
		m.moveTo = to
	})
}

// Leave hands the address over, to nobody if need be, and ends this node's part in
// the election: it acknowledges owners and never owns again. Status.Left says when
// it is done.
func (m *Machine) Leave(now time.Duration) []Action {
	return m.do(now, func() { m.leaving = true })
}

// MainGone says that the main process has died or is silent: the address goes at
// once. A later Fit says that it is back. A runtime that wants to exit after it
// waits for Status.Left, so that the peers have been told.
func (m *Machine) MainGone(now time.Duration) []Action {
	return m.do(now, func() {
		m.mainGone = true
		m.giveUp("the main process is gone")
	})
}

// do carries an input out between what must come before it and what follows from it.
func (m *Machine) do(now time.Duration, input func()) []Action {
	now = max(now, m.now)
	if now-m.now > m.cfg.Gap {
		m.woke = now
		m.outage.silent = never
		m.nextRead = now
	}
	m.now = now
	m.expire()
	input()
	m.act()
	out := m.out
	m.out = nil
	return out
}

// act does everything that is due and finds out when the next thing will be.
func (m *Machine) act() {
	m.next = m.now + m.cfg.Beat
	m.timeOut()
	m.tell()
	m.readOften()
	m.weigh()
	if m.resuming {
		m.resume()
		return
	}
	m.evidence()
	if m.own == nil {
		m.contend()
	}
	if m.own != nil {
		m.stay()
	}
	m.ping()
	m.ready = m.ready || m.settled()
}

// reached says whether the time t has come; if not, the machine wakes for it.
func (m *Machine) reached(t time.Duration) bool {
	if t <= m.now {
		return true
	}
	m.next = min(m.next, t)
	return false
}

func (m *Machine) emit(a Action) { m.out = append(m.out, a) }

func (m *Machine) broadcast(msg Message) {
	for _, p := range m.peers {
		m.emit(Send{To: p.name, Message: msg})
	}
}

// hasEtcd says whether etcd has answered lately.
func (m *Machine) hasEtcd() bool {
	return m.etcdOK != never && !m.reached(m.etcdOK+m.cfg.EtcdStale)
}

// dark says that etcd has not answered for long, which a new machine cannot know.
func (m *Machine) dark() bool { return !m.hasEtcd() && m.reached(m.darkSince()) }

func (m *Machine) darkSince() time.Duration { return max(m.etcdOK, m.start) + m.cfg.EtcdStale }

func (m *Machine) darkFor() time.Duration { return max(0, m.now-m.darkSince()) }

// mayOwn says whether this node takes part in the election.
func (m *Machine) mayOwn() bool { return m.outSince == never && m.dropping == nil }

// mine says whether the record names this machine's main process.
func (m *Machine) mine(r Record) bool {
	return r.Mod != 0 && r.Owner == m.cfg.Node && r.Boot == m.cfg.Boot
}
