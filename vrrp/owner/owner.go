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
// # The ownership and its number
//
// The owner key holds a Record: who owns the address, in which term, and the
// longest promise that this owner may be living on. A term is one ownership and
// grows by one with each change of owner, also with those that happen while etcd
// is out of reach; it is what the status calls the epoch. The key's mod revision
// will not do for that: an owner touches its own key when it lengthens or shortens
// its promise. Compare-and-swaps are guarded by mod revisions all the same.
package owner

import "time"

// Machine is one node's part in the ownership of one virtual IP.
type Machine struct {
	cfg Config
}

// New makes a machine that owns nothing yet. Tick is due at once.
func New(cfg Config, now time.Duration) (*Machine, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Machine{cfg: cfg}, nil
}

// Next says when Tick is due. It changes with every call of another method. The
// runtime ticks punctually: what the machine holds, it holds until then.
func (m *Machine) Next() time.Duration { return 0 }

// Tick does what is due, above all giving the address up at its deadline.
func (m *Machine) Tick(now time.Duration) []Action { return nil }

// Receive takes a message of the peer of this name, from whichever path it came. A
// message that comes on several paths may be handed in as often.
func (m *Machine) Receive(now time.Duration, from string, msg Message) []Action { return nil }

// Heard takes a VRRP advert of the peer of this name ("" for a foreign router). It
// is a sign of life, or with priority 0 a reason to claim, and never a proof.
func (m *Machine) Heard(now time.Duration, from string, priority uint8) []Action { return nil }

// Answer takes the outcome of the Request with this ID. A request that the runtime
// gave up is answered with an error; its outcome is then unknown. Late, repeated
// and missing answers do no harm.
func (m *Machine) Answer(now time.Duration, id uint64, reply Reply) []Action { return nil }

// Watched takes both keys as a watch shows them.
func (m *Machine) Watched(now time.Duration, s Snapshot) []Action { return nil }

// Fit takes how well this node could serve; it comes with each beat of the main
// process and says that this lives.
func (m *Machine) Fit(now time.Duration, f Fitness) []Action { return nil }

// Move asks for a planned move to the peer of this name, "*" for the best one, and
// stands until the address has moved or "-" (or "") takes it back. It may be repeated.
func (m *Machine) Move(now time.Duration, to string) []Action { return nil }

// Leave hands the address over, to nobody if need be, and ends this node's part in
// the election: it acknowledges owners and never owns again. Status.Left says when
// it is done.
func (m *Machine) Leave(now time.Duration) []Action { return nil }

// MainGone says that the main process has died or is silent: the address goes at
// once. A later Fit says that it is back. A runtime that wants to exit after it
// waits for Status.Left, so that the peers have been told.
func (m *Machine) MainGone(now time.Duration) []Action { return nil }

// Dropped says that the address is off the interface, as Drop asked. Only then are
// the peers told.
func (m *Machine) Dropped(now time.Duration) []Action { return nil }

// Probed takes the verdict of the Probe with this ID: whether anybody else answered
// for the address.
func (m *Machine) Probed(now time.Duration, id uint64, answered bool) []Action { return nil }

// Status describes the machine.
func (m *Machine) Status(now time.Duration) Status { return Status{} }
