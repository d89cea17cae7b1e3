package route

import (
	"fmt"
	"time"
)

// State is the verdict of a node's probes.
type State int

// The three verdicts. Unprobed is not down: what the keys call running may
// serve reads before its first probe has answered.
const (
	Unprobed State = iota
	Up
	Down // refused, or silent on every connection
)

// String gives the verdict as logs and columns print it.
func (s State) String() string {
	switch s {
	case Unprobed:
		return "unprobed"
	case Up:
		return "up"
	case Down:
		return "down"
	default:
		panic(fmt.Sprintf("BUG: route.State(%d)", int(s)))
	}
}

// NodeHealth is what SQL says about one node.
type NodeHealth struct {
	Addr  string // the address that was asked; says nothing about another one
	State State
	Since time.Time // of State
	// Dead says of Down that PostgreSQL itself is gone: what is connected to it is
	// of no use. Without it only new work keeps away, as when Patroni's REST
	// interface says no.
	Dead bool

	// Silent says of Down that the node says nothing at all, where one that is
	// stopped refuses: it hangs, or its host is gone.
	Silent bool

	// From the last answer. Zero until the first.
	Writable   bool      // not in recovery
	InRecovery bool      // the opposite, once there was an answer
	Timeline   uint32    // of the WAL being written; 0 in recovery
	SystemID   string    // pg_control_system()
	LSN        uint64    // written (primary) or replayed (replica), bytes
	AskedAt    time.Time // when the question behind this answer was sent

	// Of a replica, from the last answer.
	ReceiveLSN uint64    // received, bytes; 0 when unknown
	ReplayedAt time.Time // commit time of the last transaction replayed, by the primary's clock
	Receiver   string    // status of its WAL receiver, "hidden" from a role that may not see it, empty without one

	// How far a replica is behind the primary, measured here and not by Patroni.
	// Both are lower bounds. LagKnown is false while the primary's position is not
	// known, which says nothing about the replica.
	LagKnown bool
	LagBytes uint64
	LagTime  time.Duration

	LastCheck time.Time     // end of the last probe, whatever came of it
	Took      time.Duration // of the last probe

	// The last probe in HAProxy's words, for the page and the CSV.
	Check  string // check_status: INI, L4OK, L4CON, L7OK, L7STS, ...
	Code   int    // check_code: the HTTP status, 0 without one
	Report string // last_chk: what it saw, for people

	// Counted since the node is known here.
	Rise, Fall int           // what counts for it now
	Rated      int           // check_health: 0 (down) to Rise+Fall-1 (up); between them a verdict is open
	Failures   uint64        // chkfail: probes that failed while it was up
	Downs      uint64        // chkdown: how often it went down
	Downtime   time.Duration // before Since; a node that is down adds the time since then

	// Err is the last probe's fault, empty when it answered.
	Err string
	// CheckError marks an Err that is no news about the node: the probe was not
	// let in (28P01, 53300, 3D000), or the trouble is ours. It leaves State as it
	// was, and proves nothing.
	CheckError bool
}

// Health is the last word on each node, by member name.
type Health map[string]NodeHealth

// Sketch says in a few words what the last answer was.
func (h *NodeHealth) Sketch() string {
	switch {
	case h.Writable:
		return fmt.Sprintf("primary, timeline %d", h.Timeline)
	case h.InRecovery && !h.LagKnown:
		return "replica, lag unknown"
	case h.InRecovery:
		return fmt.Sprintf("replica, lag %d bytes, %v", h.LagBytes, h.LagTime.Round(time.Millisecond))
	default:
		return "alive"
	}
}
