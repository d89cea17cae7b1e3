package vip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Interop is one case of a pgvip and a keepalived that are one virtual router.
type Interop struct {
	Name string
	// Run plays it on a network of its own. An error means that it could not be played.
	Run func(context.Context, Options) (*InteropResult, error)
}

// InteropResult is what came of it.
type InteropResult struct {
	Case    string
	More    []string // key=value
	Reasons []string // why it is not ok
}

// OK reports whether all was as it has to be.
func (r *InteropResult) OK() bool { return len(r.Reasons) == 0 }

// fall notes a reason why it is not.
func (r *InteropResult) fall(format string, args ...any) {
	r.Reasons = append(r.Reasons, fmt.Sprintf(format, args...))
}

// more adds a figure to the line; a duration is shown in milliseconds.
func (r *InteropResult) more(key string, value any) {
	if d, ok := value.(time.Duration); ok {
		value = d.Milliseconds()
	}
	r.More = append(r.More, fmt.Sprintf("%s=%v", key, value))
}

// String is the result's line.
func (r *InteropResult) String() string {
	line := fmt.Sprintf("vip interop=%s ok=%t", r.Case, r.OK())
	for _, m := range r.More {
		line += " " + m
	}
	if !r.OK() {
		line += fmt.Sprintf(" why=%q", strings.Join(r.Reasons, "; "))
	}
	return line
}

// meeting is a case as data: how the two are configured, and what happens to them.
// Without more both speak version 3 each 100 ms, and pgvip does not preempt (keepalived does).
type meeting struct {
	name       string
	pgvip      settings          // changes
	keepalived KeepalivedOptions // changes
	low        bool              // pgvip has the lower address
	six        bool              // it is about an IPv6 address
	play       func(context.Context, *duel) error

	// complaints are words of lines in keepalived's log that belong to the case.
	complaints []string
}

// InteropCases are all that there are, in the order in which they run.
func InteropCases() []Interop {
	var all []Interop
	for _, m := range meetings() {
		all = append(all, Interop{m.name, func(ctx context.Context, o Options) (*InteropResult, error) {
			return m.run(ctx, o)
		}})
	}
	return all
}

// vip is the address that it is about.
func (m meeting) vip() netip.Addr {
	if m.six {
		return VIP6
	}
	return VIP4
}

// meetTimeout is more than any case takes.
const meetTimeout = 90 * time.Second

func (m meeting) run(ctx context.Context, o Options) (_ *InteropResult, err error) {
	if err := CheckKeepalived(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, meetTimeout)
	defer cancel()
	d, err := newDuel(ctx, m, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	var wrong *unexpected
	switch err := m.play(ctx, d); {
	case errors.As(err, &wrong):
		d.result.fall("%s", wrong)
	case err != nil:
		return nil, fmt.Errorf("interop %s: %w\n%s", m.name, err, d.tails())
	}
	d.listen()
	if !d.result.OK() {
		fmt.Fprintf(o.Log, "%s\n%s", d.result, d.tails())
	}
	return d.result, nil
}

// unexpected is what one of the two did and should not have, after which a case cannot
// go on.
type unexpected struct{ text string }

func (u *unexpected) Error() string { return u.text }

func unlike(format string, args ...any) error {
	return &unexpected{fmt.Sprintf(format, args...)}
}
