package corpus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// exhaustive is the length up to which a batch is split at every byte. Longer
// ones, with their kilobytes of sameness, are split near all that can matter.
const exhaustive = 1 << 10

// Splits returns the values of Chunking.Split that between them cut every batch
// of t behind every byte. All batches are cut in one play, so that there are as
// many plays as the longest batch has bytes, not as the transcript has. In
// batches of more than 1 KB only the places near message borders and near powers of
// two are cut; the full set is for callers that need no socket.
func (t *Transcript) Splits() []int {
	var at []int
	for _, b := range t.Script {
		if len(b.Client) <= exhaustive {
			for i := 1; i < len(b.Client); i++ {
				at = append(at, i)
			}
			continue
		}
		at = append(at, notable(b)...)
	}
	slices.Sort(at)
	return slices.Compact(at)
}

// Short reports whether no batch is longer than what Splits cuts at every byte,
// so that it can also be sent byte by byte in reasonable time.
func (t *Transcript) Short() bool {
	for _, b := range t.Script {
		if len(b.Client) > exhaustive {
			return false
		}
	}
	return true
}

// notable are the splits of a long batch: within a header's reach of a message
// border, and around the sizes that buffers have.
func notable(b Batch) []int {
	const (
		reach   = 6
		borders = 10
	)
	var at []int
	near := func(center int) {
		for i := max(1, center-reach); i <= center+reach && i < len(b.Client); i++ {
			at = append(at, i)
		}
	}
	for i, start := range b.Starts {
		// A thousand equal messages teach no more than the first few.
		if i < borders || i >= len(b.Starts)-2 {
			near(start)
		}
	}
	for size := exhaustive; size < len(b.Client); size *= 2 {
		at = append(at, size-1, size)
		if size+1 < len(b.Client) {
			at = append(at, size+1)
		}
	}
	return at
}

// PlaySplits plays t in each of the given splits with the given number of
// connections at a time, and compares each recording with want, which must have
// been played whole from the same transcript (from t.Kept() when t is
// reusable: then connections are kept and play one split after another). It
// returns the first difference or failure.
func (p *Player) PlaySplits(ctx context.Context, t *Transcript, splits []int, workers int, want *Recording) error {
	if t.Has(TagAlone) {
		workers = 1
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	work := make(chan int)
	errs := make(chan error, workers) // one each: a worker stops at its first
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			if err := p.splitWorker(ctx, t, work, want); err != nil {
				errs <- err
				cancel()
			}
		})
	}
	for _, at := range splits {
		select {
		case work <- at:
		case <-ctx.Done():
		}
	}
	close(work)
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return ctx.Err()
	}
}

// splitWorker plays the splits it draws from work, on one connection as long as
// the transcript lets it live.
func (p *Player) splitWorker(ctx context.Context, t *Transcript, work <-chan int, want *Recording) error {
	var s *session
	defer func() {
		if s != nil {
			s.close()
		}
	}()
	for at := range work {
		c := Chunking{Split: at}
		if s == nil {
			var err error
			if s, err = p.open(ctx, t.Startup, c); err != nil {
				return cancelled(ctx, fmt.Errorf("transcript %s, %v: %w", t.Name, c, err))
			}
		}
		steps, err := s.play(t, c)
		if err != nil {
			return cancelled(ctx, fmt.Errorf("transcript %s, %v: %w", t.Name, c, err))
		}
		got := &Recording{Name: t.Name, Welcome: s.welcome, Steps: steps}
		if err := Compare(got, want, p.Normaliser); err != nil {
			return fmt.Errorf("%v: %w", c, err)
		}
		if s.ended {
			s.close()
			s = nil
		}
	}
	return nil
}

// cancelled hides the failures of those who were only stopped.
func cancelled(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return err
}
