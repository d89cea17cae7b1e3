package bench

import (
	"fmt"

	"github.com/pgvip/pgvip/bench/rival"
)

// PoolSize is the number of server connections that every pooler may open.
const PoolSize = 16

// Pool modes, in PgBouncer's words.
const (
	ModeSession     = "session"
	ModeTransaction = "transaction"
)

// Case is one line of the result.
type Case struct {
	Name     string
	Protocol string // of pgbench: simple, extended, prepared
	Clients  int
	Rate     int // queries a second; 0: as many as go
	Mode     string
	Null     bool // before the null backend instead of PostgreSQL
	// Gated cases decide by Limits whether the benchmark passes.
	Gated bool
}

// Cases are all cases: clients below and at the pool size in session mode,
// which are gated; the same before the null backend, where small differences
// show; at a low fixed rate, where each query finds the proxy asleep; and far
// above the pool size, which only transaction mode can serve.
func Cases() []Case {
	var all []Case
	protocols := []string{"simple", "extended", "prepared"}
	add := func(suffix string, c Case) {
		for _, c.Protocol = range protocols {
			c.Name = fmt.Sprintf("%s_c%d%s", c.Protocol, c.Clients, suffix)
			all = append(all, c)
		}
	}
	add("", Case{Clients: PoolSize, Mode: ModeSession, Gated: true})
	add("", Case{Clients: PoolSize / 2, Mode: ModeSession, Gated: true})
	add("_null", Case{Clients: PoolSize, Mode: ModeSession, Null: true})
	all = append(all, Case{
		Name: "simple_c16_r500", Protocol: "simple", Clients: PoolSize, Rate: 500, Mode: ModeSession,
	})
	add("", Case{Clients: 4 * PoolSize, Mode: ModeTransaction})
	add("", Case{Clients: 20 * PoolSize, Mode: ModeTransaction})
	return all
}

// Limits are what a gated case has to keep, as ratios of pgvip's CPU time per
// query to its rival's.
type Limits struct {
	PgBouncer float64
	Chain     float64
}

// SessionLimits are the project's promise for session mode.
func SessionLimits() Limits { return Limits{PgBouncer: 1.1, Chain: 0.6} }

// Shortfalls says where an outcome exceeds its limits; none when it keeps them.
// A missing ratio falls short: what was not measured is not proven.
func (l Limits) Shortfalls(o Outcome) []string {
	var short []string
	check := func(against string, limit float64) {
		name := "ratio_" + against
		ratio, ok := o.Ratio(rival.Pgvip, against, cpu)
		switch {
		case !ok:
			short = append(short, fmt.Sprintf("%s %s=na limit=%.2f", o.Case.Name, name, limit))
		case ratio > limit:
			short = append(short, fmt.Sprintf("%s %s=%.3f limit=%.2f", o.Case.Name, name, ratio, limit))
		}
	}
	check(rival.PgBouncer, l.PgBouncer)
	check(rival.Chain, l.Chain)
	return short
}
