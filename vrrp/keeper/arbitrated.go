package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/pgvip/pgvip/vrrp/address"
	"github.com/pgvip/pgvip/vrrp/arbiter"
	"github.com/pgvip/pgvip/vrrp/beat"
	"github.com/pgvip/pgvip/vrrp/echo"
	"github.com/pgvip/pgvip/vrrp/owner"
)

// arbitrated is the election with etcd as its arbiter: it carries the actions of
// the owner machine out.
type arbitrated struct {
	// Immutable.
	k       *Keeper
	machine *owner.Machine
	arbiter *arbiter.Arbiter
	paths   *echo.Paths
	from    chan any // what the goroutines tell; nobody closes it
	promise promise

	// Owned by the loop.
	adverts  speaker
	names    map[netip.Addr]string // whose source of adverts it is
	paged    map[string][]time.Duration
	probes   map[int]uint64 // the machine's number of a port's probe
	unsent   []owner.Request
	fault    string
	released int64 // the last term whose release was published
	advertAt time.Duration
}

// newsWait is how many news may wait while the loop is busy: those of some beats
// of every peer.
const newsWait = 64

// minAdvertInt is the shortest that version 3 can say.
const minAdvertInt = 10 * time.Millisecond

func newArbitrated(k *Keeper, now time.Duration) (*arbitrated, error) {
	cfg := k.cfg
	e := &arbitrated{k: k, from: make(chan any, newsWait), names: map[netip.Addr]string{},
		paged: map[string][]time.Duration{}, probes: map[int]uint64{}, promise: promiseOf(cfg)}
	var names []string
	var peers []echo.Peer
	for _, p := range cfg.Peers {
		names = append(names, p.Name)
		peers = append(peers, echo.Peer{Name: p.Name, Addrs: p.Heartbeat})
		e.paged[p.Name] = make([]time.Duration, len(cfg.Heartbeat))
		for _, a := range p.Heartbeat {
			e.names[a.Addr()] = p.Name
		}
	}
	if err := e.open(names, peers); err != nil {
		return nil, err
	}
	present, err := k.port.Present()
	if err != nil {
		k.event("error", true, "%v", err)
	}
	k.found = present
	promised, term := e.promise.load(now)
	e.machine, err = owner.New(owner.Config{
		Node: cfg.Node, Boot: cfg.Boot, Priority: int(cfg.VIP.Priority), Peers: names,
		Preempt: cfg.VIP.Preempt, PreemptDelay: cfg.VIP.PreemptDelay, StartupDelay: cfg.VIP.StartupDelay,
		Resume: present, Promised: promised, PromisedTerm: term, ARP: cfg.VIP.EtcdDownTakeover == "arp",
	}, now)
	e.adverts = speaker{k: k}
	return e, err
}

// open makes the parts that wait for others.
func (e *arbitrated) open(names []string, peers []echo.Peer) error {
	cfg := e.k.cfg
	if len(peers) > 0 {
		codec, err := echo.NewCodec(cfg.Cluster, cfg.Node, names, cfg.Keys)
		if err != nil {
			return err
		}
		e.paths = echo.NewPaths(codec, echo.Options{Locals: cfg.Heartbeat, Peers: peers, Now: sinceBoot,
			Deliver: func(r echo.Received) { e.from <- r }})
	}
	var err error
	e.arbiter, err = arbiter.New(arbiter.Options{Etcd: *cfg.Etcd, Cluster: cfg.Cluster, Address: cfg.VIP.Addresses[0].Addr(),
		Now: sinceBoot, Deliver: func(n arbiter.Event) { e.from <- n }})
	return err
}

func (e *arbitrated) run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { e.arbiter.Run(ctx) })
	if e.paths != nil {
		running.Go(func() { e.paths.Run(ctx) })
	}
	running.Wait()
}

func (e *arbitrated) news() <-chan any { return e.from }

// got takes what the goroutines have found.
func (e *arbitrated) got(now time.Duration, news any) {
	switch n := news.(type) {
	case echo.Received:
		e.message(now, n)
	case arbiter.Event:
		switch n.Kind {
		case arbiter.Answered:
			e.do(now, e.machine.Answer(now, n.ID, n.Reply))
		case arbiter.Watched:
			e.do(now, e.machine.Watched(now, n.Snapshot))
		case arbiter.Told:
			e.notice(now, n.Notice)
		case arbiter.Trouble:
			e.k.rarely(now, "etcd", "outage", "%v", n.Err)
		}
	}
}

