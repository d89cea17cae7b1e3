package loop

import (
	"crypto/sha256"
	"hash"
	"io"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// relay is one half of a proxy: what comes from its connection goes to the other
// one, which is not read beyond what that takes.
type relay struct {
	to   *Conn
	most *int // ever queued and held by both
	own  *Conn
	full int // how often the other did not take all
}

func (r *relay) Data(c *Conn, b []byte) int {
	if !r.to.Write(b) {
		r.full++
		c.Pause(PausePeer)
	}
	*r.most = max(*r.most, r.to.Queued()+len(r.to.held)+r.own.Queued()+len(r.own.held))
	return 0
}

func (r *relay) Drained(*Conn) { r.to.Resume(PausePeer) }

func (r *relay) EOF(c *Conn) {
	if !c.Paused() {
		r.to.Finish()
	}
}

func (r *relay) Failed(*Conn, error) { r.to.Close() }

// join makes a relay of two connections on l and returns its two ends.
func join(t testing.TB, l *Loop, most *int) (a, b peer, halves [2]*relay) {
	t.Helper()
	var conns [2]*Conn
	for i := range halves {
		halves[i] = &relay{most: most}
	}
	conns[0], a = add(t, l, tcpPair, halves[0])
	conns[1], b = add(t, l, tcpPair, halves[1])
	for i, h := range halves {
		h.own, h.to = conns[i], conns[1-i]
	}
	return a, b, halves
}

// narrow leaves sockets little room in the kernel, so that who writes to one
// soon has to wait for its reader.
func narrow(t testing.TB, size int, fds ...int) {
	t.Helper()
	for _, fd := range fds {
		for _, buffer := range []int{unix.SO_SNDBUF, unix.SO_RCVBUF} {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, buffer, size); err != nil {
				t.Fatalf("buffer size: %v", err)
			}
		}
	}
}

// 100 MB pass through to a reader that is slower than the writer, and what comes
// out is what went in, while the loop keeps a few hundred kilobytes at most.
func TestRelayIsBounded(t *testing.T) {
	total, bound := int64(100<<20), 300<<10
	l := running(t)
	most := 0
	var in, out peer
	var halves [2]*relay
	on(t, l, func() { in, out, halves = join(t, l, &most) })
	narrow(t, 32<<10, halves[1].own.FD(), out.fd)
	var sums [2]hash.Hash
	var wg sync.WaitGroup
	for i := range sums {
		sums[i] = sha256.New()
	}
	wg.Go(func() {
		if _, err := io.CopyN(io.MultiWriter(in, sums[0]), random(2), total); err != nil {
			t.Errorf("send: %v", err)
		}
		in.finish()
	})
	wg.Go(func() {
		n, err := io.CopyBuffer(sums[1], out, make([]byte, 8<<10))
		if err != nil || n != total {
			t.Errorf("%d bytes came out, %v, want %d", n, err, total)
		}
	})
	wg.Wait()
	if string(sums[0].Sum(nil)) != string(sums[1].Sum(nil)) {
		t.Error("what came out is not what went in")
	}
	on(t, l, func() {
		t.Logf("at most %d KB were kept, the reader was too slow %d times", most>>10, halves[0].full)
		if most > bound {
			t.Errorf("%d bytes were kept at once, want at most %d", most, bound)
		}
		if halves[0].full < 10 {
			t.Errorf("the reader was too slow %d times: too few to show anything", halves[0].full)
		}
	})
}

// A bulk sender does not stall a ping-pong connection: each gets its turn, and a
// turn takes no more than the quota from one socket.
func TestBulkDoesNotStallOthers(t *testing.T) {
	l := newLoop(t)
	bulk := &recorder{}
	taken := 0
	bulk.onData = func(_ *Conn, b []byte) int { taken += len(b); return 0 }
	b, bp := add(t, l, tcpPair, bulk)
	pong := &recorder{onData: func(c *Conn, b []byte) int { c.Write(b); return 0 }}
	c, p := add(t, l, tcpPair, pong)

	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		chunk := make([]byte, 1<<20)
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := bp.Write(chunk); err != nil {
					return
				}
			}
		}
	})
	settle(t, func() bool { return taken > 1<<20 }, l)
	flood := 0
	for range 200 {
		p.send("ping")
		for before := pong.calls; pong.calls == before; {
			had := taken
			step(l)
			if got := taken - had; got > turnQuota+readSize {
				t.Fatalf("%d bytes were taken from one socket in one turn, want at most %d", got, turnQuota)
			}
			flood += taken - had
		}
		p.expect("ping")
	}
	if flood == 0 {
		t.Error("the bulk sender sent nothing meanwhile, so nothing was tested")
	}
	b.Close() // ends the sender by EPIPE, should it be writing
	close(stop)
	wg.Wait()
	c.Close()
}
