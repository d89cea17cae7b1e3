package pool

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
)

// namespace is a network of its own, on a thread of its own.
type namespace struct {
	t     *testing.T
	tid   int
	tasks chan func() // closed at the end of the test
}

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	n := &namespace{t: t, tasks: make(chan func())}
	begun := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		n.tid = unix.Gettid()
		err := unix.Unshare(unix.CLONE_NEWNET)
		begun <- err
		for f := range n.tasks {
			f()
		}
	}()
	if err := <-begun; err != nil {
		t.Fatalf("unshare: %v", err)
	}
	t.Cleanup(func() { close(n.tasks) })
	return n
}

// run runs f inside.
func (n *namespace) run(f func()) {
	done := make(chan struct{})
	n.tasks <- func() { f(); close(done) }
	<-done
}

// ip runs ip(8) inside.
func (n *namespace) ip(args ...string) {
	n.t.Helper()
	var out []byte
	var err error
	n.run(func() { out, err = exec.Command("ip", args...).CombinedOutput() })
	if err != nil {
		n.t.Fatalf("ip %v: %v\n%s", args, err, out)
	}
}

// wire connects two namespaces; the addresses are 10.99.0.1 and 10.99.0.2.
func (n *namespace) wire(to *namespace) {
	n.t.Helper()
	n.ip("link", "add", "near", "type", "veth", "peer", "name", "far", "netns", fmt.Sprint(to.tid))
	n.ip("addr", "add", "10.99.0.1/24", "dev", "near")
	n.ip("link", "set", "near", "up")
	to.ip("addr", "add", "10.99.0.2/24", "dev", "far")
	to.ip("link", "set", "far", "up")
}

// TestDeadSockets: a node that vanishes without a word costs its clients some
// seconds and not TCP_USER_TIMEOUT; a probe that fails costs those nothing whose
// server answers (rules 15 and 25).
func TestDeadSockets(t *testing.T) {
	lab.Require(t, func() error {
		if os.Geteuid() != 0 {
			return fmt.Errorf("%w: root", lab.ErrMissing)
		}
		return nil
	})
	here, there := newNamespace(t), newNamespace(t)
	here.wire(there)
	addr := vanishing(t, there)

	settings := usual()
	settings.PoolSize = 3
	r := newRig(t, addr, settings)
	r.set.open = func(ctx context.Context, network, address string) (conn net.Conn, err error) {
		here.run(func() { conn, err = new(net.Dialer).DialContext(ctx, network, address) })
		return conn, err
	}
	busy, asking, rests := r.lend(), r.lend(), r.lend()
	busy.send(pgscript.Query("SELECT 1"))
	r.eventually("the query is acknowledged", func() bool {
		i, ok := busy.server.conn.Info()
		return ok && i.Unacked == 0
	})
	for range 5 {
		r.set.Doubt(addr, true, false)
		<-time.After(doubtPause)
	}
	r.do(func() {
		if len(r.pool.servers) != 3 {
			t.Fatalf("a failing probe has ended servers: %d are left", len(r.pool.servers))
		}
	})

	there.ip("link", "set", "far", "down")
	cut := time.Now()
	asking.send(pgscript.Query("SELECT 2"))
	doubtUntil(t, r, addr, false, func() bool { return len(asking.calls) > 1 })
	if took := time.Since(cut); took < unackedLimit || asking.why != LossBroken {
		t.Errorf("the client that asks lost its server after %v, why %d; want after %v", took, asking.why, unackedLimit)
	}
	r.do(func() {
		if busy.server == nil || rests.server == nil {
			t.Error("a server was lost that has nothing unacknowledged")
		}
	})
	doubtUntil(t, r, addr, true, func() bool { return busy.server == nil && rests.server == nil })
	if n := r.set.counters.DeadSockets.Load(); n != 3 {
		t.Errorf("%d were counted, want 3", n)
	}
}

// vanishing is a server in a namespace that lets three in and answers nothing.
func vanishing(t *testing.T, n *namespace) string {
	var l net.Listener
	var err error
	n.run(func() { l, err = net.Listen("tcp", "10.99.0.2:5432") })
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				b := make([]byte, 4096)
				if _, err := conn.Read(b); err != nil {
					return
				}
				for _, m := range [][]byte{pgscript.AuthOK(), pgscript.Statuses("off"), pgscript.BackendKey(1, 2), pgscript.Ready('I')} {
					conn.Write(m)
				}
				<-over
			}()
		}
	}()
	t.Cleanup(func() { close(over); l.Close(); <-done })
	return l.Addr().String()
}

// doubtUntil tells the pool of failing probes until something holds.
func doubtUntil(t *testing.T, r *rig, addr string, dead bool, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		r.set.Doubt(addr, true, dead)
		var ok bool
		r.do(func() { ok = holds() })
		switch {
		case ok:
			return
		case time.Now().After(deadline):
			t.Fatal("the sockets are not closed")
		}
		<-time.After(doubtPause / 3)
	}
}
