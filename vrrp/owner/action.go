package owner

import "time"

// Action is what the runtime is to do: a Send, Request, Hold, Drop, Probe, Persist
// or Note. They are done in the order in which they were returned.
type Action interface{ action() }

// Send passes a message to a peer on all paths.
type Send struct {
	To      string
	Message Message
}

// Request is one linearizable transaction in etcd: if both keys still have the mod
// revisions of the guards, do the writes; in either case read both keys. Without
// writes it is a plain read. Its time counts from now, so it is sent at once; it is
// answered once, with an error when no answer came by Timeout.
type Request struct {
	ID   uint64
	What string // for the log: "read", "claim", "take", ...

	// Guards: mod revisions, 0 for a key that must not exist, -1 for no matter.
	RecordMod, ClaimMod int64
	// Writes; nil and false leave a key alone.
	PutRecord   *Record
	PutClaim    *Claim
	DeleteClaim bool

	Timeout time.Duration
}

// Hold has the address on the interface until the time Until of this machine's
// clock: add it when it is missing, and refresh what the kernel counts down. The
// runtime looks at Until in front of every refresh. It replaces an earlier Hold,
// which may have been longer.
type Hold struct {
	Until time.Duration
	Term  int64
}

// Drop takes the address off the interface at once and for good: no Hold of this
// term follows. It is repeated until Dropped says that it is done.
type Drop struct {
	Term int64
	Why  string
}

// Probe asks by three ARP probes (or neighbour solicitations) whether anybody else
// has the address, and has Probed told, within about half a second.
type Probe struct{ ID uint64 }

// Persist stores both, together with the host's boot id, where a later process of
// this boot finds them (Config.Promised), before the actions that follow are done.
// It is needed rarely: when nobody has etcd.
type Persist struct {
	Until time.Duration
	Term  int64
}

// Note is an event for the log and the timeline.
type Note struct {
	Kind string // as beat.Event's
	Warn bool
	Text string
}

func (Send) action()    {}
func (Request) action() {}
func (Hold) action()    {}
func (Drop) action()    {}
func (Probe) action()   {}
func (Persist) action() {}
func (Note) action()    {}
