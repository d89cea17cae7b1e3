package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/corpus"
)

const (
	// soakVar is how long random conversations go on in each way, a duration;
	// seedVar is the seed of a run to repeat, a number.
	soakVar = "PGVIP_SOAK"
	seedVar = "PGVIP_SEED"

	// shortSoak is what a run takes without soakVar.
	shortSoak = 5 * time.Second

	// sameSeed is that of every second client, unless seedVar is set: what they say is
	// the same in each run.
	sameSeed = 1

	talkers     = 12 // clients whose every byte is compared, more than servers
	randomPool  = 4
	chatUnits   = 12
	shrinkLimit = 2 * time.Second // for a try at something that may hang
	randomHosts = 40              // first spare address of the ways
	mostCut     = 20              // conversations of which one may part from PostgreSQL's, see compare
)

// randomWay is a way under random conversations, and what these may use in it.
type randomWay struct {
	way
	dialect
}

func randomWays() []randomWay {
	base := func(name string, n int, more ...string) way {
		change := settings{"default_pool_size": strconv.Itoa(randomPool), "server_idle_timeout": "1s", "query_wait_notify": "0s", "admin_users": "[corpus]"}
		for i := 0; i+1 < len(more); i += 2 {
			change[more[i]] = more[i+1]
		}
		return way{name: name, host: randomHosts + n, change: change}
	}
	return []randomWay{
		{base("session", 0), dialect{copies: true, blocks: true, state: true, names: true, unnamed: true}},
		{base("transaction", 1, "pool_mode", "transaction"), dialect{copies: true, blocks: true, names: true}},
		{base("pinned", 2, "pool_mode", "transaction", "session_state", "pin", "default_pool_size", "16"), dialect{copies: true, blocks: true, state: true, names: true}},
		{base("statement", 3, "pool_mode", "statement"), dialect{copies: true}},
	}
}

// TestRandomConversations: many clients at once say what comes to mind, and each
// gets, byte for byte, what PostgreSQL says to the same. Beside them others come to
// grief in every way there is, and no server that any of them had is lent dirty.
// In the end nothing is left of anybody. pgvip is built with the race detector.
func TestRandomConversations(t *testing.T) {
	seeds := [2]uint64{sameSeed, uint64(time.Now().UnixNano())}
	if text := os.Getenv(seedVar); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = [2]uint64{seed, seed}
	}
	t.Logf("half of the clients speak by %s=%d, half by %d: set, it is the seed of all", seedVar, seeds[0], seeds[1])
	peaceful := newRandomRun(t, randomWays()[0], seeds)
	settle(t, peaceful.pgvip)
	peace := peaceful.pgvip.goroutines(t)
	for _, w := range randomWays() {
		t.Run(w.name, func(t *testing.T) {
			r := newRandomRun(t, w, seeds)
			r.run()
			r.endsAlone(peace)
		})
	}
}

// randomRun is one way under random conversations.
type randomRun struct {
	*testing.T
	randomWay
	pair
	pgvip  *process
	seeds  [2]uint64
	shared bool // servers are

	chats, abuses, examined, busy, excused, cut atomic.Int64
	keys                                        keyring
}

func newRandomRun(t *testing.T, w randomWay, seeds [2]uint64) *randomRun {
	r := &randomRun{T: t, randomWay: w, seeds: seeds, shared: w.name != "session"}
	r.pgvip = pgvipOf(t, raceBinary(t), w.host, w.change)
	r.pgvip.ready(t)
	leader, err := r.pgvip.cluster.WaitLeader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.direct = corpus.NewPlayer(corpusTarget(leader.Postgres.Addr))
	r.through = corpus.NewPlayer(corpusTarget(r.pgvip.primary))
	return r
}

func (r *randomRun) run() {
	length := shortSoak
	if text := os.Getenv(soakVar); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			r.Fatal(err)
		}
	}
	before := settle(r.T, r.pgvip)
	ctx, stop := context.WithTimeout(r.Context(), length)
	defer stop()
	var wg sync.WaitGroup
	for n := range uint64(talkers) {
		wg.Go(func() { r.talk(ctx, stop, n) })
	}
	for n := range uint64(abusers) {
		wg.Go(func() { r.abuse(ctx, rand.New(rand.NewPCG(r.seeds[n%2], 1000+n))) })
	}
	wg.Go(func() { r.examine(ctx) })
	wg.Go(func() { r.cancelLate(ctx) })
	wg.Wait()
	r.Logf("%d conversations compared, %d of them in part, %d answers excused, %d abuses, %d servers examined, %d late cancels",
		r.chats.Load(), r.cut.Load(), r.excused.Load(), r.abuses.Load(), r.examined.Load(), r.busy.Load())
	if r.cut.Load() > 1+r.chats.Load()/mostCut {
		r.Error("too many part from PostgreSQL's")
	}
	if r.chats.Load() == 0 || r.abuses.Load() == 0 || r.examined.Load() == 0 {
		r.Error("too little happened for this test to mean anything")
	}
	r.leaksNothing(before)
}

// talk holds one conversation after the other, and compares.
func (r *randomRun) talk(ctx context.Context, stop func(), n uint64) {
	for i := uint64(0); ctx.Err() == nil; i++ {
		seed := r.seeds[n%2] + n<<32 + i<<8
		c := compose(seed, r.dialect, chatUnits)
		chunking := r.chunking(seed)
		err := r.differs(r.Context(), c, chunking)
		if err == nil {
			r.chats.Add(1)
			continue
		}
		stop()
		less := r.shrink(c, chunking)
		r.Errorf("conversation %d of client %d, %v: %v\n%s", i, n, chunking, err, less)
	}
}

// chunking is how the conversation with a seed is cut into writes.
func (r *randomRun) chunking(seed uint64) corpus.Chunking {
	switch x := rand.New(rand.NewPCG(seed, 1)); x.IntN(8) {
	case 0:
		return corpus.Chunking{Coalesced: true}
	case 1, 2:
		return corpus.Chunking{Split: 1 + x.IntN(200)}
	case 3:
		return corpus.Chunking{SlowReader: true}
	}
	return corpus.Chunking{}
}

// differs plays a conversation directly and through pgvip.
func (r *randomRun) differs(ctx context.Context, c chat, chunking corpus.Chunking) error {
	all, err := corpus.Parse("random", strings.NewReader(c.text("random")))
	if err != nil {
		return err
	}
	want, err := r.direct.Play(ctx, all[0], corpus.Chunking{})
	if err != nil {
		return fmt.Errorf("direct: %w", err)
	}
	got, err := r.through.Play(ctx, all[0], chunking)
	if err != nil {
		return err
	}
	r.keys.add(got.Welcome)
	return r.compare(got, want)
}

// shrink leaves out units as long as the conversation still fails, and then says
// what is left. What fails only beside others is given whole.
func (r *randomRun) shrink(c chat, chunking corpus.Chunking) string {
	fails := func(c chat) error {
		ctx, cancel := context.WithTimeout(r.Context(), shrinkLimit)
		defer cancel()
		return r.differs(ctx, c, chunking)
	}
	if fails(c) == nil {
		return "alone it does not fail; the conversation was\n" + c.text("random")
	}
	for i := 0; i < len(c.units); {
		less := c
		less.units = append(append([]string(nil), c.units[:i]...), c.units[i+1:]...)
		if fails(less) == nil {
			i++
		} else {
			c = less
		}
	}
	return fmt.Sprintf("alone, with as little as this, it fails so: %v\n%s", fails(c), c.text("random"))
}
