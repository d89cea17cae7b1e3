package pool

import (
	"errors"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// oldLogin is a login to a PostgreSQL before 14, which does not report
// in_hot_standby and is asked for it.
func oldLogin(recovery string) pgscript.Step {
	return pgscript.Steps(pgscript.ExpectStartup(),
		pgscript.Send(pgscript.AuthOK(), pgscript.Status("server_version", "13.1"), pgscript.BackendKey(1, 2), pgscript.Ready('I')),
		pgscript.Expect("Q"), pgscript.ExpectBody("pg_is_in_recovery"),
		pgscript.Send(pgscript.Columns("x"), pgscript.Row(recovery), pgscript.Complete("SELECT 1"), pgscript.Ready('I')),
		pgscript.ExpectGone())
}

// newLogin is a login to PostgreSQL 14 or later.
func newLogin(standby string) pgscript.Step {
	return pgscript.Steps(pgscript.ExpectStartup(),
		pgscript.Send(pgscript.AuthOK(), pgscript.Statuses(standby), pgscript.BackendKey(1, 2), pgscript.Ready('I')), pgscript.ExpectGone())
}

// refusal is a server's FATAL in place of a welcome.
func refusal(code string) pgscript.Step {
	return pgscript.Steps(pgscript.ExpectStartup(), pgscript.Send(pgscript.Error("FATAL", code, "no")), pgscript.Close())
}

// TestLoginTeaches: a login to the primary proves it, and each tells about its node
// (rule 25).
func TestLoginTeaches(t *testing.T) {
	var mu sync.Mutex
	var seen []route.ObservationKind
	idle := new(loop.Loop) // never run: nothing is posted that matters
	set := NewSet(Options{Settings: usual(), Loops: []*loop.Loop{idle}, Log: zap.NewNop(), Observe: func(o route.Observation) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, o.Kind)
	}})
	defer set.Close()
	for _, test := range []struct {
		name   string
		role   route.Role
		script pgscript.Step
		want   route.ObservationKind
		ok     bool
	}{
		{"primary", route.Primary, newLogin("off"), route.SawWritable, true},
		{"primary in recovery", route.Primary, newLogin("on"), route.SawRecovery, false},
		{"old primary", route.Primary, oldLogin("off"), route.SawWritable, true},
		{"old primary in recovery", route.Primary, oldLogin("on"), route.SawRecovery, false},
		{"replica", route.Replica, newLogin("on"), route.SawAnswer, true},
		{"replica that is writable", route.Replica, newLogin("off"), route.SawAnswer, true},
		{"starting up", route.Primary, refusal("57P03"), route.SawRefused, false},
		{"full", route.Primary, refusal("53300"), route.SawAnswer, false},
		{"unknown database", route.Primary, refusal("3D000"), route.SawAnswer, false},
		{"silence and the end", route.Primary, pgscript.Close(), route.SawBroken, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := pgscript.Serve(t, test.script)
			conn, err := set.Login(t.Context(), (&rig{}).key(server.Addr), test.role, nil)
			if conn != nil {
				defer conn.Close()
			}
			if (err == nil) != test.ok {
				t.Errorf("error %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if got := seen[len(seen)-1]; got != test.want {
				t.Errorf("observed %v, want %v", got, test.want)
			}
		})
	}
	if got := failureSeen(&dial.Error{Op: dial.OpConnect, Err: syscall.ECONNREFUSED}); got != route.SawRefused {
		t.Errorf("refused connection: %v", got)
	}
}

