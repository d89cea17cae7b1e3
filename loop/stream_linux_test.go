package loop

import (
	"bytes"
	"crypto/rand"
	"io"
	"syscall"
	"testing"
)

// What was read before the socket was handed over comes before anything else
// that the socket has to say, its end included.
func TestUnreadBytesComeBeforeTheEnd(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			l, r := newLoop(t), &recorder{}
			var atEOF string
			r.onEOF = func(*Conn) { atEOF = string(r.got) }
			fd, p := kind.pair(t)
			p.finish()
			var c Conn
			if err := l.Add(&c, fd, ClassClient, r, []byte("query")); err != nil {
				t.Fatal(err)
			}
			settle(t, func() bool { return r.eofs > 0 }, l)
			if atEOF != "query" {
				t.Errorf("before EOF the handler got %q, want %q", atEOF, "query")
			}
			c.Close()
		})
	}
}

// Once the queue has gone the handler hears so once, the buffer is given back,
// and nobody waits for room any more.
func TestDrainedQueueIsOver(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			l, r := newLoop(t), &recorder{}
			c, p := add(t, l, kind.pair, r)
			read := make(chan error)
			n := fill(c)
			go func() {
				_, err := io.CopyN(io.Discard, p, int64(n))
				read <- err
			}()
			settle(t, func() bool { return r.drained > 0 }, l)
			if err := <-read; err != nil {
				t.Error(err)
			}
			quiet(t, l)
			if r.drained != 1 || c.out != nil || c.Queued() != 0 {
				t.Errorf("drained %d times, %d bytes queued in %d, want once and none", r.drained, c.Queued(), cap(c.out))
			}
			c.Close()
		})
	}
}

// A caller that goes on writing although the peer is slow gets its bytes sent in
// order, and what has gone makes room for what comes.
func TestQueueMakesRoom(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, p := add(t, l, unixPair, r)
	narrow(t, 4<<10, c.FD())
	source, want := random(3), random(3)
	most, chunk := 0, make([]byte, 1777)
	got, model := make([]byte, 1500), make([]byte, 1500)
	for range 2000 {
		for c.Queued() < 40<<10 {
			_, _ = io.ReadFull(source, chunk)
			c.Write(chunk)
		}
		most = max(most, cap(c.out))
		step(l)
		n, err := p.Read(got)
		_, _ = io.ReadFull(want, model[:n])
		if err != nil || !bytes.Equal(got[:n], model[:n]) {
			t.Fatalf("the peer read something else than was sent, or %v", err)
		}
	}
	if r.drained > 0 {
		t.Fatal("the queue was empty at times, so nothing was tested")
	}
	if most > keepMax {
		t.Errorf("a queue of 40 KB took up %d, want at most %d", most, keepMax)
	}
	c.Close()
}

// The bytes that Data gets stay what they are until it returns, even if it ends
// the connection and gives others something to queue.
func TestDataKeepsItsBytesWhateverItDoes(t *testing.T) {
	endings := []struct {
		name string
		end  func(*Conn)
	}{
		{"close", (*Conn).Close},
		{"finish", (*Conn).Finish},
	}
	for _, ending := range endings {
		t.Run(ending.name, func(t *testing.T) {
			l, r := newLoop(t), &recorder{}
			stuck, _ := add(t, l, unixPair, &recorder{})
			c, p := add(t, l, unixPair, r)
			const request = "SELECT 1, which is longer than nothing"
			hold := true
			var after string
			r.onData = func(c *Conn, b []byte) int {
				if hold {
					return len(b)
				}
				ending.end(c)
				stuck.Write(bytes.Repeat([]byte{'x'}, 400))
				after = string(b)
				return 0
			}
			p.send(request)
			settle(t, func() bool { return len(c.held) == len(request) }, l)
			hold = false
			fill(stuck)
			stuck.release(&stuck.out)
			stuck.outAt = 0
			c.Process()
			if after != request {
				t.Errorf("after the %s the bytes read %q, want %q", ending.name, after, request)
			}
			stuck.Close()
			c.Close()
		})
	}
}

