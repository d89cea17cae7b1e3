package vip

import (
	"context"
	"slices"
	"strings"
	"syscall"
	"time"
)

// busy is what a deed may take longer on a machine with more to do than processors,
// beyond what the protocol says.
const busy = 700 * time.Millisecond

// handover is for how long both may have the address when one that is Active hears
// a better one: that one adds it when it has sent its advert, as RFC 9568 says.
const handover = 100 * time.Millisecond

// start starts one of the two, and returns when it takes part.
func (d *duel) start(ctx context.Context, c *contender) (err error) {
	if c.process, err = c.launch(ctx); err != nil {
		return err
	}
	for !strings.Contains(c.text(), c.up) {
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// first starts one of the two, which is alone, and waits until it has the address.
func (d *duel) first(ctx context.Context, c *contender) error {
	if err := d.start(ctx, c); err != nil {
		return err
	}
	return d.await(ctx, c, 15*time.Second)
}

// await waits until c has the address, is the only one that has it, and the only one
// that answers.
func (d *duel) await(ctx context.Context, c *contender, limit time.Duration) error {
	for deadline := time.Now().Add(limit); !d.owns(c); {
		if time.Now().After(deadline) {
			return unlike("%s is not the one owner after %s (on interfaces: %s; answers: %q)", c.what, limit, d.holders(), d.who(d.observer.Owner()))
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func (d *duel) owns(c *contender) bool {
	return c.watch.Has() && !d.other(c).watch.Has() && d.observer.Owner() == c.MAC.String()
}

func (d *duel) holders() string {
	var all []string
	for _, c := range d.both() {
		if c.watch.Has() {
			all = append(all, c.what)
		}
	}
	return strings.Join(all, "+")
}

// who is behind a MAC.
func (d *duel) who(mac string) string {
	for _, c := range d.both() {
		if c.MAC.String() == mac {
			return c.what
		}
	}
	return mac
}

// keeps watches for some time that c has the address, and the other one never.
func (d *duel) keeps(ctx context.Context, c *contender, long time.Duration) error {
	from := time.Now()
	if err := pause(ctx, long); err != nil {
		return err
	}
	now := time.Now()
	if at, ok := added(d.other(c).watch.Spans(), from); ok {
		return unlike("%s took the address after %d ms", d.other(c).what, at.Sub(from).Milliseconds())
	}
	if held := overlap([][]span{c.watch.Spans(), {{from: from, to: now}}}, from, now); held < now.Sub(from)-time.Millisecond {
		return unlike("%s had the address for %d ms of %d", c.what, held.Milliseconds(), now.Sub(from).Milliseconds())
	}
	if macs := d.observer.Seen(from).macs(); !slices.Equal(macs, []string{c.MAC.String()}) {
		return unlike("%d hosts answered, not %s alone", len(macs), c.what)
	}
	return nil
}

// move is something that happens, after which c takes the address over.
type move struct {
	name  string // of the figures; empty for the first move
	deed  func() error
	to    *contender
	limit time.Duration // from the deed to the address on its interface
	least time.Duration // the same: not earlier
	// dual is for how long both may have it. Beyond that it is keepalived's own doing
	// when -1: a figure, and no fault.
	dual time.Duration
}

// moves does it and judges what follows.
func (d *duel) moves(ctx context.Context, m move) error {
	at := time.Now()
	if err := m.deed(); err != nil {
		return err
	}
	var came time.Time
	for {
		var ok bool
		if came, ok = added(m.to.watch.Spans(), at); ok {
			break
		}
		if time.Since(at) > m.limit+5*time.Second {
			return unlike("%s has not taken over after %s", m.to.what, time.Since(at).Round(time.Millisecond))
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
	took := came.Sub(at)
	d.result.more(figure(m.name, "takeover_ms"), took)
	if took > m.limit || took < m.least {
		d.result.fall("%s took over after %d ms, not %d to %d", m.to.what, took.Milliseconds(), m.least.Milliseconds(), m.limit.Milliseconds())
	}
	return d.judgeBoth(ctx, m, at, came)
}

// judgeBoth waits until only the new owner has the address, and says how long that took.
func (d *duel) judgeBoth(ctx context.Context, m move, at, came time.Time) error {
	old := d.other(m.to)
	wait := max(m.dual, 300*time.Millisecond) + busy
	for time.Since(came) < wait && (m.dual < 0 || old.watch.Has()) {
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	both := overlap([][]span{d.pgvip.watch.Spans(), d.ka.watch.Spans()}, at, time.Now())
	d.result.more(figure(m.name, "dual_owner_ms"), both)
	switch {
	case m.dual < 0:
		d.result.more(figure(m.name, "dual_by"), old.what)
	case both > m.dual+clockSlack:
		d.result.fall("both had the address for %d ms, at most %d", both.Milliseconds(), m.dual.Milliseconds())
	}
	return nil
}

func figure(move, name string) string {
	if move == "" {
		return name
	}
	return move + "_" + name
}

// signal sends a signal to all processes of a contender's host, children first: keepalived
// and pgvip have one each, which acts when its parent ends.
func (c *contender) signal(sig syscall.Signal) error {
	for _, pid := range c.PIDs() {
		if err := syscall.Kill(pid, sig); err != nil && err != syscall.ESRCH {
			return err
		}
	}
	return nil
}

// term asks a contender to end.
func (c *contender) term() error { return syscall.Kill(c.process.PID(), syscall.SIGTERM) }

// Of all processes at once.
func (c *contender) kill() error   { return c.signal(syscall.SIGKILL) }
func (c *contender) freeze() error { return c.signal(syscall.SIGSTOP) }
func (c *contender) thaw() error   { return c.signal(syscall.SIGCONT) }

// rejected are words in keepalived's log about adverts that it does not like.
var rejected = []string{
	"checksum", "too short", "too long", "length", "invalid", "bogus", "mismatch", "unexpected", "unknown",
	"wrong", "expect", "auth", "passwd", "send advert error", "link local",
}

// listen looks for complaints of each about the other's adverts.
func (d *duel) listen() {
	for line := range strings.Lines(d.ka.text()) {
		low := strings.ToLower(line)
		complains := func(words []string) bool {
			return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(low, w) })
		}
		if complains(rejected) && !complains(d.m.complaints) {
			d.result.fall("keepalived says %q", strings.TrimSpace(line))
		}
	}
	for line := range strings.Lines(d.pgvip.text()) {
		if strings.Contains(line, "advert of ") && len(d.m.complaints) == 0 {
			d.result.fall("pgvip says %q", strings.TrimSpace(line))
		}
	}
}
