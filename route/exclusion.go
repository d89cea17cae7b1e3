package route

import "fmt"

// Exclusion says why a member is not among the replicas.
type Exclusion struct {
	Name   string
	Reason string // for people
	Cause  Cause
}

// Cause is the kind of an Exclusion.
type Cause int

// The causes, in the order in which they are looked for.
const (
	Fit         Cause = iota // no cause
	OutWritable              // it takes writes and is not the leader
	OutAddress               // nobody knows where it listens
	OutState                 // Patroni does not call it running
	OutRole                  // Patroni does not call it a replica
	OutDown                  // its check failed
	OutSystem                // another cluster's data
	OutMaint                 // an operator's word
	OutDrain                 // the same
	OutTag                   // noloadbalance, or not the tags that are wanted
	OutWeight                // weight 0
	OutLag                   // too far behind
)

// String gives the cause in one word.
func (c Cause) String() string {
	switch c {
	case Fit:
		return "fit"
	case OutWritable:
		return "writable"
	case OutAddress:
		return "address"
	case OutState:
		return "state"
	case OutRole:
		return "role"
	case OutDown:
		return "down"
	case OutSystem:
		return "system"
	case OutMaint:
		return "maint"
	case OutDrain:
		return "drain"
	case OutTag:
		return "tag"
	case OutWeight:
		return "weight"
	case OutLag:
		return "lag"
	default:
		panic(fmt.Sprintf("BUG: route.Cause(%d)", int(c)))
	}
}

// warm reports that a node which was out for this cause has served all the
// while, or could have: its caches are as they were.
func (c Cause) warm() bool {
	return c == OutDrain || c == OutTag || c == OutWeight || c == OutLag
}

// exclusion gives why the named member is out, nil when it is not.
func (t *Table) exclusion(name string) *Exclusion {
	for i := range t.Out {
		if t.Out[i].Name == name {
			return &t.Out[i]
		}
	}
	return nil
}

// Reads says who serves reads.
type Reads int

// Who serves them.
const (
	ReadsOnReplicas Reads = iota
	ReadsOnPrimary        // there is no replica: no_replicas primary
	ReadsRejected         // there is no replica: no_replicas reject
	ReadsWait             // there is no replica, and no primary either
)

// String says it for people.
func (r Reads) String() string {
	switch r {
	case ReadsOnReplicas:
		return "replicas serve reads"
	case ReadsOnPrimary:
		return "no replica is left: the primary serves reads"
	case ReadsRejected:
		return "no replica is left: reads are refused"
	case ReadsWait:
		return "neither a replica nor a primary: reads wait"
	default:
		panic(fmt.Sprintf("BUG: route.Reads(%d)", int(r)))
	}
}
