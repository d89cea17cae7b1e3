package route

import (
	"fmt"
	"strings"
)

// Role is what a connection is wanted for. It follows from the client's port,
// not from its query.
type Role int

// The two roles. The zero value is no role, so that a forgotten field shows.
const (
	unknownRole Role = iota
	Primary          // port 5000: the one proven writable node
	Replica          // port 5001: any node in the read set
)

// String gives the role as logs and columns print it.
func (r Role) String() string {
	switch r {
	case unknownRole:
		return "unknown"
	case Primary:
		return "primary"
	case Replica:
		return "replica"
	default:
		panic(fmt.Sprintf("BUG: route.Role(%d)", int(r)))
	}
}

// Node is one PostgreSQL server during one of its lives. It is immutable, and
// the same pointer is used from table to table for as long as that life lasts,
// so a pool may use it as a key.
//
// A new life (a new pointer with a higher Generation) begins when the name
// comes back at another address, comes back after it was removed, and whenever
// the node becomes or stops being the leader: connections of one life are never
// reused in the next.
type Node struct {
	Name       string // Patroni's member name
	Addr       string // host:port to dial, from conn_url or the override map
	Generation uint64 // unique in this process, rising
	// Leads says that this is the life of a leader, proven or not. Reads that go to
	// the primary for lack of replicas are the primary's for the pools too.
	Leads bool
}

// String gives name and address for logs.
func (n *Node) String() string {
	if n == nil {
		return "none"
	}
	return n.Name + "(" + n.Addr + ")"
}

func compareNames(x, y string) int { return strings.Compare(x, y) }
