package keeper

import (
	"context"
	"time"

	"github.com/pgvip/pgvip/vrrp/address"
	"github.com/pgvip/pgvip/vrrp/beat"
	"github.com/pgvip/pgvip/vrrp/instance"
)

// plain is the election without etcd: VRRP as RFC 9568 has it, in which two nodes
// that do not hear each other both own the address (rule 41).
type plain struct {
	// Immutable.
	k       *Keeper
	machine *instance.Machine
	adverts speaker

	// Owned by the loop.
	fitness beat.Fitness
	left    bool
	became  uint64
	gaveUp  uint64
	moving  moving
}

// moving is a planned move. VRRP has no word for it: the router leaves the
// election until somebody else is Active, or for moveFor if nobody is.
type moving struct {
	until time.Duration // 0 for none under way
	moved bool          // another router is Active
	again time.Duration // not before, after one that came to nothing
}

const (
	moveFor   = 2 * time.Second
	moveAgain = 30 * time.Second
)

func newPlain(k *Keeper, now time.Duration) (*plain, error) {
	v := &k.cfg.VIP
	e := &plain{k: k, adverts: speaker{k}}
	var err error
	e.machine, err = instance.New(instance.Config{
		Version: int(v.Version), Priority: v.Priority, Source: k.port.Source(), AdvertInt: v.AdvertInt,
		DownTimerAdverts: v.DownTimerAdverts, Preempt: v.Preempt, PreemptDelay: v.PreemptDelay, StartupDelay: v.StartupDelay,
	})
	if err != nil {
		return nil, err
	}
	// Whoever had it there may have left long ago, and nobody can be asked.
	if left, err := k.port.Present(); k.address.release() && left && err == nil {
		// A keeper that died, perhaps just now: in its name, so that a Backup need not
		// wait for its silence.
		e.adverts.send(0)
	}
	e.do(e.machine.Fault(now, e.fault()))
	e.do(e.machine.Start(now))
	return e, nil
}

func (e *plain) run(ctx context.Context)    { <-ctx.Done() }
func (e *plain) news() <-chan any           { return nil }
func (e *plain) got(_ time.Duration, _ any) {}

// fault says why this router cannot serve now, "" if it can.
func (e *plain) fault() string {
	switch {
	case e.fitness.Fault != "":
		return e.fitness.Fault
	case !e.k.port.Source().IsValid():
		return "interface " + e.k.cfg.VIP.Interface + " has no address of its own"
	case !e.fitness.Listening:
		return "the client ports do not accept"
	case e.moving.until != 0:
		return "moves to another node"
	}
	return ""
}

func (e *plain) next() time.Duration {
	next := forever
	if due, ok := e.machine.Next(); ok {
		next = due
	}
	if e.moving.until != 0 {
		next = min(next, e.moving.until)
	}
	return next
}

// tick does what is due, after all adverts that have come before.
func (e *plain) tick(now time.Duration) {
	for waiting := true; waiting; {
		select {
		case p := <-e.k.port.Adverts():
			e.heard(now, p)
		default:
			waiting = false
		}
	}
	e.machine.SetSource(e.k.port.Source())
	e.do(e.machine.Tick(now))
	e.endMove(now)
}

func (e *plain) fit(now time.Duration, f beat.Fitness) {
	e.fitness = f
	e.machine.SetSource(e.k.port.Source())
	priority := min(max(int(e.k.cfg.VIP.Priority)+f.Weight, 1), 254)
	e.do(e.machine.SetPriority(now, uint8(priority)))
	e.do(e.machine.Fault(now, e.fault()))
}

// move leaves the election when this router is Active. Which of the others takes
// over is for their priorities to say.
func (e *plain) move(now time.Duration, to string) {
	switch {
	case to == "-" && e.moving.until != 0:
		e.moving.until = 0
	case to == "-" || e.machine.Status().State != instance.Active || now < e.moving.again:
		return
	default:
		e.moving = moving{until: now + moveFor}
	}
	e.do(e.machine.Fault(now, e.fault()))
}

// endMove comes back when another router is Active, or nobody wants to be.
func (e *plain) endMove(now time.Duration) {
	switch {
	case e.moving.until == 0:
		return
	case e.moving.moved:
		e.moving = moving{}
	case now >= e.moving.until:
		e.moving = moving{again: now + moveAgain}
		e.k.event("peer", true, "no other router took the address over")
	default:
		return
	}
	e.do(e.machine.Fault(now, e.fault()))
}

func (e *plain) leave(now time.Duration) { e.stop(now) }

func (e *plain) mainGone(now time.Duration) { e.stop(now) }

func (e *plain) stop(now time.Duration) {
	e.do(e.machine.Stop(now))
	e.left = true
}

func (e *plain) heard(now time.Duration, p address.Packet) {
	if a, ok := e.adverts.judge(p); ok {
		e.moving.moved = a.Priority > 0 // the machine hears nothing while it has a fault
		e.do(e.machine.Heard(now, a))
		e.endMove(now)
	}
}

// probed has nothing to do: plain VRRP asks nobody.
func (e *plain) probed(time.Duration, address.Event) {}

// do carries actions out in their order.
func (e *plain) do(actions []instance.Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case instance.SendAdvert:
			e.adverts.send(int(a.Priority))
		case instance.AddAddresses:
			e.became++
			e.k.address.hold(forever)
		case instance.DropAddresses:
			e.gaveUp++
			e.k.address.release()
		case instance.Announce:
			if a.Rival {
				e.k.port.Rival()
			} else {
				e.k.announce()
			}
		case instance.Note:
			e.k.note(beat.Event{Kind: a.Kind, Warn: a.Warn, State: beat.State(a.State), Text: a.Text})
		}
	}
}

func (e *plain) status(_ time.Duration, s *beat.Status) {
	st := e.machine.Status()
	s.State, s.Priority, s.Reason = beat.State(st.State), int(st.Priority), st.Why
	s.Arbiter = "none"
	s.Ready, s.Left = st.Ready, e.left
	if st.Owner.IsValid() {
		s.Owner = st.Owner.String()
	}
	s.Counters.BecameActive, s.Counters.GaveUp = e.became, e.gaveUp
}
