// Command pgvip-failover breaks a cluster in front of which pgvip stands, in
// every way that it knows, and prints what clients noticed: a line for each
// scenario and mode. It ends with 1 when a line of pgvip is not ok, with 2 when
// something could not be tried.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgvip/pgvip/bench/failover"
)

func main() { os.Exit(run()) }

// wanted is what the command line asks for.
type wanted struct {
	failover.Options
	numbers []int
	repeat  int
}

func run() int {
	w, err := parse()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgvip-failover:", err)
		return 2
	}
	if os.Getenv(ownNetwork) == "" {
		return again()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := failover.OwnNetwork(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "pgvip-failover:", err)
		return 2
	}
	began := time.Now()
	t := &tally{}
	if err := t.pass(ctx, w); err != nil {
		fmt.Fprintln(os.Stderr, "pgvip-failover:", err)
	}
	fmt.Printf("failover lines=%d short=%d broken=%d took_s=%.0f\n", t.lines, t.short, t.broken, time.Since(began).Seconds())
	switch {
	case t.broken > 0:
		return 2
	case t.short > 0:
		return 1
	default:
		return 0
	}
}

// ownNetwork is the variable that tells the second of us from the first.
const ownNetwork = "PGVIP_FAILOVER_NETWORK"

// again runs this program in a network namespace of its own, where addresses can
// vanish, and returns how that ended. It needs root.
func again() int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgvip-failover:", err)
		return 2
	}
	// The kernel kills it when the thread that started it ends.
	runtime.LockOSThread()
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), ownNetwork+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM, Setpgid: true}
	signals := make(chan os.Signal, 1) // never closed
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "pgvip-failover:", err)
		return 2
	}
	go func() {
		for s := range signals {
			cmd.Process.Signal(s)
		}
	}()
	if err := cmd.Wait(); err != nil && cmd.ProcessState == nil {
		return 2
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code
	}
	return 2 // killed
}

func parse() (wanted, error) {
	w := wanted{}
	var numbers, mode, rival string
	flag.StringVar(&w.Binary, "pgvip", "bin/pgvip", "pgvip's `program`")
	flag.StringVar(&numbers, "scenario", "", "comma-separated `numbers` of scenarios (default all)")
	flag.IntVar(&w.repeat, "repeat", 1, "how many `times` each scenario runs")
	flag.StringVar(&mode, "mode", "both", "pool `mode`: session, transaction or both")
	flag.StringVar(&rival, "rival", "", "`name` of a rival beside pgvip: haproxy")
	flag.StringVar(&w.Keep, "keep", "", "`folder` for the logs of pgvip, Patroni, PostgreSQL and etcd")
	list := flag.Bool("list", false, "list the scenarios and end")
	flag.Parse()
	if *list {
		for _, s := range failover.Scenarios() {
			fmt.Printf("%d %s\n", s.Number, s.Name)
		}
		os.Exit(0)
	}
	w.Log = os.Stderr
	switch mode {
	case "both":
		w.Modes = []string{failover.Session, failover.Transaction}
	case failover.Session, failover.Transaction:
		w.Modes = []string{mode}
	default:
		return w, fmt.Errorf("-mode: %q is none", mode)
	}
	if rival != "" && rival != failover.HAProxy {
		return w, fmt.Errorf("-rival: %q is none", rival)
	}
	w.Rival = rival != ""
	for _, text := range strings.FieldsFunc(numbers, func(c rune) bool { return c == ',' || c == ' ' }) {
		n, err := strconv.Atoi(text)
		if err != nil {
			return w, fmt.Errorf("-scenario: %w", err)
		}
		w.numbers = append(w.numbers, n)
	}
	return w, nil
}

// tally counts how a pass goes.
type tally struct {
	lines, short, broken int
}

// pass runs what is wanted on one lab; one that a scenario has broken beyond
// repair is replaced.
func (t *tally) pass(ctx context.Context, w wanted) error {
	var rig *failover.Rig
	defer func() {
		if rig != nil {
			rig.Close()
		}
	}()
	for _, s := range failover.Scenarios() {
		if w.numbers != nil && !slices.Contains(w.numbers, s.Number) {
			continue
		}
		for range w.repeat {
			if rig == nil {
				fresh, err := failover.NewRig(ctx, w.Options)
				if err != nil {
					t.broken++
					return err
				}
				rig = fresh
			}
			results, err := rig.Run(ctx, s)
			t.print(results)
			if ctx.Err() != nil {
				t.broken++
				return context.Cause(ctx)
			}
			if err != nil {
				t.lost(s, err)
				rig.Close()
				rig = nil
			}
		}
	}
	return nil
}

func (t *tally) print(results []*failover.Result) {
	for _, r := range results {
		fmt.Println(r)
		t.lines++
		if !r.OK() && r.Mode != failover.HAProxy {
			t.short++
		}
	}
}

// lost prints the line of a scenario that could not be run to its end.
func (t *tally) lost(s failover.Scenario, err error) {
	t.broken++
	fmt.Fprintln(os.Stderr, err)
	first, _, _ := strings.Cut(err.Error(), "\n")
	r := failover.Result{Scenario: s.Number, Name: s.Name, Mode: "na", Reasons: []string{first}}
	fmt.Println(&r)
}
