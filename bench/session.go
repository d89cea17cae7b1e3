package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/pgvip/pgvip/bench/load"
	"github.com/pgvip/pgvip/bench/proc"
	"github.com/pgvip/pgvip/bench/rival"
)

// Options say what a run of the benchmark measures.
type Options struct {
	Pgvip     string // path of the binary; "" leaves pgvip out
	PgBouncer string // path or name
	Quick     bool   // pgvip, PgBouncer and the chain only, and short
	Only      *regexp.Regexp
	Gates     []string // of "cases", "bulk" and "idle"
	Plan      Plan
	Out       io.Writer
}

// QuickPlan and FullPlan are how long each case takes.
func QuickPlan() Plan { return Plan{Rounds: 5, Block: time.Second} }

// FullPlan is the plan of figures that are published.
func FullPlan() Plan { return Plan{Rounds: 8, Block: 3 * time.Second} }

// Session is one run of the benchmark.
type Session struct {
	stage   *Stage
	options Options
	fields  map[field][]*rival.Contender
	short   []string
}

// field is a set of contenders that run side by side.
type field struct {
	mode string
	null bool
}

// Run measures everything that is asked for and prints a line for each result.
// It returns what fell short, and an error when something could not be measured.
func Run(ctx context.Context, stage *Stage, o Options) (short []string, err error) {
	s := &Session{stage: stage, options: o, fields: map[field][]*rival.Contender{}}
	if err := s.warnOfCompany(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	steps := []struct {
		gate string
		run  func(context.Context) error
	}{{"cases", s.cases}, {"bulk", s.bulk}, {"idle", s.idle}}
	for _, step := range steps {
		if !slices.Contains(o.Gates, step.gate) {
			continue
		}
		if err := step.run(ctx); err != nil {
			return s.short, err
		}
	}
	return s.short, nil
}

// warnOfCompany says when other programs use the machine: then CPU per query
// rises for all, by what they take of caches and by more frequent switches.
func (s *Session) warnOfCompany(ctx context.Context) error {
	const much = 0.05
	before, err := proc.ReadMachine()
	if err != nil {
		return err
	}
	if err := sleep(ctx, time.Second); err != nil {
		return err
	}
	after, err := proc.ReadMachine()
	if err != nil {
		return err
	}
	d := after.Sub(before)
	if share := float64(d.Busy) / float64(d.Total); share > much {
		fmt.Fprintf(s.options.Out, "# warning: other programs keep the machine %.0f %% busy: the figures are noisy\n", 100*share)
	}
	return nil
}

// cases measures the cases that are asked for, in the order of the table.
func (s *Session) cases(ctx context.Context) error {
	for _, c := range Cases() {
		if s.options.Only != nil && !s.options.Only.MatchString(c.Name) || s.options.Quick && !c.Gated {
			continue
		}
		if err := s.one(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// one measures one case and prints its line at once: a run that is stopped keeps
// what it has.
func (s *Session) one(ctx context.Context, c Case) error {
	all, err := s.field(ctx, field{c.Mode, c.Null})
	if err != nil {
		return err
	}
	script := ""
	if c.Null {
		// -S itself, without the look at tables that the null backend lacks.
		script = filepath.Join(s.stage.Dir, "select.sql")
		text := fmt.Sprintf("\\set aid random(1, %d)\nSELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n", 100000*scale)
		if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
			return fmt.Errorf("case %s: %w", c.Name, err)
		}
	}
	gun := load.Pgbench{Account: s.stage.Account, Script: script}
	if c.Mode == ModeTransaction {
		all = poolers(all)
	}
	o, err := Compare(ctx, c, s.options.Plan, all, gun)
	if err != nil {
		return err
	}
	fmt.Fprintln(s.options.Out, o.Line())
	if c.Gated {
		s.fallShort(SessionLimits().Shortfalls(o))
	}
	return nil
}

// poolers leaves out who has a server for each client: there are not that many.
func poolers(all []*rival.Contender) []*rival.Contender {
	return slices.DeleteFunc(slices.Clone(all), func(c *rival.Contender) bool {
		return c.Name == rival.Direct || c.Name == rival.HAProxy
	})
}

// bulk measures large results before both backends.
func (s *Session) bulk(ctx context.Context) error {
	for _, fromNull := range []bool{true, false} {
		all, err := s.field(ctx, field{ModeSession, fromNull})
		if err != nil {
			return err
		}
		wide, err := s.wide(ctx, fromNull)
		if err != nil {
			return err
		}
		results := map[string]Bulk{}
		for _, c := range append(slices.Clip(all), wide) {
			if len(c.Procs) == 0 {
				continue
			}
			if results[c.Name], err = MeasureBulk(ctx, s.stage, c, fromNull); err != nil {
				return err
			}
		}
		line, short := BulkLine(results, fromNull)
		fmt.Fprintln(s.options.Out, line)
		s.fallShort(short)
	}
	return nil
}

// wide starts a contender that runs in the bulk gate only. It stands in a field
// of its own, so that it is closed with the others.
func (s *Session) wide(ctx context.Context, fromNull bool) (*rival.Contender, error) {
	t, err := s.stage.Terms(ModeSession, fromNull)
	if err != nil {
		return nil, err
	}
	c, err := rival.StartWidePgBouncer(ctx, t, s.options.PgBouncer)
	if err != nil {
		return nil, err
	}
	own := field{mode: rival.WidePgBouncer, null: fromNull}
	s.fields[own] = []*rival.Contender{c}
	return c, nil
}

// idle measures PgBouncer too: the figure to compare with.
func (s *Session) idle(ctx context.Context) error {
	all, err := s.field(ctx, field{ModeSession, true})
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.Name != rival.Pgvip && c.Name != rival.PgBouncer {
			continue
		}
		r, err := MeasureIdle(ctx, c, s.stage.Account, IdleClients)
		if err != nil {
			return err
		}
		fmt.Fprintln(s.options.Out, r.Line(c.Name))
		if c.Name == rival.Pgvip {
			s.fallShort(r.Shortfalls())
		}
	}
	return nil
}

// fallShort notes what pgvip did not keep; without it there is nothing to keep.
func (s *Session) fallShort(short []string) {
	if s.options.Pgvip != "" {
		s.short = append(s.short, short...)
	}
}

// field gives the contenders of a mode and a backend; they start when they are
// first needed and stay until the end.
func (s *Session) field(ctx context.Context, f field) ([]*rival.Contender, error) {
	if all, ok := s.fields[f]; ok {
		return all, nil
	}
	t, err := s.stage.Terms(f.mode, f.null)
	if err != nil {
		return nil, err
	}
	first := len(s.fields) == 0
	for _, start := range s.starters(t) {
		c, err := start(ctx)
		if err != nil {
			return nil, err
		}
		s.fields[f] = append(s.fields[f], c)
		if first {
			fmt.Fprintf(s.options.Out, "# %s: %s\n", c.Name, c.Version)
		}
	}
	return s.fields[f], nil
}

// starters are how the contenders of a field come up, in the order of a round.
func (s *Session) starters(t rival.Terms) []func(context.Context) (*rival.Contender, error) {
	o := s.options
	type starter = func(context.Context) (*rival.Contender, error)
	all := []starter{
		func(ctx context.Context) (*rival.Contender, error) { return rival.StartPgBouncer(ctx, t, o.PgBouncer) },
		func(ctx context.Context) (*rival.Contender, error) { return rival.StartChain(ctx, t, o.PgBouncer) },
	}
	if o.Pgvip != "" {
		// First, so that it stands beside PgBouncer in every round.
		all = append([]starter{
			func(ctx context.Context) (*rival.Contender, error) { return rival.StartPgvip(ctx, t, o.Pgvip) },
		}, all...)
	}
	if !o.Quick {
		all = append(all,
			func(ctx context.Context) (*rival.Contender, error) { return rival.StartHAProxy(ctx, t) },
			func(context.Context) (*rival.Contender, error) { return rival.StartDirect(t), nil },
		)
	}
	return all
}

// close ends every contender that was started, also after an error.
func (s *Session) close() error {
	var errs []error
	for _, all := range s.fields {
		for _, c := range all {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
