package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pgvip/pgvip/bench/load"
	"github.com/pgvip/pgvip/bench/proc"
	"github.com/pgvip/pgvip/bench/rival"
)

// The limits of the bulk gate.
const (
	// MaxBulkCalls is how many data system calls pgvip may need for a 1 MB
	// result that the null backend writes at once.
	MaxBulkCalls = 60
	// MaxBulkRatio is pgvip's share of PgBouncer's calls for such a result from
	// PostgreSQL, which writes it in pieces of 8 KB.
	MaxBulkRatio = 0.2
)

// bulkResults is how many results are fetched: the calls of login and reset
// spread over them.
const bulkResults = 40

// Both give 10,000 rows of 105 bytes on the wire: 1 MB.
const (
	bulkNullSQL     = "SELECT null_rows(10000, 94);\n"
	bulkPostgresSQL = "SELECT repeat('x', 94) FROM generate_series(1, 10000);\n"
)

// Bulk is what one contender needs for one 1 MB result.
type Bulk struct {
	Calls float64 // data system calls
	CPU   float64 // µs
}

// MeasureBulk fetches 1 MB results through a contender, one client, and counts.
func MeasureBulk(ctx context.Context, s *Stage, c *rival.Contender, fromNull bool) (Bulk, error) {
	sql := bulkPostgresSQL
	if fromNull {
		sql = bulkNullSQL
	}
	script := filepath.Join(s.Dir, "bulk.sql")
	if err := os.WriteFile(script, []byte(sql), 0o644); err != nil {
		return Bulk{}, fmt.Errorf("bulk: %w", err)
	}
	gun := load.Pgbench{
		Addr: c.Addr, Account: s.Account, Protocol: "simple", Clients: 1,
		Script: script, Transactions: bulkResults,
	}
	if _, err := gun.Run(ctx); err != nil { // buffers grow, the pool connects
		return Bulk{}, fmt.Errorf("bulk: warm up %s: %w", c.Name, err)
	}
	counter, err := proc.CountDataCalls(c.Procs...)
	if err != nil {
		return Bulk{}, fmt.Errorf("bulk: %w", err)
	}
	defer counter.Close()
	before, err := c.CPU()
	if err != nil {
		return Bulk{}, err
	}
	if _, err := gun.Run(ctx); err != nil {
		return Bulk{}, fmt.Errorf("bulk: %s: %w", c.Name, err)
	}
	after, err := c.CPU()
	if err != nil {
		return Bulk{}, err
	}
	calls, err := counter.Count()
	if err != nil {
		return Bulk{}, err
	}
	return Bulk{Calls: float64(calls) / bulkResults, CPU: micros(after-before) / bulkResults}, nil
}

// BulkLine is the result line of the bulk gate before one backend, and what
// falls short. Contenders without a measurement are left out.
func BulkLine(results map[string]Bulk, fromNull bool) (line string, short []string) {
	backend := "postgres"
	if fromNull {
		backend = "null"
	}
	line = "bench gate=bulk backend=" + backend
	for _, name := range []string{rival.Pgvip, rival.PgBouncer, rival.WidePgBouncer, rival.Chain} {
		if b, ok := results[name]; ok {
			line += fmt.Sprintf(" %s_calls=%.1f %s_us=%.0f", name, b.Calls, name, b.CPU)
		}
	}
	ours, measured := results[rival.Pgvip]
	if !measured {
		return line, []string{"bulk " + backend + ": pgvip was not measured"}
	}
	if fromNull {
		line += fmt.Sprintf(" limit_calls=%d", MaxBulkCalls)
		if ours.Calls > MaxBulkCalls {
			short = append(short, fmt.Sprintf("bulk null: pgvip_calls=%.1f limit=%d", ours.Calls, MaxBulkCalls))
		}
		return line, short
	}
	ratio := ours.Calls / results[rival.PgBouncer].Calls
	line += fmt.Sprintf(" ratio_pgbouncer=%.3f limit_ratio=%.2f", ratio, MaxBulkRatio)
	if !(ratio <= MaxBulkRatio) { // NaN falls short too
		short = append(short, fmt.Sprintf("bulk postgres: ratio_pgbouncer=%.3f limit=%.2f", ratio, MaxBulkRatio))
	}
	return line, short
}
