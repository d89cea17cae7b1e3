package e2e

import (
	"testing"
)

// way is one way to run pgvip that tests are held to. Those that all use have a
// process each, which lives as long as the tests do.
type way struct {
	name string
	host int // its spare address of the cluster
	// change is what differs from the usual configuration.
	change settings
	// shared: a server is the client's only for a transaction.
	shared bool
}

func sessions() way { return way{name: "session", host: 0} }

func transactions() way {
	return way{name: "transaction", host: 20, shared: true, change: settings{"pool_mode": "transaction"}}
}

// pinned is transaction mode in which a client that leaves something in its
// session keeps its server: nothing at all differs from PostgreSQL then.
func pinned() way {
	return way{name: "pinned", host: 21, change: settings{"pool_mode": "transaction", "session_state": "pin"}}
}

// eachWay runs a test in each of some ways.
func eachWay(t *testing.T, test func(*testing.T, way), ways ...way) {
	t.Helper()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) { test(t, w) })
	}
}
