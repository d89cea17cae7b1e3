package vip

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"time"
)

// play is what happens in a case.
type play func(context.Context, *duel) error

// side chooses one of the two.
type side func(*duel) *contender

func pgvipSide(d *duel) *contender      { return d.pgvip }
func keepalivedSide(d *duel) *contender { return d.ka }

// keepalivedsOwn marks two owners as what keepalived does by itself: killed or frozen,
// it leaves the address where it is.
const keepalivedsOwn = -1

// pair starts both, one of them first, which keeps the address.
func (d *duel) pair(ctx context.Context, first *contender) error {
	if err := d.first(ctx, first); err != nil {
		return err
	}
	if err := d.start(ctx, d.other(first)); err != nil {
		return err
	}
	return d.keeps(ctx, first, 1500*time.Millisecond)
}

// stays: the one that is first keeps the address, whoever comes.
func stays(first side) play {
	return func(ctx context.Context, d *duel) error {
		if err := d.pair(ctx, first(d)); err != nil {
			return err
		}
		return d.keeps(ctx, first(d), 4*time.Second)
	}
}

// leaves: the one that is first says priority 0, and the other one takes over.
func leaves(first side, skew time.Duration) play {
	return func(ctx context.Context, d *duel) error {
		c := first(d)
		if err := d.pair(ctx, c); err != nil {
			return err
		}
		if err := d.moves(ctx, move{deed: c.term, to: d.other(c), limit: skew + busy}); err != nil {
			return err
		}
		return d.await(ctx, d.other(c), time.Second)
	}
}

// preempts: the other one is first, and gives way, after a delay.
func preempts(better side, delay time.Duration) play {
	return func(ctx context.Context, d *duel) error {
		c := better(d)
		if err := d.first(ctx, d.other(c)); err != nil {
			return err
		}
		err := d.moves(ctx, move{
			deed: func() error { return d.start(ctx, c) }, to: c,
			least: delay, limit: delay + 6*time.Second, dual: handover,
		})
		if err != nil {
			return err
		}
		if err := d.await(ctx, c, time.Second); err != nil {
			return err
		}
		return d.keeps(ctx, c, time.Second)
	}
}

// dies: all processes of the one that is first are killed.
func dies(first side, down, dual time.Duration) play {
	return func(ctx context.Context, d *duel) error {
		c := first(d)
		if err := d.pair(ctx, c); err != nil {
			return err
		}
		return d.moves(ctx, move{deed: c.kill, to: d.other(c), limit: down + busy, dual: dual})
	}
}

