package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pgvip/pgvip/admin"
)

const (
	// drillBefore and drillAfter are how long it is looked at the virtual IP around a
	// move.
	drillBefore = 200 * time.Millisecond
	drillAfter  = 500 * time.Millisecond
	// drillSettle is how long a new owner is left alone before the way back.
	drillSettle = 3 * time.Second
	// drillPoll is how often it is asked whether the new owner is Active.
	drillPoll = 20 * time.Millisecond
)

// drillReport is what came of it.
type drillReport struct {
	VIP  string     `json:"vip"`
	OK   bool       `json:"ok"`
	Legs []drillLeg `json:"legs"`
}

// drillLeg is one move.
type drillLeg struct {
	From       string       `json:"from"`
	To         string       `json:"to"`
	OK         bool         `json:"ok"`
	Error      string       `json:"error,omitempty"`
	Gap        float64      `json:"gap_ms"` // longest time without an answer, as the drill saw it
	Bound      float64      `json:"bound_ms"`
	Probes     int          `json:"probes"`
	Unanswered int          `json:"unanswered"`
	Phases     []drillPhase `json:"phases"`
}

// drillPhase is something that somebody saw. Milliseconds count from the first of
// the same By.
type drillPhase struct {
	By   string  `json:"by"` // a node, or "client"
	What string  `json:"what"`
	At   float64 `json:"ms"`
}

// run does the legs. One that fails ends it: somebody has to look.
func (d *drill) run(ctx context.Context) *drillReport {
	r := &drillReport{VIP: d.address}
	r.Legs = append(r.Legs, d.leg(ctx, d.owner, d.target))
	if !d.o.stay && r.Legs[0].Error == "" {
		if err := sleep(ctx, drillSettle); err == nil {
			r.Legs = append(r.Legs, d.leg(ctx, d.target, d.owner))
		}
	}
	r.OK = d.o.stay || len(r.Legs) == 2
	for _, leg := range r.Legs {
		r.OK = r.OK && leg.OK
	}
	return r
}

// leg moves the address from one node to another.
func (d *drill) leg(ctx context.Context, from, to string) drillLeg {
	leg := drillLeg{From: from, To: to, Bound: milliseconds(d.o.max), Phases: []drillPhase{}}
	p := newProber(d.address)
	asked, err := d.move(ctx, p, from, to, &leg)
	p.stop()
	sum := p.sum(asked)
	leg.Gap, leg.Probes, leg.Unanswered = milliseconds(sum.gap), sum.probes, sum.unanswered
	leg.Phases = append(leg.Phases, drillPhase{"client", "the move is asked for", 0})
	if sum.gap > 0 {
		leg.Phases = append(leg.Phases,
			drillPhase{"client", "last answer before the gap", milliseconds(sum.before)},
			drillPhase{"client", "first answer after it", milliseconds(sum.after)})
	}
	switch {
	case err != nil:
		leg.Error = err.Error()
	case sum.answered == 0:
		leg.Error = "nobody answered at " + d.address
	}
	leg.OK = leg.Error == "" && sum.gap <= d.o.max
	return leg
}

// move has the address moved, waits until it is there, and notes the phases.
func (d *drill) move(ctx context.Context, p *prober, from, to string, leg *drillLeg) (asked time.Time, err error) {
	asked = time.Now()
	marks := make(map[string]uint64)
	for _, name := range []string{from, to} {
		s, err := d.look(ctx, name)
		if err != nil {
			return asked, fmt.Errorf("node %s: %w", name, err)
		}
		marks[name] = lastNumber(s)
	}
	if err := p.answers(ctx, drillBefore); err != nil {
		return asked, err
	}
	acting, cancel := context.WithTimeout(ctx, actPatience)
	defer cancel()
	asked = time.Now()
	if _, err := d.nodes[from].act(acting, "/vip/move", url.Values{"to": {to}}); err != nil {
		return asked, fmt.Errorf("node %s: %w", from, err)
	}
	if err := d.arrived(ctx, to); err != nil {
		return asked, err
	}
	if err := sleep(ctx, drillAfter); err != nil {
		return asked, err
	}
	for _, name := range []string{from, to} {
		s, err := d.look(ctx, name)
		if err != nil {
			return asked, fmt.Errorf("node %s: %w", name, err)
		}
		leg.Phases = append(leg.Phases, phasesOf(name, s, marks[name])...)
	}
	return asked, nil
}

// arrived waits until a node has the address.
func (d *drill) arrived(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, movePatience)
	defer cancel()
	for {
		s, err := d.look(ctx, name)
		if err == nil && s.State == admin.VIPActive && s.Holds {
			return nil
		}
		if sleep(ctx, drillPoll) != nil {
			return fmt.Errorf("node %s did not become Active within %s", name, movePatience)
		}
	}
}

func lastNumber(s *admin.VIP) uint64 {
	if len(s.Events) == 0 {
		return 0
	}
	return s.Events[len(s.Events)-1].Number
}

// phasesOf are the events of a node since a mark, by its own clock.
func phasesOf(name string, s *admin.VIP, mark uint64) []drillPhase {
	var list []drillPhase
	first := 0.0
	for _, e := range s.Events {
		if e.Number <= mark || e.Kind == "peer" || e.Kind == "error" && !e.Warn {
			continue
		}
		if list == nil {
			first = e.Boot
		}
		list = append(list, drillPhase{name, e.Text, math.Round((e.Boot-first)*1e6) / 1000})
	}
	return list
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// sleep waits, unless ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errors.New("interrupted")
	}
}

// write writes it for a terminal.
func (r *drillReport) write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := range r.Legs {
		leg := &r.Legs[i]
		fmt.Fprintf(t, "%s: %s -> %s\n", r.VIP, leg.From, leg.To)
		fmt.Fprintln(t, strings.Join([]string{"SEEN BY", "MS", "WHAT"}, "\t"))
		for _, p := range leg.Phases {
			fmt.Fprintf(t, "%s\t%.1f\t%s\n", p.By, p.At, p.What)
		}
		if err := t.Flush(); err != nil { // each table has columns of its own
			return err
		}
		fmt.Fprintf(w, "gap %.1f ms (bound %.0f ms), %d of %d probes without an answer: %s\n\n",
			leg.Gap, leg.Bound, leg.Unanswered, leg.Probes, leg.verdict())
	}
	return nil
}

func (leg *drillLeg) verdict() string {
	switch {
	case leg.Error != "":
		return "FAILED: " + leg.Error
	case !leg.OK:
		return "TOO LONG"
	default:
		return "ok"
	}
}
