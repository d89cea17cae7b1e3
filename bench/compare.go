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
// made while system calls are counted; the logins are one per cent of them.
const warmUp = 300

// Compare measures the contenders in one case. script is the path of a pgbench
// script, "" for -S.
func Compare(ctx context.Context, c Case, plan Plan, all []*rival.Contender, who load.Account, script string) (Outcome, error) {
	gun := load.Pgbench{Account: who, Protocol: c.Protocol, Clients: c.Clients, Script: script, Transactions: warmUp}
	out := Outcome{Case: c, Calls: map[string]Calls{}}
	for _, contender := range all {
		gun.Addr = contender.Addr
		if _, err := gun.Run(ctx); err != nil {
			return out, fmt.Errorf("case %s: warm up %s: %w", c.Name, contender.Name, err)
		}
		calls, err := countCalls(ctx, contender, gun)
		if err != nil {
			return out, fmt.Errorf("case %s: %s: %w", c.Name, contender.Name, err)
		}
		out.Calls[contender.Name] = calls
	}
	gun.Transactions, gun.Duration, gun.Rate = 0, plan.Block, c.Rate
	for n := range plan.Rounds {
		round := make(Round, len(all))
		for _, i := range order(n, len(all)) {
			contender := all[i]
			gun.Addr = contender.Addr
			s, err := measure(ctx, contender, gun)
			if err != nil {
				return out, fmt.Errorf("case %s: %s: %w", c.Name, contender.Name, err)
			}
			round[contender.Name] = s
		}
		out.Rounds = append(out.Rounds, round)
	}
	return out, nil
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
