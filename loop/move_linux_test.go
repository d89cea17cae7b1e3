package loop

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// echoer sends back what it gets and always keeps some bytes until more come, so
// that a move finds it with bytes kept. The client stops being read while it
// does not read.
type echoer struct{ ended bool }

func (e *echoer) Data(c *Conn, b []byte) int {
	keep := len(b) % 1000
	if e.ended {
		keep = 0
	}
	if !c.Write(b[:len(b)-keep]) {
		c.Pause(PausePeer)
	}
	return keep
}

func (e *echoer) Drained(c *Conn) { c.Resume(PausePeer) }

func (e *echoer) EOF(c *Conn) {
	if c.Paused() {
		return
	}
	e.ended = true
	c.Process()
	c.Finish()
}

func (e *echoer) Failed(*Conn, error) {}

// random is the same endless noise for each seed.
func random(seed uint64) io.Reader {
	return rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
}

// A connection goes back and forth between two loops while its peer keeps
// sending and reading: no byte is lost, doubled or out of order, whether it was
// read and kept, queued, or still in the kernel.
func TestMoveLosesNoByte(t *testing.T) {
	here, there := running(t), running(t)
	var c *Conn
	var p peer
	e := &echoer{}
	on(t, here, func() {
		c, p = add(t, here, tcpPair, e)
		narrow(t, 32<<10, c.FD(), p.fd)
	})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	sent, received := 0, 0
	wg.Go(func() { sent = sendUntil(t, p, random(1), stop) })
	wg.Go(func() {
		var err error
		if received, err = same(p, random(1)); err != nil {
			t.Errorf("after %d bytes: %v", received, err)
		}
	})
	// How often it moves while how much is sent is the kernel's choice: who has a
	// processor. Enough of both.
	moves, withKept, withQueued := 0, 0, 0
	for until := time.Now().Add(patience); moves < 50 || withKept < 5 || withQueued < 5; {
		arrived := make(chan error, 1)
		_ = here.Post(func() {
			if len(c.held) > 0 {
				withKept++
			}
			if c.Queued() > 0 {
				withQueued++
			}
			c.Move(there, func(err error) { arrived <- err })
		})
		if err := <-arrived; err != nil {
			t.Fatal(err)
		}
		moves++
		here, there = there, here
		if time.Now().After(until) {
			t.Errorf("too few to show anything in %v", patience)
			break
		}
	}
	close(stop)
	wg.Wait()
	t.Logf("%d bytes, %d moves, %d with bytes kept, %d with bytes queued", sent, moves, withKept, withQueued)
	if received != sent {
		t.Errorf("%d bytes came back of %d", received, sent)
	}
}

// sendUntil sends until stop is closed, and then the end. It gives how much.
func sendUntil(t *testing.T, p peer, from io.Reader, stop <-chan struct{}) (sent int) {
	b := make([]byte, 16<<10)
	defer p.finish()
	for {
		select {
		case <-stop:
			return sent
		default:
		}
		_, _ = io.ReadFull(from, b) // it has no end
		n, err := p.Write(b)
		sent += n
		if err != nil {
			t.Errorf("send: %v", err)
			return sent
		}
	}
}

// same reads to the end and holds it against what was sent.
func same(got, want io.Reader) (int, error) {
	a, b := make([]byte, 32<<10), make([]byte, 32<<10)
	for at := 0; ; {
		k, err := got.Read(a)
		switch {
		case errors.Is(err, io.EOF):
			return at, nil
		case err != nil:
			return at, err
		}
		_, _ = io.ReadFull(want, b[:k]) // it has no end
		if string(a[:k]) != string(b[:k]) {
			return at, errors.New("the bytes are not what was sent")
		}
		at += k
	}
}

// An event that waits in the batch when its connection moves away is not lost:
// the other loop's epoll reports it anew.
func TestMoveWithAnEventInFlight(t *testing.T) {
	from, to := newLoop(t), newLoop(t)
	client := &recorder{}
	c, p := add(t, from, unixPair, client)
	fd, sp := unixPair(t)
	arrived := false
	server := &recorder{onData: func(*Conn, []byte) int {
		c.Move(to, func(err error) {
			if err != nil || c.Loop() != to {
				t.Errorf("arrived on %p with %v, want %p", c.Loop(), err, to)
			}
			arrived = true
		})
		return 0
	}}
	s := new(Conn)
	if err := from.Add(s, fd, ClassServer, server, nil); err != nil {
		t.Fatal(err)
	}
	p.send("request")
	sp.send("go")
	step(from)
	if client.calls > 0 || arrived || from.Clients() != 0 {
		t.Fatal("the old loop still served the connection")
	}
	settle(t, func() bool { return string(client.got) == "request" }, to)
	if !arrived || to.Clients() != 1 {
		t.Errorf("arrived %t, %d clients, want true and 1", arrived, to.Clients())
	}
	quiet(t, from)
	s.Close()
	c.Close()
}

