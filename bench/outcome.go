package bench

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pgvip/pgvip/bench/rival"
)

// maxSteal is the share of the machine that the hypervisor may take during a
// block; a pair with more on either side is dropped.
const maxSteal = 0.01

// Sample is what one block of one contender measured.
type Sample struct {
	CPU     float64 // of the contender, µs a query
	Machine float64 // of the whole machine, µs a query
	TPS     float64 // queries a second
	Steal   float64 // share of the machine, 0 to 1
}

// A metric picks one number of a sample.
type metric func(Sample) float64

func cpu(s Sample) float64     { return s.CPU }
func machine(s Sample) float64 { return s.Machine }
func tps(s Sample) float64     { return s.TPS }

// Round is one block of each contender, by its name.
type Round map[string]Sample

// Calls are the system calls of a contender for one query; zero when they could
// not be counted.
type Calls struct {
	Data float64 // that move bytes over sockets
	All  float64
}

// Outcome is a case with all that was measured.
type Outcome struct {
	Case   Case
	Rounds []Round
	Calls  map[string]Calls // by the contender's name
}

// Median is the median of a contender's blocks, false when it has none.
func (o Outcome) Median(name string, of metric) (float64, bool) {
	var all []float64
	for _, r := range o.Rounds {
		if s, ok := r[name]; ok {
			all = append(all, of(s))
		}
	}
	return median(all)
}

// Ratio is the median over the pairs of a's metric divided by b's.
func (o Outcome) Ratio(a, b string, of metric) (float64, bool) {
	return median(o.ratios(a, b, of))
}

// ratios gives one number a pair. Pairs that the hypervisor disturbed are left
// out, unless they are the majority: then the machine is like that.
func (o Outcome) ratios(a, b string, of metric) []float64 {
	var all, quiet []float64
	for _, r := range o.Rounds {
		sa, okA := r[a]
		sb, okB := r[b]
		if !okA || !okB || of(sb) == 0 {
			continue
		}
		ratio := of(sa) / of(sb)
		all = append(all, ratio)
		if max(sa.Steal, sb.Steal) <= maxSteal {
			quiet = append(quiet, ratio)
		}
	}
	if 2*len(quiet) < len(all) {
		return all
	}
	return quiet
}

// median of an even number is the mean of the middle two.
func median(all []float64) (float64, bool) {
	if len(all) == 0 {
		return 0, false
	}
	slices.Sort(all)
	mid := len(all) / 2
	if len(all)%2 == 1 {
		return all[mid], true
	}
	return (all[mid-1] + all[mid]) / 2, true
}

// Line is the result line of the case. The first eight pairs are a contract;
// what was not measured is "na".
func (o Outcome) Line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "bench case=%s", o.Case.Name)
	put := func(key string, digits int) func(float64, bool) {
		return func(v float64, ok bool) {
			if !ok {
				fmt.Fprintf(&b, " %s=na", key)
				return
			}
			fmt.Fprintf(&b, " %s=%.*f", key, digits, v)
		}
	}
	put("pgvip_us", 2)(o.Median(rival.Pgvip, cpu))
	put("pgbouncer_us", 2)(o.Median(rival.PgBouncer, cpu))
	put("chain_us", 2)(o.Median(rival.Chain, cpu))
	put("ratio_pgbouncer", 3)(o.Ratio(rival.Pgvip, rival.PgBouncer, cpu))
	put("ratio_chain", 3)(o.Ratio(rival.Pgvip, rival.Chain, cpu))
	put("tps_ratio_pgbouncer", 3)(o.Ratio(rival.Pgvip, rival.PgBouncer, tps))
	put("tps_ratio_chain", 3)(o.Ratio(rival.Pgvip, rival.Chain, tps))

	put("haproxy_us", 2)(o.Median(rival.HAProxy, cpu))
	for _, name := range []string{rival.Direct, rival.PgBouncer, rival.Chain, rival.Pgvip} {
		put(name+"_tps", 0)(o.Median(name, tps))
	}
	for _, name := range []string{rival.Pgvip, rival.PgBouncer, rival.Chain} {
		calls, ok := o.Calls[name]
		put(name+"_data_calls", 2)(calls.Data, ok && calls.All > 0)
		put(name+"_calls", 2)(calls.All, ok && calls.All > 0)
	}
	put("machine_ratio_pgbouncer", 3)(o.Ratio(rival.Pgvip, rival.PgBouncer, machine))
	put("machine_ratio_chain", 3)(o.Ratio(rival.Pgvip, rival.Chain, machine))
	spread := o.ratios(rival.Pgvip, rival.PgBouncer, cpu)
	if len(spread) > 0 {
		fmt.Fprintf(&b, " range_pgbouncer=%.3f..%.3f", slices.Min(spread), slices.Max(spread))
	}
	fmt.Fprintf(&b, " pairs=%d", len(spread))
	return b.String()
}