// keeperDies: without an arbiter the next keeper cannot know whose the address is. It takes
// it off the interface, and says priority 0 in the name of the one before.
func keeperDies(skew time.Duration) play {
	return func(ctx context.Context, d *duel) error {
		if err := d.pair(ctx, d.pgvip); err != nil {
			return err
		}
		deed := func() error {
			for _, pid := range d.pgvip.PIDs() {
				if pid != d.pgvip.process.PID() {
					return syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			return errors.New("pgvip has no keeper")
		}
		if err := d.moves(ctx, move{deed: deed, to: d.ka, limit: skew + busy, dual: handover}); err != nil {
			return err
		}
		return d.keeps(ctx, d.ka, 1500*time.Millisecond)
	}
}

// mainDies: the keeper says priority 0 in the name of its main process.
func mainDies(skew time.Duration) play {
	return func(ctx context.Context, d *duel) error {
		if err := d.pair(ctx, d.pgvip); err != nil {
			return err
		}
		deed := func() error { return syscall.Kill(d.pgvip.process.PID(), syscall.SIGKILL) }
		if err := d.moves(ctx, move{deed: deed, to: d.ka, limit: skew + busy}); err != nil {
			return err
		}
		return d.await(ctx, d.ka, time.Second)
	}
}

// standsStill: the one that is first stands still, and goes on later. pgvip then leaves the
// address to the other one. keepalived takes it back, which has the higher priority.
func standsStill(first side, down, dual time.Duration) play {
	return func(ctx context.Context, d *duel) error {
		c := first(d)
		if err := d.pair(ctx, c); err != nil {
			return err
		}
		if err := d.moves(ctx, move{deed: c.freeze, to: d.other(c), limit: down + busy, dual: dual}); err != nil {
			return err
		}
		owner := d.other(c)
		if c == d.ka {
			owner = d.ka
		}
		thawed := time.Now()
		if err := c.thaw(); err != nil {
			return err
		}
		if err := d.await(ctx, owner, 2*time.Second); err != nil {
			return err
		}
		d.result.more("healed_ms", time.Since(thawed))
		return d.keeps(ctx, owner, 1500*time.Millisecond)
	}
}

// flaps: the cable of the one that is first is out for a while.
func flaps(first side, down time.Duration) play {
	return func(ctx context.Context, d *duel) error {
		c := first(d)
		if err := d.pair(ctx, c); err != nil {
			return err
		}
		out := func() error { return d.net.LinkDown(c.Host) }
		if err := d.moves(ctx, move{deed: out, to: d.other(c), limit: down + busy, dual: handover}); err != nil {
			return err
		}
		if err := d.await(ctx, d.other(c), time.Second); err != nil {
			return err
		}
		if err := d.net.LinkUp(c.Host); err != nil {
			return err
		}
		owner := d.other(c) // pgvip does not preempt
		if c == d.ka {
			owner = d.ka // keepalived does
		}
		if err := d.await(ctx, owner, 5*time.Second); err != nil {
			return err
		}
		return d.keeps(ctx, owner, 1500*time.Millisecond)
	}
}

// scriptFails: pgvip's script fails for a while. Its priority falls below keepalived's, or
// it leaves the election; and does not preempt later.
func scriptFails(wait time.Duration) play {
	return func(ctx context.Context, d *duel) error {
		if err := d.pair(ctx, d.pgvip); err != nil {
			return err
		}
		fail := func() error { return os.WriteFile(d.fault(), nil, 0o644) }
		const notice = 100 * time.Millisecond // the script's interval
		if err := d.moves(ctx, move{deed: fail, to: d.ka, limit: notice + wait + busy, dual: handover}); err != nil {
			return err
		}
		if err := d.await(ctx, d.ka, time.Second); err != nil {
			return err
		}
		if err := os.Remove(d.fault()); err != nil {
			return err
		}
		return d.keeps(ctx, d.ka, 1500*time.Millisecond)
	}
}

// partition: both are Active until they hear each other, and then the better one is, and
// says again where the address is.
func partition(better side) play {
	return func(ctx context.Context, d *duel) error {
		c := better(d)
		if err := d.pair(ctx, c); err != nil {
			return err
		}
		if err := d.net.Cut(ctx, Both(lanBridge, d.pgvip.Host, d.ka.Host)...); err != nil {
			return err
		}
		for !d.pgvip.watch.Has() || !d.ka.watch.Has() {
			if err := pause(ctx, 5*time.Millisecond); err != nil {
				return err
			}
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		mended := time.Now()
		if err := d.net.Mend(ctx); err != nil {
			return err
		}
		if err := d.await(ctx, c, time.Second+busy); err != nil {
			return err
		}
		d.result.more("healed_ms", time.Since(mended))
		if err := d.keeps(ctx, c, 1500*time.Millisecond); err != nil {
			return err
		}
		again := d.observer.Seen(mended).only(c.MAC.String()).announced
		d.result.more("announced", len(again))
		// A keepalived that hears pgvip first gives way without a word: then pgvip does not
		// know that there were two. pgvip says one.
		if len(again) == 0 && c == d.ka {
			d.result.fall("%s did not announce the address again", c.what)
		}
		return nil
	}
}

// bothOwn: version 2 has packets dropped that differ in some things, so that both are Active
// ("MUST discard", RFC 3768, section 7.1). pgvip says why.
func bothOwn(why string) play {
	return func(ctx context.Context, d *duel) error {
		if err := d.first(ctx, d.pgvip); err != nil {
			return err
		}
		if err := d.start(ctx, d.ka); err != nil {
			return err
		}
		for !d.pgvip.watch.Has() || !d.ka.watch.Has() || !strings.Contains(d.pgvip.text(), why) {
			if err := pause(ctx, 20*time.Millisecond); err != nil {
				return unlike("pgvip does not say %q, or one has no address (%s has)", why, d.holders())
			}
		}
		d.result.more("dual_by", "protocol")
		return nil
	}
}