// envelope is what a datagram carries: a message of the machine, and where the
// sender's adverts come from, which with IPv6 no configuration says.
type envelope struct {
	owner.Message
	Adverts netip.Addr `json:"a,omitzero"`
}

func (e *arbitrated) message(now time.Duration, r echo.Received) {
	if r.Err != nil {
		e.k.rarely(now, "echo "+r.From, "peer", "%v", r.Err)
		return
	}
	var m envelope
	if err := json.Unmarshal(r.Message, &m); err != nil {
		e.k.rarely(now, "message "+r.From, "peer", "%s sends what this version does not understand", r.From)
		return
	}
	if heard := e.paged[r.From]; r.Path < len(heard) {
		heard[r.Path] = r.At
	}
	if m.Adverts.IsValid() {
		e.names[m.Adverts] = r.From
	}
	e.do(now, e.machine.Receive(now, r.From, m.Message))
}

// notice is what a node tells by way of etcd: a release, which its link may be too
// broken to send.
type notice struct {
	From string `json:"from"`
	owner.Message
}

func (e *arbitrated) notice(now time.Duration, text []byte) {
	var n notice
	if err := json.Unmarshal(text, &n); err != nil || n.Kind != owner.Release || e.paged[n.From] == nil {
		return // another version's, or our own
	}
	e.do(now, e.machine.Receive(now, n.From, n.Message))
}

// publish has a release told by etcd, too, once for each term.
func (e *arbitrated) publish(m owner.Message) {
	if m.Kind != owner.Release || m.Term == e.released {
		return
	}
	e.released = m.Term
	text, err := json.Marshal(notice{e.k.cfg.Node, m})
	if err != nil {
		panic("BUG: " + err.Error()) // plain values
	}
	e.arbiter.Tell(text)
}

func (e *arbitrated) next() time.Duration {
	next := e.machine.Next()
	if e.k.address.on {
		next = min(next, e.advertAt)
	}
	return next
}

func (e *arbitrated) tick(now time.Duration) {
	e.do(now, e.machine.Tick(now))
	if e.k.address.on && now >= e.advertAt {
		e.advertAt = now + max(e.k.cfg.VIP.AdvertInt, minAdvertInt)
		e.adverts.send(e.machine.Status(now).Priority)
	}
}

func (e *arbitrated) fit(now time.Duration, f beat.Fitness) {
	e.fault = f.Fault
	if e.k.fault() != "" {
		// Without its interface no move can be planned: nobody reaches the address
		// here. For the machine that is as if nobody were there to serve.
		e.do(now, e.machine.MainGone(now))
		return
	}
	e.do(now, e.machine.Fit(now, owner.Fitness{
		Listening: f.Listening, Blind: f.Blind, Healthy: f.Healthy, Weight: f.Weight, Fault: f.Fault != "",
	}))
}

func (e *arbitrated) move(now time.Duration, to string) { e.do(now, e.machine.Move(now, to)) }
func (e *arbitrated) leave(now time.Duration)           { e.do(now, e.machine.Leave(now)) }
func (e *arbitrated) mainGone(now time.Duration)        { e.do(now, e.machine.MainGone(now)) }

func (e *arbitrated) heard(now time.Duration, p address.Packet) {
	a, ok := e.adverts.judge(p)
	if !ok {
		return
	}
	name := e.names[a.Source]
	if name == "" {
		e.k.rarely(now, "router "+a.Source.String(), "conflict", "%s is no node of this cluster and speaks for virtual router %d, priority %d",
			a.Source, a.Router, a.Priority)
	}
	e.do(now, e.machine.Heard(now, name, a.Priority))
}

// probed hands a verdict on. Where nothing is known, somebody may have the address.
func (e *arbitrated) probed(now time.Duration, ev address.Event) {
	id, ok := e.probes[ev.Probe]
	if !ok {
		return
	}
	clear(e.probes) // a new probe has ended those before
	e.do(now, e.machine.Probed(now, id, ev.MAC != nil || ev.Err != nil))
}

// do carries actions out in their order, and then what follows from them.
func (e *arbitrated) do(now time.Duration, actions []owner.Action) {
	for len(actions) > 0 {
		dropped := false
		for _, a := range actions {
			dropped = e.perform(a) || dropped
		}
		actions = nil
		if dropped {
			actions = e.machine.Dropped(now)
		}
		for _, r := range e.unsent {
			actions = append(actions, e.machine.Answer(now, r.ID, owner.Reply{Err: arbiter.ErrBusy})...)
		}
		e.unsent = nil
	}
}

