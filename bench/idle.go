package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/pgvip/pgvip/bench/load"
	"github.com/pgvip/pgvip/bench/rival"
)

// The limits of the idle gate.
const (
	IdleClients = 10000
	// MaxIdleBytes is the memory (PSS) that one idle client may cost.
	MaxIdleBytes = 1536
	// MaxIdleCPU is by how much of a core the CPU time with all idle clients may
	// differ from that with none, in per cent.
	MaxIdleCPU = 0.2
)

const (
	idleSettle = 30 * time.Second // after the last login, so that buffers can go
	idleWatch  = 10 * time.Second // for the CPU time
)

// Idle is what idle clients cost a contender.
type Idle struct {
	Clients        int
	BytesPerClient float64 // slope of PSS from none to all
	CPUBefore      float64 // per cent of a core, without clients
	CPUWith        float64 // per cent of a core, with all
}

// MeasureIdle logs idle clients in and measures before and after. Nothing is
// asked of the contender in between: no forced collection, no query.
func MeasureIdle(ctx context.Context, c *rival.Contender, who load.Account, clients int) (Idle, error) {
	r := Idle{Clients: clients}
	// The first clients pay for code and tables that all share.
	warm, err := load.OpenIdle(ctx, c.Addr, who, 100)
	if err != nil {
		return r, fmt.Errorf("idle: %s: %w", c.Name, err)
	}
	warm.Close()
	if err := sleep(ctx, 5*time.Second); err != nil {
		return r, err
	}
	if r.CPUBefore, err = idleCPU(ctx, c); err != nil {
		return r, err
	}
	before, err := c.PSS()
	if err != nil {
		return r, err
	}
	all, err := load.OpenIdle(ctx, c.Addr, who, clients)
	if err != nil {
		return r, fmt.Errorf("idle: %s: %w", c.Name, err)
	}
	defer all.Close()
	if err := sleep(ctx, idleSettle); err != nil {
		return r, err
	}
	after, err := c.PSS()
	if err != nil {
		return r, err
	}
	r.BytesPerClient = float64(after-before) / float64(clients)
	if r.CPUWith, err = idleCPU(ctx, c); err != nil {
		return r, err
	}
	if err := all.Silent(); err != nil {
		return r, fmt.Errorf("idle: %s: %w", c.Name, err)
	}
	return r, nil
}

// idleCPU is the contender's CPU time over a while, in per cent of a core.
func idleCPU(ctx context.Context, c *rival.Contender) (float64, error) {
	before, err := c.CPU()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := sleep(ctx, idleWatch); err != nil {
		return 0, err
	}
	after, err := c.CPU()
	return 100 * float64(after-before) / float64(time.Since(start)), err
}

// Line is the result line of the idle gate for one contender.
func (r Idle) Line(name string) string {
	return fmt.Sprintf("bench gate=idle contender=%s clients=%d bytes_per_client=%.0f limit_bytes=%d"+
		" cpu_before_percent=%.3f cpu_with_percent=%.3f limit_cpu_diff_percent=%.1f",
		name, r.Clients, r.BytesPerClient, MaxIdleBytes, r.CPUBefore, r.CPUWith, MaxIdleCPU)
}

// Shortfalls says where pgvip's idle clients cost too much.
func (r Idle) Shortfalls() []string {
	var short []string
	if r.BytesPerClient > MaxIdleBytes {
		short = append(short, fmt.Sprintf("idle: bytes_per_client=%.0f limit=%d", r.BytesPerClient, MaxIdleBytes))
	}
	if diff := r.CPUWith - r.CPUBefore; diff > MaxIdleCPU || diff < -MaxIdleCPU {
		short = append(short, fmt.Sprintf("idle: cpu_diff_percent=%.3f limit=%.1f", diff, MaxIdleCPU))
	}
	return short
}

// sleep waits for d, or for ctx to end, whose cause it returns.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