// TestRefusal: what PostgreSQL would tell every such client ends their wait;
// what may pass does not.
func TestRefusal(t *testing.T) {
	fatal := func(code string) error {
		return &dial.Error{Err: &wire.Error{Severity: wire.SeverityFatal, Code: code}}
	}
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"unknown database", fatal("3D000"), "3D000"},
		{"wrong password", fatal("28P01"), "28P01"},
		{"full", fatal("53300"), ""},
		{"starting up", fatal("57P03"), ""},
		{"shutting down", fatal("57P01"), ""},
		{"crashed", fatal("57P02"), ""},
		{"no secret", &dial.Error{Err: &auth.SecretError{User: "app", Method: "SCRAM-SHA-256"}}, "28000"},
		{"refused", &dial.Error{Err: syscall.ECONNREFUSED}, ""},
		{"in recovery", ErrNotWritable, ""},
		{"no SQLSTATE", fatal(""), "08P01"},
		{"anything else", errors.New("x"), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if e := Refusal(test.err); e != nil {
				got = e.Code
			}
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestRefusedLogin reaches all who wait, byte for byte.
func TestRefusedLogin(t *testing.T) {
	asked := make(chan struct{})
	server := pgscript.Serve(t, pgscript.ExpectStartup(), pgscript.Wait(asked),
		pgscript.Send(pgscript.Error("FATAL", "3D000", "database does not exist")), pgscript.Close())
	r := newRig(t, server.Addr, usual())
	a, b := r.acquire(), r.acquire()
	close(asked)
	for _, c := range []*borrower{a, b} {
		c.told("Refused")
		if got, want := c.err.Append(nil), pgscript.Error("FATAL", "3D000", "database does not exist"); !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	r.empty()
}

// TestFullNode: 53300 keeps the waiters, of whom one is served meanwhile by a
// server that comes back (rule 30).
func TestFullNode(t *testing.T) {
	settings := usual()
	settings.PoolSize = 3
	settings.ServerLoginRetry = time.Hour
	server := pgscript.ServeEach(t, newLogin("off"), refusal("53300"))
	r := newRig(t, server.Addr, settings)
	a := r.lend()
	b := r.acquire()
	r.eventually("the node is full", func() bool { return r.pool.retry.Pending() })
	c := r.acquire()
	a.release()
	r.eventually("b is served", func() bool { return b.server != nil })
	r.do(func() {
		if c.server != nil || len(c.calls) > 0 {
			t.Errorf("c was told %v", c.calls)
		}
		if got := r.pool.reason(); got != "The server does not let pgvip log in." {
			t.Errorf("reason to wait: %q", got)
		}
	})
}

// TestOffer takes a connection where there is room for it, and closes it where
// there is none.
func TestOffer(t *testing.T) {
	server := pgscript.Serve(t, newLogin("off"))
	r := newRig(t, server.Addr, usual())
	offer := func() {
		conn, err := r.set.Login(t.Context(), r.pool.Key(), route.Replica, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.do(func() { r.pool.Offer(conn) })
	}
	offer()
	offer()
	b := r.lend()
	offer()
	b.release()
	r.do(func() {
		if len(r.pool.servers) != 1 || len(r.pool.idle) != 1 {
			t.Errorf("%d servers, %d idle; want one", len(r.pool.servers), len(r.pool.idle))
		}
		r.pool.Retire(false)
	})
	offer()
	r.empty()
}

// TestQueueLimits: the oldest waiter is refused first, each after its own time,
// and a waiter that was put back keeps its place and time.
func TestQueueLimits(t *testing.T) {
	settings := usual()
	settings.QueryWaitTimeout = 50 * time.Millisecond
	dies := make(chan struct{})
	server := pgscript.ServeEach(t,
		pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("Q"), pgscript.Wait(dies), pgscript.Close()),
		pgscript.Steps(pgscript.ExpectStartup(), pgscript.ExpectGone()))
	r := newRig(t, server.Addr, settings)
	first := r.acquire(wire.Param{Name: "TimeZone", Value: "UTC"})
	r.eventually("the server is being prepared", func() bool { return first.waiter.server != nil })
	second := r.acquire()
	close(dies)
	second.told("Refused")
	r.do(func() {
		if len(first.calls) != 1 || first.err == nil || first.err.Code != wire.CodeCannotConnectNow {
			t.Errorf("the first was told %v %v", first.calls, first.err)
		}
	})
}

// TestFencedLogin: a login that is under way when its node is fenced is given up at
// once, since nothing more may go there, and blames nobody.
func TestFencedLogin(t *testing.T) {
	asked := make(chan struct{})
	server := pgscript.Serve(t, pgscript.ExpectStartup(), pgscript.Tell(asked), pgscript.ExpectGone())
	r := newRig(t, server.Addr, usual())
	r.pool.role = route.Primary
	w := r.acquire()
	<-asked
	r.set.Follow(&route.Table{})
	w.told("Rerouted")
	r.eventually("the login is over", func() bool { return r.pool.dialing == 0 })
	if n := r.set.counters.LoginFailures.Load(); n != 0 {
		t.Errorf("%d logins have failed", n)
	}
}

// TestFollow: pools go with their nodes: at once and with all that is lent where
// it was the primary's, as the loans end where it was a replica's.
func TestFollow(t *testing.T) {
	for _, test := range []struct {
		role route.Role
		lost bool
	}{{route.Primary, true}, {route.Replica, false}} {
		server := pgscript.Serve(t, newLogin("off"))
		r := newRig(t, server.Addr, usual())
		r.pool.role = test.role
		b := r.lend()
		w := r.acquire()
		r.set.Follow(&route.Table{})
		w.told("Rerouted")
		if test.lost {
			b.told("Lost")
			if b.why != LossFenced {
				t.Errorf("%v: lost %v, want it fenced", test.role, b.why)
			}
		} else {
			r.do(func() {
				if b.server == nil {
					t.Errorf("%v: a loan was cut", test.role)
				}
			})
			b.release()
		}
		r.empty()
		if len(r.set.pools) != 0 || r.set.perLoop[r.loop] != 0 {
			t.Errorf("%d pools are left, %d on the loop", len(r.set.pools), r.set.perLoop[r.loop])
		}
	}
}

// TestPoolsSpread over the loops.
func TestPoolsSpread(t *testing.T) {
	var loops []*loop.Loop
	for range 3 {
		loops = append(loops, new(loop.Loop)) // never run: nothing is posted
	}
	set := NewSet(Options{Settings: usual(), Loops: loops, Log: zap.NewNop()})
	defer set.Close()
	count := make(map[*loop.Loop]int)
	for i := range 9 {
		key := Key{Node: &route.Node{}, Database: string(rune('a' + i))}
		p := set.Pool(key, route.Replica)
		if again := set.Pool(key, route.Replica); again != p {
			t.Error("two pools for one key")
		}
		count[p.Loop()]++
	}
	for _, l := range loops {
		if count[l] != 3 {
			t.Errorf("pools per loop: %v", count)
		}
	}
}
