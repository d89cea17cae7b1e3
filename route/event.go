package route

import (
	"fmt"
	"time"
)

// EventKind says what was decided.
type EventKind int

// The decisions an operator wants to read afterwards.
const (
	unknownEvent   EventKind = iota
	LeaderNamed              // the leader key names another node
	PrimaryProven            // a new primary, under a new epoch
	PrimaryBack              // the same primary answers again, under the same epoch
	PrimaryLost              // no longer proven, not fenced: work waits for it
	PrimaryFenced            // its connections must be closed now
	ReplicaIn                // joined the read set
	ReplicaOut               // left the read set
	ReadsMoved               // the replicas, the primary or nobody serves reads now
	AlarmRaised              // somebody has to look
	AlarmCleared             // the cause of an alarm is gone
	FreshnessMoved           // the grade of the store's news changed

	SwitchoverAnnounced // the failover key asks for another leader, now
	SwitchoverCalledOff // the request is gone, and the leader is the same
)

// String gives the kind as a log message.
func (k EventKind) String() string {
	switch k {
	case unknownEvent:
		return "unknown"
	case LeaderNamed:
		return "leader named"
	case PrimaryProven:
		return "primary proven"
	case PrimaryBack:
		return "primary back"
	case PrimaryLost:
		return "primary lost"
	case PrimaryFenced:
		return "primary fenced"
	case ReplicaIn:
		return "replica in"
	case ReplicaOut:
		return "replica out"
	case ReadsMoved:
		return "reads"
	case AlarmRaised:
		return "alarm"
	case AlarmCleared:
		return "alarm cleared"
	case FreshnessMoved:
		return "news from etcd"
	case SwitchoverAnnounced:
		return "switchover announced"
	case SwitchoverCalledOff:
		return "switchover called off"
	default:
		panic(fmt.Sprintf("BUG: route.EventKind(%d)", int(k)))
	}
}

// Event is one decision with its reason.
type Event struct {
	Kind   EventKind
	Node   string // member name, empty when it concerns none
	Reason string
	Epoch  uint64        // after the decision
	Took   time.Duration // PrimaryProven and PrimaryBack: how long there was none
}
