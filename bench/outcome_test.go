package bench

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/bench/rival"
)

// outcome has three pairs with ratios 0.5, 1.0 and 4.0 to PgBouncer.
func outcome() Outcome {
	return Outcome{
		Case: Case{Name: "simple_c16"},
		Rounds: []Round{
			{rival.Pgvip: {CPU: 10, TPS: 100}, rival.PgBouncer: {CPU: 20, TPS: 50}, rival.Chain: {CPU: 40, TPS: 40}},
			{rival.Pgvip: {CPU: 20, TPS: 100}, rival.PgBouncer: {CPU: 20, TPS: 100}, rival.Chain: {CPU: 40, TPS: 50}},
			{rival.Pgvip: {CPU: 40, TPS: 100}, rival.PgBouncer: {CPU: 10, TPS: 400}, rival.Chain: {CPU: 40, TPS: 80}},
		},
	}
}

func TestRatioIsTheMedianOfPairsNotTheRatioOfMedians(t *testing.T) {
	o := outcome()
	o.Rounds = append(o.Rounds, Round{rival.Pgvip: {CPU: 40}, rival.PgBouncer: {CPU: 10}})
	got, ok := o.Ratio(rival.Pgvip, rival.PgBouncer, cpu)
	if !ok || got != 2.5 { // of 0.5, 1, 4, 4; the ratio of the medians is 2
		t.Errorf("Ratio = %v, %v; want 2.5", got, ok)
	}
}

func TestDisturbedPairsAreDropped(t *testing.T) {
	o := outcome()
	o.Rounds[2][rival.PgBouncer] = Sample{CPU: 10, Steal: 0.02}
	if got, _ := o.Ratio(rival.Pgvip, rival.PgBouncer, cpu); got != 0.75 { // of 0.5 and 1
		t.Errorf("with one pair of three disturbed: %v, want 0.75", got)
	}
	o.Rounds[1][rival.Pgvip] = Sample{CPU: 20, Steal: 0.02}
	if got, _ := o.Ratio(rival.Pgvip, rival.PgBouncer, cpu); got != 1 { // of all
		t.Errorf("with two of three disturbed: %v, want 1: a machine like that", got)
	}
}

func TestMedian(t *testing.T) {
	cases := []struct {
		all  []float64
		want float64
		ok   bool
	}{
		{nil, 0, false}, {[]float64{3}, 3, true}, {[]float64{9, 1}, 5, true}, {[]float64{9, 1, 2}, 2, true},
	}
	for _, c := range cases {
		if got, ok := median(slices.Clone(c.all)); got != c.want || ok != c.ok {
			t.Errorf("median(%v) = %v, %v; want %v, %v", c.all, got, ok, c.want, c.ok)
		}
	}
}

func TestLineBeginsAsItsReadersExpect(t *testing.T) {
	want := regexp.MustCompile(`^bench case=simple_c16 pgvip_us=20\.00 pgbouncer_us=20\.00 chain_us=40\.00 ` +
		`ratio_pgbouncer=1\.000 ratio_chain=0\.500 tps_ratio_pgbouncer=1\.000 tps_ratio_chain=2\.000( [a-z_]+=[0-9a-z.]+)+$`)
	line := outcome().Line()
	if !want.MatchString(line) {
		t.Errorf("line %s\nwant %s", line, want)
	}
	if !strings.HasSuffix(line, " range_pgbouncer=0.500..4.000 pairs=3") {
		t.Errorf("line %s: want the range of the pairs at the end", line)
	}
	alone := Outcome{Case: Case{Name: "x"}, Rounds: []Round{{rival.PgBouncer: {CPU: 5}}}}
	if got := alone.Line(); !strings.HasPrefix(got, "bench case=x pgvip_us=na pgbouncer_us=5.00 chain_us=na ratio_pgbouncer=na ") {
		t.Errorf("without pgvip: %s", got)
	}
}

func TestShortfalls(t *testing.T) {
	cases := []struct {
		name         string
		us           float64 // of pgvip, against 20 and 40
		want         int
		withoutChain bool
	}{
		{"keeps both", 22, 0, false},
		{"over PgBouncer's", 23, 1, false},
		{"over both", 24.5, 2, false},
		{"not measured", 10, 1, true},
	}
	for _, c := range cases {
		round := Round{rival.Pgvip: {CPU: c.us}, rival.PgBouncer: {CPU: 20}, rival.Chain: {CPU: 40}}
		if c.withoutChain {
			delete(round, rival.Chain)
		}
		o := Outcome{Case: Case{Name: "c"}, Rounds: []Round{round}}
		if got := SessionLimits().Shortfalls(o); len(got) != c.want {
			t.Errorf("%s: %q, want %d", c.name, got, c.want)
		}
	}
}

func TestOrderTurnsRound(t *testing.T) {
	if got := order(0, 3); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("order of round 0 = %v", got)
	}
	if got := order(1, 3); !slices.Equal(got, []int{2, 1, 0}) {
		t.Errorf("order of round 1 = %v", got)
	}
}

func TestBulkLine(t *testing.T) {
	results := map[string]Bulk{rival.Pgvip: {Calls: 50, CPU: 900}, rival.PgBouncer: {Calls: 500, CPU: 2000}}
	line, short := BulkLine(results, false)
	if line != "bench gate=bulk backend=postgres pgvip_calls=50.0 pgvip_us=900 pgbouncer_calls=500.0 pgbouncer_us=2000 ratio_pgbouncer=0.100 limit_ratio=0.20" || len(short) != 0 {
		t.Errorf("line %s, short %q", line, short)
	}
	if _, short = BulkLine(results, true); len(short) != 0 {
		t.Errorf("50 calls of 60: %q", short)
	}
	results[rival.Pgvip] = Bulk{Calls: 101}
	for _, fromNull := range []bool{false, true} {
		if _, short = BulkLine(results, fromNull); len(short) != 1 {
			t.Errorf("101 calls, null %v: %q, want one shortfall", fromNull, short)
		}
	}
	delete(results, rival.PgBouncer)
	if _, short = BulkLine(results, false); len(short) != 1 {
		t.Errorf("without PgBouncer: %q, want one shortfall", short)
	}
}

func TestIdleShortfalls(t *testing.T) {
	cases := []struct {
		name string
		idle Idle
		want int
	}{
		{"within", Idle{BytesPerClient: 1536, CPUBefore: 0.1, CPUWith: 0.3}, 0},
		{"memory", Idle{BytesPerClient: 1537}, 1},
		{"more CPU", Idle{CPUWith: 0.21}, 1},
		{"less CPU", Idle{CPUBefore: 0.5, CPUWith: 0.2}, 1},
	}
	for _, c := range cases {
		if got := c.idle.Shortfalls(); len(got) != c.want {
			t.Errorf("%s: %q, want %d", c.name, got, c.want)
		}
	}
}

func TestCaseNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Cases() {
		if seen[c.Name] {
			t.Errorf("two cases are named %s", c.Name)
		}
		seen[c.Name] = true
		if c.Mode == ModeSession && c.Clients > PoolSize {
			t.Errorf("%s: %d clients in session mode wait for ever for %d servers", c.Name, c.Clients, PoolSize)
		}
	}
}