// Drained may do with its connection what it likes.
func TestDrainedMayEndOrMoveTheConnection(t *testing.T) {
	l, other := newLoop(t), newLoop(t)
	deeds := []struct {
		name string
		do   func(*Conn)
	}{
		{"close", (*Conn).Close},
		{"finish", (*Conn).Finish},
		{"move", func(c *Conn) { c.Move(other, func(error) {}) }},
		{"replace", func(c *Conn) {
			c.Close()
			fd, _ := unixPair(t)
			if err := l.Add(c, fd, ClassClient, &recorder{}, nil); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, deed := range deeds {
		t.Run(deed.name, func(t *testing.T) {
			r := &recorder{onDrained: deed.do}
			c, p := add(t, l, unixPair, r)
			n := fill(c)
			p.send("and something to read in the same event")
			if _, err := io.CopyN(io.Discard, p, int64(n-c.Queued())); err != nil {
				t.Fatal(err)
			}
			settle(t, func() bool { return r.drained == 1 }, l)
			settle(t, func() bool { return c.Loop() != nil }, l, other)
			quiet(t, l)
			c.Close()
		})
	}
}

// So may EOF, while there is room again for what is queued.
func TestEOFMayMoveTheConnection(t *testing.T) {
	l, other := newLoop(t), newLoop(t)
	r := &recorder{onEOF: func(c *Conn) { c.Move(other, func(error) {}) }}
	c, p := add(t, l, unixPair, r)
	n := fill(c)
	if _, err := io.CopyN(io.Discard, p, int64(n-c.Queued())); err != nil {
		t.Fatal(err)
	}
	p.finish()
	settle(t, func() bool { return r.eofs == 1 }, l)
	if r.drained > 0 || c.Loop() != nil {
		t.Fatal("the old loop went on with the connection")
	}
	settle(t, func() bool { return r.drained == 1 }, other)
	c.Close()
}

// A paused handler gets no more in the same turn, however much there is.
func TestPauseEndsReadingAtOnce(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, p := add(t, l, unixPair, r)
	r.onData = func(c *Conn, _ []byte) int {
		c.Pause(PausePeer)
		return 0
	}
	p.send(string(make([]byte, 2*readSize)))
	step(l)
	if r.calls != 1 {
		t.Errorf("Data was called %d times, want once", r.calls)
	}
	c.Close()
}

// A write that fails is reported once, not in the middle of the handler's work.
func TestFailedWriteIsReportedLater(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, p := add(t, l, unixPair, r)
	p.hangUp()
	if !c.Write([]byte("x")) || r.err != nil || c.Closed() {
		t.Fatal("the write was not taken in silence")
	}
	settle(t, func() bool { return r.err != nil }, l)
	if r.err != syscall.EPIPE {
		t.Errorf("Failed(%v), want EPIPE", r.err)
	}
	if !c.Closed() {
		t.Error("Failed came for an open connection")
	}
}

// The reason that the loop has set itself ends by itself.
func TestFullBufferIsReadOnWhenItHasRoom(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, p := add(t, l, unixPair, r)
	keep := true
	r.onData = func(_ *Conn, b []byte) int {
		if keep {
			return len(b)
		}
		r.got = append(r.got, b...)
		return 0
	}
	sent := make([]byte, keepMax+100)
	_, _ = rand.Read(sent)
	if _, err := p.Write(sent); err != nil {
		t.Fatal(err)
	}
	settle(t, func() bool { return c.Paused() }, l)
	if len(c.held) != keepMax {
		t.Errorf("paused with %d bytes kept, want %d", len(c.held), keepMax)
	}
	calls := r.calls
	quiet(t, l)
	if r.calls != calls {
		t.Errorf("Data was called %d times while full, want none", r.calls-calls)
	}
	keep = false
	c.Process()
	settle(t, func() bool { return len(r.got) == len(sent) }, l)
	if !bytes.Equal(r.got, sent) {
		t.Error("the bytes came out changed")
	}
	c.Close()
}
