package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/pgvip/pgvip/bench/load"
	"github.com/pgvip/pgvip/bench/proc"
	"github.com/pgvip/pgvip/bench/rival"
)

// Plan says how long a case is measured.
type Plan struct {
	Rounds int           // of one block per contender each
	Block  time.Duration // whole seconds
}

// warmUp is how many transactions each client makes before the first block: the
// pools open their connections, PostgreSQL reads its tables. As many again are
// made while system calls are counted; the logins are one per cent of them. At a
// fixed rate fewer have to do: they take their time.
const (
	warmUp       = 300
	warmUpAtRate = 60
)

// Compare measures the contenders in one case. gun says who logs in and with
// which script; what the case and the plan say about the load, they fill in.
func Compare(ctx context.Context, c Case, plan Plan, all []*rival.Contender, gun load.Pgbench) (Outcome, error) {
	gun.Protocol, gun.Clients, gun.Rate = c.Protocol, c.Clients, c.Rate
	out := Outcome{Case: c, Calls: map[string]Calls{}}
	for _, contender := range all {
		calls, err := warm(ctx, contender, gun)
		if err != nil {
			return out, fmt.Errorf("case %s: warm up %s: %w", c.Name, contender.Name, err)
		}
		out.Calls[contender.Name] = calls
	}
	gun.Duration = plan.Block
	for n := range plan.Rounds {
		round := make(Round, len(all))
		for _, i := range order(n, len(all)) {
			gun.Addr = all[i].Addr
			s, err := measure(ctx, all[i], gun)
			if err != nil {
				return out, fmt.Errorf("case %s: %s: %w", c.Name, all[i].Name, err)
			}
			round[all[i].Name] = s
		}
		out.Rounds = append(out.Rounds, round)
	}
	return out, nil
}

// warm makes the first queries through a contender, and counts the calls of the
// second ones.
func warm(ctx context.Context, c *rival.Contender, gun load.Pgbench) (Calls, error) {
	gun.Addr, gun.Transactions = c.Addr, warmUp
	if gun.Rate > 0 {
		gun.Transactions = warmUpAtRate
	}
	if _, err := gun.Run(ctx); err != nil {
		return Calls{}, err
	}
	return countCalls(ctx, c, gun)
}

// countCalls runs pgbench once more to count. Counting needs rights that an
// ordinary user lacks; then the calls stay unknown.
func countCalls(ctx context.Context, c *rival.Contender, gun load.Pgbench) (Calls, error) {
	data, err := proc.CountDataCalls(c.Procs...)
	if err != nil {
		return Calls{}, nil
	}
	defer data.Close()
	all, err := proc.CountAllCalls(c.Procs...)
	if err != nil {
		return Calls{}, nil
	}
	defer all.Close()
	r, err := gun.Run(ctx)
	if err != nil {
		return Calls{}, err
	}
	nData, err := data.Count()
	if err != nil {
		return Calls{}, err
	}
	nAll, err := all.Count()
	n := float64(r.Transactions)
	return Calls{Data: float64(nData) / n, All: float64(nAll) / n}, err
}

// order is that of the contenders in round n: forward and backward by turns, so
// that a drift of the machine falls on both sides of every pair alike.
func order(n, contenders int) []int {
	o := make([]int, contenders)
	for i := range o {
		o[i] = i
		if n%2 == 1 {
			o[i] = contenders - 1 - i
		}
	}
	return o
}

// measure runs one block. Connecting is part of it: sixteen logins in some ten
// thousand queries.
func measure(ctx context.Context, c *rival.Contender, gun load.Pgbench) (Sample, error) {
	machineBefore, err := proc.ReadMachine()
	if err != nil {
		return Sample{}, err
	}
	before, err := c.CPU()
	if err != nil {
		return Sample{}, err
	}
	r, err := gun.Run(ctx)
	if err != nil {
		return Sample{}, err
	}
	after, err := c.CPU()
	if err != nil {
		return Sample{}, err
	}
	machineAfter, err := proc.ReadMachine()
	if err != nil {
		return Sample{}, err
	}
	m := machineAfter.Sub(machineBefore)
	return Sample{
		CPU:     micros(after-before) / float64(r.Transactions),
		Machine: micros(m.Busy) / float64(r.Transactions),
		TPS:     r.TPS,
		Steal:   m.StealShare(),
	}, nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
