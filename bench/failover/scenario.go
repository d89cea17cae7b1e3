package failover

import (
	"context"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
)

// Scenario is one thing that goes wrong, and what clients may notice of it.
type Scenario struct {
	Number int
	Name   string

	// DCS is Patroni's dynamic configuration during the scenario.
	DCS map[string]any

	// Fault is what happens, while clients work. It returns when what follows of
	// it needs no more watching.
	Fault func(context.Context, *run) error

	// Writes and Reads say which errors clients of the two ports may get.
	Writes, Reads tolerance
	// Slack is how much longer than the database itself clients may be without an
	// acknowledged write; 0 is quietSlack.
	Slack time.Duration
	// Lead adds the time from the hold to PostgreSQL's close to Slack.
	Lead bool

	// Check looks at what one front has seen besides.
	Check func(*run, *front, *Result)

	// Special scenarios have clients, and perhaps a lab, of their own; they make
	// their lines themselves.
	Special func(context.Context, *Rig, *Scenario) ([]*Result, error)
}

// quietSlack is what clients may be without a write although nothing happens to
// the database: what four writers and a busy machine add.
const quietSlack = 250 * time.Millisecond

// run is one scenario in progress.
type run struct {
	*Rig
	scenario *Scenario

	leader   *lab.Node // when it began
	replicas []*lab.Node

	began time.Time // of the load
	fault time.Time // when the fault began
	down  time.Time // when the primary was down or frozen, zero when it never was
	over  time.Time // when the load ended

	// counts says which direct writes count for the floor; nil counts all.
	counts func(node string, at time.Time) bool

	shunned     []shun
	socketsGone map[string]time.Duration // by front: how long connections to the orphan lived
	orphanLog   string                   // path of its log

	notes []string // key=value, for all lines
	falls []string // reasons why it is not ok, for all lines of pgvip
}

// Scenarios are all that there are, in the order in which they run.
func Scenarios() []Scenario {
	var all []Scenario
	all = append(all, switchovers()...)
	all = append(all, crashes()...)
	all = append(all, outages()...)
	all = append(all, replicaFaults()...)
	all = append(all, strangers()...)
	all = append(all, specials()...)
	return all
}
