// Command pgvip-bench runs pgvip beside its rivals on this machine and prints a
// line of key=value pairs for each result. It ends with 0 when everything kept
// its limits, 1 when something fell short, 2 when it could not measure.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"syscall"

	"github.com/pgvip/pgvip/bench"
	"github.com/pgvip/pgvip/bench/null"
)

// nullArgument, as the only one, makes this program the null backend: a process
// of its own, so that its CPU is nobody else's.
const nullArgument = "null"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) == 2 && os.Args[1] == nullArgument {
		os.Exit(serveNull(ctx))
	}
	os.Exit(run(ctx))
}

// run is main with an exit code, so that its deferred work is done.
func run(ctx context.Context) int {
	o, gate, err := options()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgvip-bench:", err)
		return 2
	}
	short, err := measure(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgvip-bench:", err)
		return 2
	}
	for _, s := range short {
		fmt.Println("bench short:", s)
	}
	if len(short) > 0 && gate {
		return 1
	}
	return 0
}

// measure sets the stage, runs the benchmark on it and clears it away, whatever
// happened.
func measure(ctx context.Context, o bench.Options) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	printMachine(ctx)
	stage, err := bench.NewStage(ctx, []string{self, nullArgument})
	if err != nil {
		return nil, err
	}
	short, err := bench.Run(ctx, stage, o)
	if closeErr := stage.Close(); err == nil {
		err = closeErr
	}
	return short, err
}

// options reads the command line. Quick and full runs differ in their defaults
// only; every flag holds for both.
func options() (o bench.Options, gate bool, err error) {
	var only, gates string
	var skip bool
	flag.StringVar(&o.Pgvip, "pgvip", "bin/pgvip", "`path` of pgvip")
	flag.BoolVar(&skip, "skip-pgvip", false, "measure the rivals alone")
	flag.StringVar(&o.PgBouncer, "pgbouncer", "pgbouncer", "`path` of PgBouncer; 1.25 or newer is the honest rival")
	flag.BoolVar(&o.Quick, "quick", false, "pgvip, PgBouncer and the chain only, in three minutes")
	flag.StringVar(&only, "cases", "", "measure only cases whose name matches this `regexp`")
	flag.StringVar(&gates, "gates", "", "comma-separated `list` of cases, bulk, idle (default all; quick: cases,bulk)")
	rounds := flag.Int("rounds", 0, "`number` of rounds of a case (default 8; quick: 5)")
	block := flag.Duration("block", 0, "`length` of a block, in whole seconds (default 3s; quick: 1s)")
	flag.BoolVar(&gate, "gate", true, "exit with 1 when something falls short")
	flag.Parse()

	o.Out = os.Stdout
	o.Plan = bench.FullPlan()
	o.Gates = []string{"cases", "bulk", "idle"}
	if o.Quick {
		o.Plan, o.Gates = bench.QuickPlan(), []string{"cases", "bulk"}
	}
	if *rounds > 0 {
		o.Plan.Rounds = *rounds
	}
	if *block > 0 {
		o.Plan.Block = *block
	}
	if gates != "" {
		o.Gates = strings.Split(gates, ",")
	}
	if skip {
		o.Pgvip, gate = "", false
	}
	if only != "" {
		if o.Only, err = regexp.Compile(only); err != nil {
			return o, gate, fmt.Errorf("-cases: %w", err)
		}
	}
	return o, gate, nil
}

// printMachine says what the figures were measured on.
func printMachine(ctx context.Context) {
	var u syscall.Utsname
	release := "unknown"
	if syscall.Uname(&u) == nil {
		b := make([]byte, 0, len(u.Release))
		for _, c := range u.Release {
			if c == 0 {
				break
			}
			b = append(b, byte(c))
		}
		release = string(b)
	}
	fmt.Printf("# machine: %d CPUs, Linux %s, %s\n", runtime.NumCPU(), release, runtime.Version())
	if out, err := exec.CommandContext(ctx, "pgbench", "--version").Output(); err == nil {
		fmt.Printf("# load: %s", out)
	}
}

// serveNull is the child process: it serves until it is told to stop, or until the
// kernel kills it together with its parent.
func serveNull(ctx context.Context) int {
	s, err := null.Listen("127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	fmt.Println("listening", s.Addr())
	<-ctx.Done()
	s.Close()
	return 0
}
