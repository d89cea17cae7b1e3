// Package rival runs the contenders of a benchmark with equal terms: the same
// PostgreSQL behind them, the same pool size and mode, trust everywhere, logs
// off, defaults otherwise. Each is a set of processes whose CPU adds up.
package rival

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgvip/pgvip/bench/load"
	"github.com/pgvip/pgvip/bench/proc"
)

// Names of the contenders, as in the result lines.
const (
	Direct    = "direct"
	PgBouncer = "pgbouncer"
	HAProxy   = "haproxy"
	Chain     = "chain" // HAProxy in front of PgBouncer
	Pgvip     = "pgvip"

	WidePgBouncer = "pgbouncer64k" // PgBouncer with pkt_buf = 64 KB
)

// maxClients is what every pooler accepts: idle clients in their thousands.
const maxClients = 11000

// Terms are what all contenders have in common.
type Terms struct {
	Launcher *proc.Launcher
	Dir      string // for configuration and logs; readable by every user
	Backend  string // address of PostgreSQL or of the null backend
	SystemID string // of Backend, as in Patroni's "initialize" key
	Account  load.Account
	Mode     string // session or transaction
	PoolSize int
	UID, GID uint32 // who runs programs that refuse root
}

// Contender is something that clients can connect to, with the processes that
// stand between it and PostgreSQL: none when they connect directly.
type Contender struct {
	Name    string
	Addr    string
	Version string
	Procs   []*proc.Process

	support []*proc.Process // needed by them, and not measured
}

// CPU is the CPU time of all its processes so far.
func (c *Contender) CPU() (time.Duration, error) {
	var sum time.Duration
	for _, p := range c.Procs {
		d, err := p.CPU()
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// PSS is the memory of all its processes in bytes.
func (c *Contender) PSS() (int64, error) {
	var sum int64
	for _, p := range c.Procs {
		n, err := p.PSS()
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// Close ends its processes.
func (c *Contender) Close() error {
	var errs []error
	for _, p := range append(c.Procs, c.support...) {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// StartDirect is the contender without a proxy.
func StartDirect(t Terms) *Contender {
	return &Contender{Name: Direct, Addr: t.Backend, Version: "the backend itself"}
}

// start writes a configuration file, runs the program on it and waits until a
// query passes through.
func (t Terms) start(ctx context.Context, spec proc.Spec, file, config, addr string) (*proc.Process, error) {
	path := filepath.Join(t.Dir, file)
	// Readable by all: PgBouncer runs as another user. There is no secret in it.
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	spec.Dir = t.Dir
	spec.Args = append(spec.Args, path)
	spec.Ready = func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return load.Ping(ctx, addr, t.Account)
	}
	return t.Launcher.Start(ctx, spec)
}

// find looks a program up, also where an ordinary user's PATH does not lead.
func find(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return filepath.Abs(path)
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed", program)
}

// version is the first line that a program prints about itself.
func version(ctx context.Context, program string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return "", fmt.Errorf("version of %s: %w", program, err)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line, nil
}
