package pool

import (
	"context"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/route"
)

// TestNodeLimit: a node's connections are bounded by what PostgreSQL takes, less
// what others have there, and by the configuration (rule 30).
func TestNodeLimit(t *testing.T) {
	l := newLedger()
	node := &route.Node{Name: "n1", Addr: "n1:5432"}
	a := l.open(Key{Node: node, Database: "d", User: "u"}, func() {}, func() {})
	limit := func() int { return a.limits[nodeLimit].max }
	if limit() != 0 {
		t.Errorf("nothing is known, and the limit is %d", limit())
	}
	for range 5 {
		if !l.take(&claim{account: a}, 1) {
			t.Fatal("no permit without a limit")
		}
	}
	for _, c := range []struct{ usable, backends, dialing, want int }{
		{100, 12, 0, 93}, // 5 are ours, 7 are not
		{100, 12, 2, 91}, // of ours two are not there yet
		{100, 3, 0, 100}, // some of ours are gone from PostgreSQL already
		{10, 60, 0, 1},   // others have more than all: a login will tell
	} {
		l.crowd(node.Addr, c.usable, c.backends, c.dialing)
		if limit() != c.want {
			t.Errorf("%+v: limit %d", c, limit())
		}
	}
	var granted bool
	if l.take(&claim{account: a, granted: func() { granted = true }}, 1) {
		t.Error("a permit beyond the limit")
	}
	l.crowd(node.Addr, 7, 5, 0)
	if !granted {
		t.Error("room at PostgreSQL helps nobody")
	}
	l.boundNode(node.Addr, 3)
	if limit() != 3 {
		t.Errorf("configured limit: %d, want 3", limit())
	}
	again := l.open(Key{Node: &route.Node{Name: "n1", Addr: node.Addr, Generation: 9}, Database: "x", User: "y"}, func() {}, func() {})
	if again.limits[nodeLimit] != a.limits[nodeLimit] {
		t.Error("the next life of the node has a limit of its own")
	}
}

// TestOneScout: while a node lets nobody in, one login at a time asks whether it
// does again, and then the others follow.
func TestOneScout(t *testing.T) {
	settings := usual()
	settings.PoolSize, settings.ServerLoginRetry = 3, time.Millisecond
	asked, more := make(chan struct{}), make(chan struct{})
	works := pgscript.Steps(pgscript.AcceptLogin(), pgscript.ExpectGone())
	server := pgscript.ServeEach(t, refusal("53300"),
		pgscript.Steps(pgscript.ExpectStartup(), pgscript.Tell(asked), pgscript.Wait(more),
			pgscript.Send(pgscript.AuthOK(), pgscript.Statuses("off"), pgscript.BackendKey(1, 2), pgscript.Ready('I')), pgscript.ExpectGone()),
		works, works)
	r := newRig(t, server.Addr, settings)
	first := r.acquire()
	<-asked
	second, third := r.acquire(), r.acquire()
	r.do(func() {
		if r.pool.dialing != 1 {
			t.Errorf("%d logins, want one", r.pool.dialing)
		}
	})
	close(more)
	first.getsOne()
	second.getsOne()
	third.getsOne()
}

// TestBerths: the logins to one node are bounded, and do not hold up another.
func TestBerths(t *testing.T) {
	var b berths
	ctx, cancel := context.WithCancel(t.Context())
	var leaves []func()
	for range maxNodeDials {
		leave, err := b.enter(ctx, "n1")
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leave)
	}
	if leave, err := b.enter(ctx, "n2"); err != nil {
		t.Error(err)
	} else {
		leave()
	}
	entered := make(chan error)
	go func() {
		leave, err := b.enter(ctx, "n1")
		if err == nil {
			leave()
		}
		entered <- err
	}()
	select {
	case <-entered:
		t.Error("one more than the bound came in")
	case <-time.After(20 * time.Millisecond):
	}
	leaves[0]()
	if err := <-entered; err != nil {
		t.Error(err)
	}
	leave, err := b.enter(ctx, "n1")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := b.enter(ctx, "n1"); err == nil {
		t.Error("came in although nobody waits any more")
	}
	leave()
	for _, leave := range leaves[1:] {
		leave()
	}
	if c := b.of("n1"); len(c.tokens) != 0 || c.wanted.Load() != 0 {
		t.Errorf("%d are in, %d want in, want none", len(c.tokens), c.wanted.Load())
	}
}
