// Package load puts load on PostgreSQL or on a proxy before it: pgbench for
// queries, and an opener of its own for thousands of idle clients.
package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Account is who the load logs in as; everything under test trusts it.
type Account struct {
	User     string
	Database string
}

// Pgbench is one run of pgbench.
type Pgbench struct {
	Program  string // path; "" finds it in PATH
	Addr     string // "127.0.0.1:6432"
	Account  Account
	Protocol string // simple, extended or prepared
	Clients  int
	// Rate is how many transactions a second are begun, in all; 0 is as many as go.
	Rate int
	// Script is the path of a script; "" is the built-in -S.
	Script string
	// Exactly one of them is set. Duration counts in whole seconds.
	Duration     time.Duration
	Transactions int // per client
}

// Result is what pgbench reports.
type Result struct {
	Transactions int64
	TPS          float64 // without the time to connect
}

// errFailed says that transactions failed: such a run measures nothing.
var errFailed = errors.New("transactions failed")

// Init makes pgbench's tables at the given scale.
func (p Pgbench) Init(ctx context.Context, scale int) error {
	args, err := p.target("-i", "-q", "-s", strconv.Itoa(scale))
	if err != nil {
		return err
	}
	if out, err := p.command(ctx, args).CombinedOutput(); err != nil {
		return fmt.Errorf("pgbench -i: %w: %s", err, lastLines(string(out), 5))
	}
	return nil
}

// Run runs pgbench to its end.
func (p Pgbench) Run(ctx context.Context) (Result, error) {
	args, err := p.target(p.args()...)
	if err != nil {
		return Result{}, err
	}
	out, err := p.command(ctx, args).CombinedOutput()
	if err != nil {
		return Result{}, fmt.Errorf("pgbench on %s: %w: %s", p.Addr, err, lastLines(string(out), 5))
	}
	r, err := parse(string(out))
	if err != nil {
		return Result{}, fmt.Errorf("pgbench on %s: %w", p.Addr, err)
	}
	return r, nil
}

// args are the arguments of a run. Two threads at most: more would compete with
// what is measured.
func (p Pgbench) args() []string {
	threads := min(p.Clients, 2)
	args := []string{
		"-n", "-M", p.Protocol, "-c", strconv.Itoa(p.Clients), "-j", strconv.Itoa(threads),
	}
	if p.Script == "" {
		args = append(args, "-S")
	} else {
		args = append(args, "-f", p.Script)
	}
	if p.Rate > 0 {
		args = append(args, "-R", strconv.Itoa(p.Rate))
	}
	if p.Transactions > 0 {
		return append(args, "-t", strconv.Itoa(p.Transactions))
	}
	return append(args, "-T", strconv.Itoa(int(p.Duration/time.Second)))
}

// target appends where to connect and as whom.
func (p Pgbench) target(args ...string) ([]string, error) {
	host, port, err := net.SplitHostPort(p.Addr)
	if err != nil {
		return nil, fmt.Errorf("pgbench: %w", err)
	}
	return append(args, "-h", host, "-p", port, "-U", p.Account.User, p.Account.Database), nil
}

// command gives pgbench an environment of its own, so that nothing of the
// caller's (PGSERVICE, PGOPTIONS) reaches the measurement.
func (p Pgbench) command(ctx context.Context, args []string) *exec.Cmd {
	program := p.Program
	if program == "" {
		program = "pgbench"
	}
	cmd := exec.CommandContext(ctx, program, args...)
	// TLS and GSS would be tried first and cost a round trip each.
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "PGSSLMODE=disable", "PGGSSENCMODE=disable", "LC_ALL=C"}
	return cmd
}

// parse reads the summary that pgbench prints.
func parse(out string) (Result, error) {
	var r Result
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		switch name, value, _ := cutSummary(line); name {
		case "number of transactions actually processed":
			// "1234", or "1234/1234" with -t.
			value, _, _ = strings.Cut(value, "/")
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return Result{}, err
			}
			r.Transactions = n
		case "number of failed transactions":
			if !strings.HasPrefix(value, "0 ") {
				return Result{}, fmt.Errorf("%w: %s", errFailed, value)
			}
		case "tps":
			value, _, _ = strings.Cut(value, " ")
			tps, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return Result{}, err
			}
			r.TPS = tps
		}
	}
	if r.Transactions == 0 || r.TPS == 0 {
		return Result{}, fmt.Errorf("no result in the output: %s", lastLines(out, 5))
	}
	return r, nil
}

// cutSummary splits "name: value" and "name = value".
func cutSummary(line string) (name, value string, ok bool) {
	if name, value, ok = strings.Cut(line, " = "); ok {
		return name, value, true
	}
	return strings.Cut(line, ": ")
}

// lastLines is the end of an output, on one line for an error message.
func lastLines(s string, n int) string {
	all := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(all[max(0, len(all)-n):], " | ")
}
