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
// pools open their connections, PostgreSQL reads its tables.
const warmUp = 200

// Compare measures the contenders in one case. script is the path of a pgbench
// script, "" for -S.
func Compare(ctx context.Context, c Case, plan Plan, all []*rival.Contender, who load.Account, script string) (Outcome, error) {
	gun := load.Pgbench{Account: who, Protocol: c.Protocol, Clients: c.Clients, Script: script}
	out := Outcome{Case: c}
	for _, contender := range all {
		gun.Addr, gun.Transactions = contender.Addr, warmUp
		if _, err := gun.Run(ctx); err != nil {
			return out, fmt.Errorf("case %s: warm up %s: %w", c.Name, contender.Name, err)
		}
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