// perform carries one action out, and reports whether the address has been dropped.
func (e *arbitrated) perform(a owner.Action) bool {
	switch a := a.(type) {
	case owner.Send:
		e.send(a)
	case owner.Request:
		if err := e.arbiter.Do(a); errors.Is(err, arbiter.ErrBusy) {
			e.unsent = append(e.unsent, a)
		}
	case owner.Hold:
		fresh := !e.k.address.on
		e.k.found = false
		e.k.address.hold(a.Until)
		if fresh {
			e.advertAt = 0
			e.k.announce()
		}
	case owner.Drop:
		return e.drop()
	case owner.Probe:
		e.probes[e.k.port.Probe()] = a.ID
	case owner.Persist:
		// A promise that cannot be stored is given all the same: without it the address
		// would go in an outage of etcd, with it only a keeper that is replaced within
		// these seconds could break it.
		if err := e.promise.store(a.Until, a.Term); err != nil {
			e.k.rarely(sinceBoot(), "promise", "error", "%v", err)
		}
	case owner.Note:
		e.note(a)
	}
	return false
}

func (e *arbitrated) send(a owner.Send) {
	e.publish(a.Message)
	message, err := json.Marshal(envelope{a.Message, e.k.port.Source()})
	if err != nil {
		panic("BUG: " + err.Error()) // plain values
	}
	if e.paths == nil {
		return
	}
	if err := e.paths.Send(a.To, message); err != nil {
		e.k.rarely(sinceBoot(), "send", "error", "%v", err)
	}
}

// note passes an event on. What the machine takes for the main process's end can be
// the interface's.
func (e *arbitrated) note(n owner.Note) {
	if why := e.k.fault(); why != "" && e.k.gone == 0 {
		n.Text = strings.Replace(n.Text, "the main process is gone", why, 1)
	}
	e.k.event(n.Kind, n.Warn, "%s", n.Text)
}

// drop removes the address and tells routers that only know VRRP.
func (e *arbitrated) drop() bool {
	was := e.k.address.on
	e.k.found = false
	if !e.k.address.release() {
		return false
	}
	if was {
		e.adverts.send(0)
	}
	return true
}

func (e *arbitrated) status(now time.Duration, s *beat.Status) {
	st := e.machine.Status(now)
	s.Owner, s.Epoch, s.Priority, s.Reason = st.Owner, st.Term, st.Priority, st.Reason
	s.Ready, s.Left = st.Ready, st.Left && (e.k.leaving || e.k.gone != 0)
	s.Arbiter = "etcd"
	if st.Outage {
		s.Arbiter = "outage"
	}
	if st.Owns {
		s.Until = max(st.Until-now, 0)
	}
	switch {
	case e.k.gone != 0 || s.Left:
		s.State = beat.Initialize
	case st.Owns && e.k.address.on:
		s.State = beat.Active
	case e.fault != "":
		s.State, s.Reason = beat.Fault, e.fault
	case st.Ready:
		s.State = beat.Backup
	default:
		s.State = beat.Initialize
	}
	s.Counters.BecameActive, s.Counters.GaveUp, s.Counters.Refuted = st.Counters.Owned, st.Counters.GaveUp, st.Counters.Refuted
	for _, p := range st.Peers {
		s.Peers = append(s.Peers, e.peer(now, p))
	}
}

func (e *arbitrated) peer(now time.Duration, p owner.PeerStatus) beat.PeerStatus {
	out := beat.PeerStatus{Name: p.Name, Heard: -1, Healthy: p.Alive, Fitness: beat.Fitness{
		Listening: p.Fitness.Listening, Blind: p.Fitness.Blind, Healthy: p.Fitness.Healthy, Weight: p.Fitness.Weight,
	}}
	if p.Fitness.Fault {
		out.Fitness.Fault = "it says so"
	}
	if p.Heard >= 0 {
		out.Heard = max(now-p.Heard, 0)
	}
	for i, at := range e.paged[p.Name] {
		path := beat.PathStatus{Local: e.k.cfg.Heartbeat[i].String(), Heard: -1}
		if at > 0 {
			path.Heard = max(now-at, 0)
		}
		out.Paths = append(out.Paths, path)
	}
	return out
}
