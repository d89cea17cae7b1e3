package pool

import (
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// patience bounds everything that should take no time at all.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is one pool on a loop of its own, in front of a scripted server.
type rig struct {
	t    *testing.T
	loop *loop.Loop
	set  *Set
	pool *Pool
	now  atomic.Int64 // counts the calls that borrowers got

	learned atomic.Pointer[route.Role] // that the last login was for
}

// usual are the settings of a rig: one server, no time limits.
func usual() Settings {
	return Settings{Rules: Rules{PoolSize: 1, ServerResetQuery: "DISCARD ALL", ServerLifetime: time.Hour}}
}

// newRig makes a pool for a replica at addr, whose logins need no proof.
func newRig(t *testing.T, addr string, settings Settings) *rig {
	t.Helper()
	l, err := loop.New()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		l.Run()
		close(done)
	}()
	r := &rig{t: t, loop: l}
	r.set = NewSet(Options{Settings: settings, Loops: []*loop.Loop{l}, Log: zap.NewNop(),
		LoggedIn: func(_ Key, role route.Role, _ []wire.Param) { r.learned.Store(&role) }})
	r.pool = r.set.Pool(r.key(addr), route.Replica)
	t.Cleanup(func() {
		r.set.Close()
		l.Close()
		<-done
	})
	return r
}

func (r *rig) key(addr string) Key {
	return Key{Node: &route.Node{Name: "n1", Addr: addr}, Database: "app", User: "app"}
}

// do runs f on the loop and waits for it.
func (r *rig) do(f func()) {
	r.t.Helper()
	done := make(chan struct{})
	if err := r.loop.Post(func() {
		f()
		close(done)
	}); err != nil {
		r.t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(patience):
		r.t.Fatal("the loop is stuck")
	}
}

// eventually waits until a condition holds on the loop.
func (r *rig) eventually(what string, holds func() bool) {
	r.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		var ok bool
		r.do(func() { ok = holds() })
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// empty waits until the pool has let go of everything.
func (r *rig) empty() {
	r.t.Helper()
	p := r.pool
	r.eventually("the pool is empty", func() bool {
		return p.open() == 0 && len(p.idle) == 0 && p.queue.size == 0
	})
}

// borrower is a client that remembers what it was told. Its fields belong to the
// loop.
type borrower struct {
	rig     *rig
	profile Profile
	onLent  func(*Server)
	onReady func(*Server)

	waiter *Waiter
	server *Server
	turn   int64 // when Lent was called
	got    []byte
	ready  int
	calls  []string
	err    *wire.Error
	why    Loss
}

func (r *rig) borrower(settings ...wire.Param) *borrower {
	return &borrower{rig: r, profile: Profile{Origin: &Origin{Startup: settings}}}
}

// acquire asks for a server without waiting for it.
func (r *rig) acquire(settings ...wire.Param) *borrower {
	r.t.Helper()
	b := r.borrower(settings...)
	r.do(func() { b.waiter = r.pool.Acquire(b) })
	return b
}

// lend asks for a server and waits for it.
func (r *rig) lend(settings ...wire.Param) *borrower {
	r.t.Helper()
	b := r.acquire(settings...)
	r.eventually("a server is lent", func() bool { return b.server != nil })
	return b
}

// release gives the server back, on the loop.
func (b *borrower) release() {
	b.rig.t.Helper()
	b.rig.do(func() {
		s := b.server
		b.server = nil
		s.Release()
	})
}

// send sends whole messages through the lent server.
func (b *borrower) send(messages ...[]byte) {
	b.rig.t.Helper()
	b.rig.do(func() {
		for _, m := range messages {
			b.server.Sent(m[0])
			b.server.Send(m)
		}
	})
}

// told waits for a call of this name.
func (b *borrower) told(name string) {
	b.rig.t.Helper()
	b.rig.eventually(name+" is called", func() bool {
		for _, c := range b.calls {
			if c == name {
				return true
			}
		}
		return false
	})
}

func (b *borrower) note(call string) {
	b.rig.now.Add(1)
	b.calls = append(b.calls, call)
}

func (b *borrower) Profile() *Profile { return &b.profile }

func (b *borrower) Lent(s *Server) {
	b.note("Lent")
	b.waiter, b.server, b.turn = nil, s, b.rig.now.Load()
	if b.onLent != nil {
		b.onLent(s)
	}
}

func (b *borrower) Refused(err *wire.Error) {
	b.note("Refused")
	b.waiter, b.err = nil, err
}

func (b *borrower) Rerouted() {
	b.note("Rerouted")
	b.waiter = nil
}

func (b *borrower) Reply(_ *Server, p []byte) { b.got = append(b.got, p...) }
func (b *borrower) Flushed(*Server)           {}
func (b *borrower) Awaits(*Server)            {}
func (b *borrower) Resolved(*Server)          {}

func (b *borrower) Ready(s *Server) {
	b.ready++
	if b.onReady != nil {
		b.onReady(s)
	}
}

func (b *borrower) Lost(_ *Server, why Loss) {
	b.note("Lost")
	b.server, b.why = nil, why
}

// answer is a script step: it expects a Query and completes it.
func answer(tag string) pgscript.Step {
	return pgscript.Steps(pgscript.Expect("Q"), pgscript.Send(pgscript.Complete(tag), pgscript.Ready('I')))
}

// cleaned is a script step: it expects the reset between two clients.
func cleaned() pgscript.Step {
	return pgscript.Steps(pgscript.Expect("Q"), pgscript.ExpectBody("DISCARD ALL"),
		pgscript.Send(pgscript.Complete("DISCARD ALL"), pgscript.Ready('I')))
}
