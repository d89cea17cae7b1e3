package owner

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	histories = flag.Int("histories", 3000, "histories of random faults to run")
	seedFlag  = flag.Uint64("seed", 0, "of the first history; 0 for a fixed seed and a random one")
)

// What a history may show. Two holders while nobody is awake on one of them end
// with the kernel's expiry, or with the replacement of the keeper; a machine whose
// clock does not know of a pause ends with its longest promise.
const (
	boundSettled    = 2 * time.Second // from the end of the faults to one owner
	boundStay       = 6 * time.Second // the same when a node stays off for good
	boundUnattended = 3500 * ms
	boundPaused     = 2600 * ms
	boundOutage     = time.Second // after etcd's return, with takeover by ARP
)

// faulty says what is wrong with a history, "" for nothing.
func (o outcome) faulty() string {
	settled := boundSettled
	if o.stays {
		settled = boundStay
	}
	switch {
	case o.episode[unexplained] > 0:
		return fmt.Sprintf("two owners for %v", o.dual[unexplained])
	case max(o.dual[replaced], o.dual[unattended]) > boundUnattended:
		return fmt.Sprintf("an unattended address for %v", max(o.dual[replaced], o.dual[unattended]))
	case o.dual[paused] > boundPaused:
		return fmt.Sprintf("two owners for %v after a pause", o.dual[paused])
	case o.within > boundOutage:
		return fmt.Sprintf("two owners for %v after the outage", o.within)
	case o.settled < 0:
		return "never one owner again"
	case o.settled > settled:
		return fmt.Sprintf("one owner only %v after the faults", o.settled)
	}
	return ""
}

// summary is what many histories have shown.
type summary struct {
	count   int
	dual    [classes]time.Duration
	episode [classes]int
	within  time.Duration
	settled []time.Duration // of those where all nodes come back
	stays   []time.Duration
	faulty  []outcome
}

// runHistories runs the histories of consecutive seeds on all CPUs.
func runHistories(from uint64, count int, without repair) *summary {
	var next atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	sum := &summary{count: count}
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(count); i = next.Add(1) - 1 {
				seed := from + uint64(i)
				s := setupOf(seed)
				s.without = without
				o := history(seed, s)
				mu.Lock()
				sum.add(o)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(sum.settled)
	slices.Sort(sum.stays)
	slices.SortFunc(sum.faulty, func(a, b outcome) int { return int(a.seed - b.seed) })
	return sum
}

func (s *summary) add(o outcome) {
	for c := range classes {
		s.episode[c] += min(o.episode[c], 1)
		s.dual[c] = max(s.dual[c], o.dual[c])
	}
	s.within = max(s.within, o.within)
	if o.stays {
		s.stays = append(s.stays, o.settled)
	} else {
		s.settled = append(s.settled, o.settled)
	}
	if o.faulty() != "" {
		s.faulty = append(s.faulty, o)
	}
}

func quantile(l []time.Duration, q float64) int64 {
	if len(l) == 0 {
		return 0
	}
	return l[int(q*float64(len(l)-1))].Milliseconds()
}

func (s *summary) String() string {
	return fmt.Sprintf("histories count=%d dual=%d dual_ms_max=%d unattended=%d unattended_ms_max=%d replaced=%d replaced_ms_max=%d paused=%d paused_ms_max=%d "+
		"outage_dual=%d outage_dual_ms_max=%d one_owner_ms_p50=%d p99=%d max=%d dead_for_good=%d dead_for_good_ms_max=%d ok=%v",
		s.count, s.episode[unexplained], s.dual[unexplained].Milliseconds(),
		s.episode[unattended], s.dual[unattended].Milliseconds(), s.episode[replaced], s.dual[replaced].Milliseconds(),
		s.episode[paused], s.dual[paused].Milliseconds(), s.episode[inOutage], s.within.Milliseconds(),
		quantile(s.settled, 0.5), quantile(s.settled, 0.99), quantile(s.settled, 1), len(s.stays), quantile(s.stays, 1), len(s.faulty) == 0)
}

// TestHistories: random partitions, losses, delays, crashes and stops never lead to
// two owners, and always to one soon after they end. One history is shown.
func TestHistories(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	seeds := []uint64{1, rand.Uint64N(1 << 40)}
	if *seedFlag != 0 {
		seeds = []uint64{*seedFlag}
	}
	if *histories == 1 {
		s := setupOf(seeds[0])
		s.trace = true
		for _, line := range history(seeds[0], s).log {
			fmt.Println(line)
		}
	}
	for _, seed := range seeds {
		sum := runHistories(seed, *histories/len(seeds), 0)
		fmt.Printf("%v seed=%d\n", sum, seed)
		for i, o := range sum.faulty {
			if i < 10 {
				t.Errorf("history %d: %s; make histories HISTORIES=1 SEED=%d shows it", o.seed, o.faulty(), o.seed)
			}
		}
	}
}
