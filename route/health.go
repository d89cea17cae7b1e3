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

	// From the last answer. Zero until the first.
	Writable   bool      // not in recovery
	InRecovery bool      // the opposite, once there was an answer
	Timeline   uint32    // of the WAL being written; 0 in recovery
	SystemID   string    // pg_control_system()
	LSN        uint64    // written (primary) or replayed (replica), bytes
	AskedAt    time.Time // when the question behind this answer was sent

	LastCheck time.Time     // end of the last probe, whatever came of it
	Took      time.Duration // of the last probe

	// Err is the last probe's fault, empty when it answered.
	Err string
	// CheckError marks an Err that is no news about the node: the probe was not
	// let in (28P01, 53300, 3D000), or the trouble is ours. It leaves State as it
	// was, and proves nothing.
	CheckError bool
}

// Health is the last word on each node, by member name.
type Health map[string]NodeHealth
