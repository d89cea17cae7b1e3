// Command pgvip-vip breaks a LAN with two pgvip nodes in every way that it knows, and
// prints what became of the virtual IP: a line for each scenario. It ends with 1
// when a line is not ok, with 2 when something could not be tried. Where network
// namespaces cannot be made it says why and ends with 0.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgvip/pgvip/bench/vip"
)

func main() { os.Exit(run()) }

// wanted is what the command line asks for.
type wanted struct {
	vip.Options
	scenarios []string // numbers, or number/case
	interop   []string // cases with keepalived
	repeat    int
}

func run() int {
	w, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgvip-vip:", err)
		return 2
	}
	if err := vip.Check(); err != nil {
		fmt.Printf("vip skipped=true why=%q\n", err)
		return 0
	}
	if !vip.InOwnNetwork() {
		return vip.Again()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := vip.OwnNetwork(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "pgvip-vip:", err)
		return 2
	}
	began := time.Now()
	t := &tally{}
	for _, pass := range []func(context.Context, wanted) error{t.pass, t.meet} {
		if err := pass(ctx, w); err != nil {
			fmt.Fprintln(os.Stderr, "pgvip-vip:", err)
		}
	}
	fmt.Printf("vip lines=%d short=%d broken=%d took_s=%.0f\n", t.lines, t.short, t.broken, time.Since(began).Seconds())
	switch {
	case t.broken > 0 || t.lines == 0:
		return 2
	case t.short > 0:
		return 1
	default:
		return 0
	}
}

// parse reads the command line; -list ends the program.
func parse(args []string) (wanted, error) {
	w := wanted{}
	var scenarios, interop string
	flag := flag.NewFlagSet("pgvip-vip", flag.ExitOnError)
	flag.StringVar(&w.Binary, "pgvip", "bin/pgvip", "pgvip's `program`")
	flag.StringVar(&scenarios, "scenario", "", "comma-separated `numbers` of scenarios, or number/case (default all)")
	flag.StringVar(&interop, "interop", "", "comma-separated `cases` with keepalived, or all (with -scenario or -interop only what they name)")
	flag.IntVar(&w.repeat, "repeat", 1, "how many `times` each scenario runs")
	flag.DurationVar(&w.Soak, "soak", 0, "for how `long` the network of scenario 41 is bad (default 30s)")
	flag.StringVar(&w.Keep, "keep", "", "`folder` for the logs of pgvip")
	list := flag.Bool("list", false, "list the scenarios and end")
	flag.Parse(args) // it ends the program where it cannot
	if *list {
		printNames()
		os.Exit(0)
	}
	w.Log = os.Stderr
	w.scenarios, w.interop = names(scenarios), names(interop)
	for _, name := range w.scenarios {
		if !slices.ContainsFunc(vip.Scenarios(), func(s vip.Scenario) bool { return named(s, name) }) {
			return w, fmt.Errorf("-scenario: %q is none", name)
		}
	}
	for _, name := range w.interop {
		if name != all && !slices.ContainsFunc(vip.InteropCases(), func(c vip.Interop) bool { return c.Name == name }) {
			return w, fmt.Errorf("-interop: %q is none", name)
		}
	}
	if len(w.scenarios)+len(w.interop) == 0 {
		w.scenarios, w.interop = []string{all}, []string{all}
	}
	return w, nil
}

// all names everything.
const all = "all"

func names(list string) []string {
	return strings.FieldsFunc(list, func(c rune) bool { return c == ',' || c == ' ' })
}

func printNames() {
	for _, s := range vip.Scenarios() {
		fmt.Printf("%d/%s\n", s.Number, s.Case)
	}
	for _, c := range vip.InteropCases() {
		fmt.Printf("interop %s\n", c.Name)
	}
}

// named reports whether a name of the command line means a scenario.
func named(s vip.Scenario, name string) bool {
	number := strconv.Itoa(s.Number)
	return name == all || name == number || name == number+"/"+s.Case
}

// tally counts how a pass goes.
type tally struct {
	lines, short, broken int
}

// pass runs what is wanted on one rig; one that a scenario has broken beyond repair is
// replaced.
func (t *tally) pass(ctx context.Context, w wanted) error {
	var rig *vip.Rig
	defer func() {
		if rig != nil {
			rig.Close()
		}
	}()
	for _, s := range vip.Scenarios() {
		if !slices.ContainsFunc(w.scenarios, func(name string) bool { return named(s, name) }) {
			continue
		}
		for range w.repeat {
			if rig == nil {
				fresh, err := vip.NewRig(ctx, w.Options)
				if err != nil {
					t.broken++
					return err
				}
				rig = fresh
			}
			result, err := rig.Run(ctx, s)
			if ctx.Err() != nil {
				t.broken++
				return context.Cause(ctx)
			}
			if err != nil {
				t.lost(s, err)
				rig.Close()
				rig = nil
				continue
			}
			t.print(result, result.OK())
		}
	}
	return nil
}

// meet runs the cases with keepalived.
func (t *tally) meet(ctx context.Context, w wanted) error {
	for _, c := range vip.InteropCases() {
		if !slices.Contains(w.interop, all) && !slices.Contains(w.interop, c.Name) {
			continue
		}
		for range w.repeat {
			result, err := c.Run(ctx, w.Options)
			if ctx.Err() != nil {
				t.broken++
				return context.Cause(ctx)
			}
			if err != nil {
				t.broken++
				fmt.Fprintln(os.Stderr, err)
				result = &vip.InteropResult{Case: c.Name, Reasons: []string{firstLine(err)}}
				fmt.Println(result)
				continue
			}
			t.print(result, result.OK())
		}
	}
	return nil
}

func (t *tally) print(line fmt.Stringer, ok bool) {
	fmt.Println(line)
	t.lines++
	if !ok {
		t.short++
	}
}

func firstLine(err error) string {
	first, _, _ := strings.Cut(err.Error(), "\n")
	return first
}

// lost prints the line of a scenario that could not be run to its end.
func (t *tally) lost(s vip.Scenario, err error) {
	t.broken++
	fmt.Fprintln(os.Stderr, err)
	fmt.Println(&vip.Result{Scenario: s.Number, Case: s.Case, Reasons: []string{firstLine(err)}})
}
