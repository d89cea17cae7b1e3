package loop

import (
	"io"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// over checks that nothing is left of the connections of a loop.
func over(t *testing.T, l *Loop) {
	t.Helper()
	if l.lingering != 0 || len(l.timers.heap) != 0 || l.Clients() != 0 || len(l.free) != len(l.conns)-1 {
		t.Errorf("%d lingering, %d timers, %d clients, %d of %d slots free: want nothing left",
			l.lingering, len(l.timers.heap), l.Clients(), len(l.free), len(l.conns)-1)
	}
}

// After any FATAL of ours: shutdown for writing, drain at most 1 s, close, so
// that the client reads it (rule 13).
func TestFinishLetsThePeerReadEverything(t *testing.T) {
	for _, kind := range kinds {
		for _, state := range states[:7] {
			t.Run(kind.name+"/"+state.name, func(t *testing.T) {
				l, r := newLoop(t), &recorder{}
				c, p := add(t, l, kind.pair, r)
				state.enter(t, l, c, r, p)
				_, _ = p.Write([]byte("unread: closing now would reset the connection"))
				c.Write([]byte("FATAL"))
				c.Finish()
				c.Finish() // does nothing
				c.Write([]byte("too late"))
				step(l)
				p.finish() // and reads on
				said := r.calls + r.eofs
				read := make(chan error)
				var got []byte
				go func() {
					var err error
					got, err = io.ReadAll(p)
					read <- err
				}()
				var err error
				settle(t, func() bool {
					select {
					case err = <-read:
						return true
					default:
						return false
					}
				}, l)
				if err != nil || len(got) < 5 || string(got[len(got)-5:]) != "FATAL" {
					t.Errorf("peer read %d bytes, %v, want all to FATAL and the end", len(got), err)
				}
				quiet(t, l)
				p.hangUp()
				settle(t, c.Closed, l)
				if r.calls+r.eofs+r.drained > said || r.err != nil {
					t.Error("the handler heard something after Finish")
				}
				over(t, l)
			})
		}
	}
}

// A peer that does not close is given a second, whether it reads or not.
func TestFinishIsBounded(t *testing.T) {
	for _, state := range states {
		t.Run(state.name, func(t *testing.T) {
			l, r := newLoop(t), &recorder{}
			c, p := add(t, l, tcpPair, r)
			began := l.now
			state.enter(t, l, c, r, p)
			c.Finish()
			step(l)
			finished := state.name == "half-closed" || state.name == "paused and told"
			if c.Closed() != finished {
				t.Errorf("closed %t, its peer had finished: %t", c.Closed(), finished)
			}
			if c.Closed() {
				over(t, l)
				return
			}
			l.now = began.Add(lingerTime - time.Millisecond)
			l.timers.fire(l.now)
			if c.Closed() && l.now.Before(c.linger.at) {
				t.Error("closed before the second was over")
			}
			l.now = time.Now().Add(lingerTime)
			l.timers.fire(l.now)
			if !c.Closed() {
				t.Error("open after the second was over")
			}
			over(t, l)
		})
	}
}

// A peer that sends without end is read without end, but not by the handler,
// and whatever the connection stood still for.
func TestFinishThrowsAwayWhatComes(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, p := add(t, l, unixPair, r)
	r.onData = func(c *Conn, b []byte) int {
		c.Pause(PausePeer)
		return len(b)
	}
	p.send("kept")
	settle(t, func() bool { return len(c.held) == 4 }, l)
	c.Finish()
	if c.held != nil {
		t.Error("Finish holds bytes that nobody will see")
	}
	for range 100 {
		p.send(string(make([]byte, 32<<10)))
		step(l)
	}
	if r.calls > 1 || len(c.held) > 0 {
		t.Errorf("the handler was called %d times, %d bytes are held", r.calls, len(c.held))
	}
	if !c.Write([]byte("x")) || c.Queued() != 0 {
		t.Error("something was written after Finish")
	}
	c.Close()
	over(t, l)
}

// Finish and Close may come from any callback.
func TestFinishFromCallbacks(t *testing.T) {
	deeds := []struct {
		name string
		do   func(*Conn)
	}{
		{"finish", (*Conn).Finish},
		{"close", (*Conn).Close},
		{"finish and close", func(c *Conn) { c.Finish(); c.Close() }},
		{"write and finish", func(c *Conn) { c.Write([]byte("bye")); c.Finish() }},
	}
	for _, deed := range deeds {
		t.Run(deed.name, func(t *testing.T) {
			l := newLoop(t)
			inData := &recorder{onData: func(c *Conn, b []byte) int { deed.do(c); return len(b) }}
			inEOF := &recorder{onEOF: deed.do}
			a, pa := add(t, l, tcpPair, inData)
			b, pb := add(t, l, tcpPair, inEOF)
			pa.send("x")
			pb.finish()
			settle(t, func() bool { return inData.calls == 1 && inEOF.eofs == 1 }, l)
			if len(a.held) > 0 {
				t.Errorf("%d bytes are held of a connection that has ended", len(a.held))
			}
			pa.hangUp()
			settle(t, func() bool { return a.Closed() && b.Closed() }, l)
			over(t, l)
		})
	}
}

// The second that Finish takes does not end whatever uses the struct next.
func TestFinishedConnectionIsUsedAgain(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, _ := add(t, l, tcpPair, &recorder{})
	c.Finish()
	c.Close()
	fd, p := tcpPair(t)
	if err := l.Add(c, fd, ClassClient, r, nil); err != nil {
		t.Fatal(err)
	}
	l.now = time.Now().Add(2 * lingerTime)
	l.timers.fire(l.now)
	p.send("still here")
	settle(t, func() bool { return string(r.got) == "still here" }, l)
	if c.Closed() {
		t.Error("the timer of the connection before closed this one")
	}
	c.Close()
	over(t, l)
}

// A failed write is nobody's business after Finish.
func TestFinishAfterAFailedWrite(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, p := add(t, l, unixPair, r)
	p.hangUp()
	c.Write([]byte("x"))
	if c.broken != syscall.EPIPE {
		t.Fatalf("the write gave %v, want EPIPE", c.broken)
	}
	c.Finish()
	settle(t, c.Closed, l)
	if r.err != nil {
		t.Errorf("Failed(%v) after Finish", r.err)
	}
	over(t, l)
}

// A connection is closed once, even if its descriptor has a new owner by then.
func TestCloseIsOnce(t *testing.T) {
	l := newLoop(t)
	c, _ := add(t, l, unixPair, &recorder{})
	number := c.FD()
	c.Close()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	if fds[0] != number && fds[1] != number {
		t.Fatalf("descriptor %d was not given out again", number)
	}
	c.Close()
	c.Finish()
	if _, err := unix.FcntlInt(uintptr(number), unix.F_GETFD, 0); err != nil {
		t.Errorf("the second Close closed the new owner's descriptor: %v", err)
	}
	over(t, l)
}
