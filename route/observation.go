package route

import (
	"fmt"
	"time"
)

// Observation is what a user of a node saw of it, outside the probes. A pool
// reports it so that a verdict need not wait for the next probe.
type Observation struct {
	Node *Node
	Kind ObservationKind
	At   time.Time // when the question behind it was sent, or the dial began
	Err  error     // of SawRefused
}

// ObservationKind says what was seen.
type ObservationKind int

// What can be seen of a node.
const (
	unknownObservation ObservationKind = iota
	SawAnswer                          // a server connection answered: not silent
	SawWritable                        // a login reported in_hot_standby off
	SawRecovery                        // a login reported in_hot_standby on
	SawRefused                         // a dial was refused, or answered 57P03
	SawBroken                          // a connection ended or hung unexpectedly
)

// String gives the kind for logs.
func (k ObservationKind) String() string {
	switch k {
	case unknownObservation:
		return "unknown"
	case SawAnswer:
		return "answer"
	case SawWritable:
		return "writable"
	case SawRecovery:
		return "recovery"
	case SawRefused:
		return "refused"
	case SawBroken:
		return "broken"
	default:
		panic(fmt.Sprintf("BUG: route.ObservationKind(%d)", int(k)))
	}
}
