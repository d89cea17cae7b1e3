package loop

import (
	"io"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// heap is what is in use after a garbage collection, in bytes.
func heap() int64 {
	runtime.GC()
	runtime.GC() // the first one may have found finalizers
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// An idle connection holds no buffer, whatever went over it before.
func TestIdleConnectionHoldsNoBuffer(t *testing.T) {
	n := 5000
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
		n = min(n, int(limit.Cur)/2-100)
	}
	if n < 100 {
		t.Skipf("%d descriptors are too few", limit.Cur)
	}
	l := newLoop(t)
	served := 0
	r := &recorder{}
	r.onData = func(c *Conn, b []byte) int {
		served++
		if served <= n {
			return len(b) // half a request
		}
		c.Write(b)
		return 0
	}
	peers := make([]int, 0, n)
	defer func() {
		for _, fd := range peers {
			unix.Close(fd)
		}
	}()
	buf := make([]byte, 200)

	before := heap()
	conns := make([]Conn, n)
	for i := range conns {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		peers = append(peers, fds[1])
		if err := l.Add(&conns[i], fds[0], ClassClient, r, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		for _, fd := range peers {
			if _, err := unix.Write(fd, buf[:100]); err != nil {
				t.Fatal(err)
			}
		}
		for range n/maxEvents + 1 {
			step(l)
		}
	}
	each := (heap() - before) / int64(n)
	t.Logf("%d idle connections: %d bytes each, all told", n, each)
	if served != 2*n {
		t.Errorf("Data was called %d times, want %d", served, 2*n)
	}
	for i := range conns {
		if c := &conns[i]; c.held != nil || c.out != nil {
			t.Fatalf("connection %d holds a buffer", i)
		}
	}
	if each > 256 {
		t.Errorf("an idle connection takes %d bytes, want at most 256", each)
	}
	runtime.KeepAlive(conns)
}

// lap sends a request from a peer and takes one turn per socket that it crosses.
type lap struct {
	l    *Loop
	a, b peer
	buf  []byte
}

// ping sends n bytes to a connection that sends them back.
func (r *lap) ping(n int) {
	_, _ = r.a.Write(r.buf[:n])
	r.l.turn()
	r.a.fill(r.buf[:n])
}

// relay sends n bytes through a relay and back.
func (r *lap) relay(n int) {
	_, _ = r.a.Write(r.buf[:n])
	r.l.turn()
	r.b.fill(r.buf[:n])
	_, _ = r.b.Write(r.buf[:n])
	r.l.turn()
	r.a.fill(r.buf[:n])
}

// pinger makes a loop with one connection.
func pinger(t *testing.T, data func(c *Conn, b []byte) int) *lap {
	l := newLoop(t)
	_, p := add(t, l, tcpPair, &recorder{onData: data})
	return &lap{l: l, a: p, buf: make([]byte, 8<<10)}
}

// hotPaths are what a connection does all day.
var hotPaths = []struct {
	name string
	run  func(t *testing.T) func()
}{
	{"ping-pong", func(t *testing.T) func() {
		r := pinger(t, func(c *Conn, b []byte) int { c.Write(b); return 0 })
		return func() { r.ping(100) }
	}},
	{"halves", func(t *testing.T) func() {
		r := pinger(t, func(c *Conn, b []byte) int {
			if len(b) < 200 {
				return len(b)
			}
			c.Write(b[:100])
			return 0
		})
		return func() {
			_, _ = r.a.Write(r.buf[:100])
			r.l.turn()
			r.ping(100)
		}
	}},
	{"asking again", func(t *testing.T) func() {
		seen := 0
		r := pinger(t, func(c *Conn, b []byte) int {
			if seen++; seen%3 > 0 {
				c.ProcessLater()
				return len(b)
			}
			c.Write(b)
			return 0
		})
		return func() {
			_, _ = r.a.Write(r.buf[:100])
			r.l.turn()
			r.l.turn()
			r.a.fill(r.buf[:100])
		}
	}},
	{"relay", func(t *testing.T) func() {
		r := &lap{l: newLoop(t), buf: make([]byte, 8<<10)}
		r.a, r.b, _ = join(t, r.l, new(int))
		return func() { r.relay(100) }
	}},
	{"resting", func(t *testing.T) func() {
		r := pinger(t, func(c *Conn, b []byte) int { c.Write(b); c.Rest(); return 0 })
		return func() {
			r.ping(100)
			for len(r.l.resting) > 0 {
				r.l.turn()
			}
		}
	}},
	{"back-pressure", func(t *testing.T) func() {
		l := newLoop(t)
		r := &recorder{}
		c, p := add(t, l, unixPair, r)
		narrow(t, 16<<10, c.FD())
		buf, chunk := make([]byte, 64<<10), make([]byte, 16<<10)
		return func() {
			c.Pause(PausePeer)
			for c.Queued() < 32<<10 {
				c.Write(chunk)
			}
			for drained := r.drained; r.drained == drained; l.turn() {
				_, _ = p.Read(buf)
			}
			c.Resume(PausePeer)
		}
	}},
}

// The hot path allocates nothing: not for a turn, not for bytes kept or queued,
// not for asking for another turn.
func TestHotPathAllocatesNothing(t *testing.T) {
	for _, tt := range hotPaths {
		t.Run(tt.name, func(t *testing.T) {
			if got := testing.AllocsPerRun(200, tt.run(t)); got != 0 {
				t.Errorf("%v allocations, want none", got)
			}
		})
	}
}

// BenchmarkPingPong is one small message in and out, all calls of both ends
// included.
func BenchmarkPingPong(b *testing.B) {
	l := newLoop(b)
	_, p := add(b, l, tcpPair, &recorder{onData: func(c *Conn, bytes []byte) int { c.Write(bytes); return 0 }})
	r := &lap{l: l, a: p, buf: make([]byte, 100)}
	b.ReportAllocs()
	for b.Loop() {
		r.ping(100)
	}
}

// BenchmarkRelaySmall is a small request and its reply through a relay.
func BenchmarkRelaySmall(b *testing.B) {
	r := &lap{l: newLoop(b), buf: make([]byte, 100)}
	r.a, r.b, _ = join(b, r.l, new(int))
	b.ReportAllocs()
	for b.Loop() {
		r.relay(100)
	}
}

// BenchmarkRelayBulk is a stream through a relay on a loop of its own, from a
// writer of 8 KB pieces to a reader, each on its own goroutine.
func BenchmarkRelayBulk(b *testing.B) {
	const piece = 8 << 10
	l := running(b)
	var in, out peer
	on(b, l, func() { in, out, _ = join(b, l, new(int)) })
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.CopyBuffer(io.Discard, struct{ io.Reader }{out}, make([]byte, 64<<10)) })
	buf := make([]byte, piece)
	b.SetBytes(piece)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = in.Write(buf)
	}
	in.finish()
	wg.Wait()
}