// A turn that a connection was due is given to it where it arrives, and only
// there.
func TestMoveTakesTheTurnAlong(t *testing.T) {
	from, to := newLoop(t), newLoop(t)
	r := &recorder{}
	c, _ := add(t, from, unixPair, r, 'u', 'n', 'r', 'e', 'a', 'd')
	c.Move(to, func(error) {})
	step(from)
	if r.calls > 0 {
		t.Fatal("the old loop served the connection")
	}
	step(to)
	step(to)
	if string(r.got) != "unread" {
		t.Errorf("got %q on arrival, want the bytes that were due", r.got)
	}
	c.Close()
}

// A write that failed is reported by the loop it arrives on.
func TestMoveWithAFailedWrite(t *testing.T) {
	from, to := newLoop(t), newLoop(t)
	r := &recorder{}
	c, p := add(t, from, unixPair, r)
	p.hangUp()
	c.Write([]byte("x"))
	c.Move(to, func(error) {})
	step(from)
	step(to)
	step(to)
	if !errors.Is(r.err, syscall.EPIPE) {
		t.Errorf("Failed(%v), want EPIPE", r.err)
	}
}

// A paused socket whose peer is gone is off epoll; it stays quiet wherever it
// goes, and is read when there is a place for its bytes.
func TestMoveOfAPeerThatLeft(t *testing.T) {
	from, to := newLoop(t), newLoop(t)
	r := &recorder{}
	c, p := add(t, from, unixPair, r)
	c.Pause(PausePeer)
	p.send("x")
	p.hangUp()
	settle(t, func() bool { return r.eofs == 1 }, from)
	c.Move(to, func(error) {})
	quiet(t, to)
	c.Move(from, func(error) { c.Resume(PausePeer) })
	step(to)
	settle(t, func() bool { return r.eofs == 2 }, from)
	if string(r.got) != "x" || r.err != nil {
		t.Errorf("got %q and Failed(%v), want x", r.got, r.err)
	}
	c.Close()
}

func TestMoveToNowhere(t *testing.T) {
	l, gone := newLoop(t), newLoop(t)
	gone.Close()
	finished := func(c *Conn) { c.Finish() }
	tests := []struct {
		name   string
		to     *Loop
		before func(*Conn)
		want   error
	}{
		{"closed loop", gone, func(*Conn) {}, ErrClosed},
		{"closed loop with bytes queued", gone, func(c *Conn) { fill(c) }, ErrClosed},
		{"closed connection", l, (*Conn).Close, net.ErrClosed},
		{"finished connection", l, finished, net.ErrClosed},
		{"own loop", l, func(*Conn) {}, nil},
		{"broken descriptor", l, nil, syscall.EBADF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, p := add(t, l, unixPair, &recorder{})
			if tt.before != nil {
				tt.before(c)
			}
			ran := 0
			var got error
			c.Move(tt.to, func(err error) { ran, got = ran+1, err })
			if tt.before == nil {
				unix.Close(c.FD())
			}
			step(l)
			if ran != 1 || !errors.Is(got, tt.want) {
				t.Errorf("then ran %d times with %v, want once with %v", ran, got, tt.want)
			}
			if tt.want != nil && !c.Closed() && !c.finishing {
				t.Error("the connection is open")
			}
			c.Close()
			_, _ = io.Copy(io.Discard, p) // to the end: the socket is closed
			if l.Clients() != 0 {
				t.Errorf("%d clients, want none", l.Clients())
			}
		})
	}
}

// A connection on its way to a loop that is being closed arrives and is closed
// there.
func TestMoveToALoopThatCloses(t *testing.T) {
	l, to := newLoop(t), newLoop(t)
	c, p := add(t, l, unixPair, &recorder{})
	arrived := false
	c.Move(to, func(err error) { arrived = err == nil })
	to.Close()
	if !arrived || !c.Closed() {
		t.Errorf("arrived %t, closed %t, want both", arrived, c.Closed())
	}
	p.expectEnd()
}

func TestMoveInsideDataPanics(t *testing.T) {
	l := newLoop(t)
	c, p := add(t, l, unixPair, &recorder{onData: func(c *Conn, _ []byte) int {
		defer func() {
			if recover() == nil {
				t.Error("the connection moved without the bytes that Data has")
			}
		}()
		c.Move(l, func(error) {})
		return 0
	}})
	p.send("x")
	step(l)
	c.Close()
}
