package route

import (
	"fmt"
	"time"
)

// Policy is what the configuration asks of Build. The zero value asks for
// nothing: every replica that lives serves, all alike, and reads go to the
// primary when there is no replica.
type Policy struct {
	// MaxLagBytes and MaxLag are how far a replica may be behind the primary
	// before it gets no new reads; 0 is no limit. It is let in again below 80 % of
	// what took it out, after Rise answers in a row.
	MaxLagBytes uint64
	MaxLag      time.Duration
	Rise        int

	NoReplicas NoReplicas
	Balance    Balance
	// SlowStart is how long the share of a replica that comes up grows from
	// nothing to all of it; 0 gives it all at once.
	SlowStart time.Duration

	// ReplicaTags are tags that a replica must have, or with PreferTags that
	// others must not have for it to be passed over.
	ReplicaTags map[string]string
	PreferTags  bool

	Servers map[string]ServerPolicy // by member name

	// SwitchoverHold is how long no new transaction begins on a primary whose
	// successor has been announced.
	SwitchoverHold time.Duration
}

// ServerPolicy is what is configured for one server.
type ServerPolicy struct {
	Weight   int  // share of the reads, 0 to MaxWeight
	Weighted bool // Weight is set; else Patroni's tag pgvip_weight counts, else 1
	MaxConn  int  // connections to it; 0 is no limit
	MaxQueue int  // clients that may wait for one; 0 is no limit
	Tags     map[string]string
}

// MaxWeight is HAProxy's.
const MaxWeight = 256

// WeightTag is the tag in Patroni's configuration that gives a server's weight.
const WeightTag = "pgvip_weight"

// NoReplicas says what becomes of reads without a replica.
type NoReplicas int

// What becomes of them.
const (
	ReadPrimary NoReplicas = iota // the primary serves them
	RejectReads                   // they are refused at once
)

// Balance says how a new reader gets its node.
type Balance int

// The ways of choosing.
const (
	RoundRobin Balance = iota // in turns, by weight
	LeastConn                 // the node with the fewest readers for its weight
)

// String gives HAProxy's word.
func (b Balance) String() string {
	switch b {
	case RoundRobin:
		return "roundrobin"
	case LeastConn:
		return "leastconn"
	default:
		panic(fmt.Sprintf("BUG: route.Balance(%d)", int(b)))
	}
}

// AdminState is an operator's word about a server.
type AdminState int

// The three words, HAProxy's. The zero value is the normal one.
const (
	Ready AdminState = iota
	Drain            // no new sessions and transactions; still checked
	Maint            // no traffic and, unless it is the leader, no checks
)

// String gives the word as the console takes and prints it.
func (s AdminState) String() string {
	switch s {
	case Ready:
		return "ready"
	case Drain:
		return "drain"
	case Maint:
		return "maint"
	default:
		panic(fmt.Sprintf("BUG: route.AdminState(%d)", int(s)))
	}
}

// ParseAdminState reads what String gives.
func ParseAdminState(text string) (AdminState, bool) {
	for _, s := range []AdminState{Ready, Drain, Maint} {
		if s.String() == text {
			return s, true
		}
	}
	return Ready, false
}
