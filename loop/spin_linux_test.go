package loop

import (
	"errors"
	"syscall"
	"testing"
)

// states are where a connection may stand when its peer does something.
var states = []struct {
	name  string
	enter func(*testing.T, *Loop, *Conn, *recorder, peer)
}{
	{"reading", func(*testing.T, *Loop, *Conn, *recorder, peer) {}},
	{"paused", func(_ *testing.T, _ *Loop, c *Conn, _ *recorder, _ peer) {
		c.Pause(PausePeer)
	}},
	{"paused and told", func(t *testing.T, l *Loop, c *Conn, r *recorder, p peer) {
		c.Pause(PausePeer)
		p.finish()
		settle(t, func() bool { return r.eofs == 1 }, l)
	}},
	{"half-closed", func(t *testing.T, l *Loop, c *Conn, r *recorder, p peer) {
		p.finish()
		settle(t, func() bool { return r.eofs == 1 }, l)
	}},
	{"full", func(t *testing.T, l *Loop, c *Conn, r *recorder, p peer) {
		r.onData = func(_ *Conn, b []byte) int { return len(b) }
		p.send(string(make([]byte, keepMax+1)))
		settle(t, c.Paused, l)
	}},
	{"queued", func(_ *testing.T, _ *Loop, c *Conn, _ *recorder, _ peer) {
		fill(c)
	}},
	{"paused and queued", func(_ *testing.T, _ *Loop, c *Conn, _ *recorder, _ peer) {
		fill(c)
		c.Pause(PausePeer)
	}},
	{"half-closed and queued", func(t *testing.T, l *Loop, c *Conn, r *recorder, p peer) {
		fill(c)
		p.finish()
		settle(t, func() bool { return r.eofs == 1 }, l)
	}},
	{"finishing", func(_ *testing.T, _ *Loop, c *Conn, _ *recorder, _ peer) {
		c.Finish()
	}},
	{"finishing and queued", func(_ *testing.T, _ *Loop, c *Conn, _ *recorder, _ peer) {
		fill(c)
		c.Finish()
	}},
}

// Epoll is level-triggered and reports a peer that is gone as long as the socket
// is open. Whatever a peer does, and wherever the connection stands, the loop
// must come to rest: nothing may be reported again and again.
func TestNothingSpins(t *testing.T) {
	deeds := []struct {
		name string
		do   func(peer)
		gone bool // nobody is there any more, and the kernel has said so
	}{
		{"nothing", func(peer) {}, false},
		{"data", func(p peer) { _, _ = p.Write([]byte("data")) }, false},
		{"finish", peer.finish, false},
		{"data and finish", func(p peer) { _, _ = p.Write([]byte("data")); p.finish() }, false},
		{"hang up", peer.hangUp, false},
		{"data and hang up", func(p peer) { _, _ = p.Write([]byte("data")); p.hangUp() }, false},
		{"reset", peer.reset, true},
	}
	for _, kind := range kinds {
		for _, state := range states {
			for _, deed := range deeds {
				t.Run(kind.name+"/"+state.name+"/"+deed.name, func(t *testing.T) {
					l, r := newLoop(t), &recorder{}
					c, p := add(t, l, kind.pair, r)
					state.enter(t, l, c, r, p)
					deed.do(p)
					quiet(t, l)
					if kind.name == "tcp" && deed.gone && !c.Closed() {
						t.Error("the connection is open, its peer has reset it")
					}
					c.Close()
				})
			}
		}
	}
}

// What a peer sent before it went away is read once there is a place for it,
// and the end comes after it.
func TestBytesOfAPeerThatLeftWhilePaused(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			l, r := newLoop(t), &recorder{}
			c, p := add(t, l, kind.pair, r)
			c.Pause(PausePeer)
			p.send("last words")
			p.hangUp()
			settle(t, func() bool { return r.eofs == 1 }, l)
			quiet(t, l)
			if r.eofs != 1 || r.err != nil || len(r.got) > 0 {
				t.Fatalf("while paused: EOF %d times, Failed(%v), %q read, want only one EOF", r.eofs, r.err, r.got)
			}
			c.Resume(PausePeer)
			settle(t, func() bool { return r.eofs == 2 }, l)
			if string(r.got) != "last words" {
				t.Errorf("read %q before the end, want the last words", r.got)
			}
			quiet(t, l)
			c.Close()
		})
	}
}

// A peer that says why and goes while bytes are on their way to it is heard
// first: PostgreSQL's FATAL comes before the broken pipe.
func TestLastWordsComeBeforeABrokenPipe(t *testing.T) {
	ways := []struct {
		name string
		hit  func(*Conn)
	}{
		{"queue", func(c *Conn) { fill(c) }},
		{"write", func(*Conn) {}},
	}
	for _, kind := range kinds {
		for _, way := range ways {
			t.Run(kind.name+"/"+way.name, func(t *testing.T) {
				l, r := newLoop(t), &recorder{}
				c, p := add(t, l, kind.pair, r)
				way.hit(c)
				p.send("FATAL")
				p.hangUp()
				for range 3 { // the second one meets the answer to the first
					c.Write([]byte("more"))
				}
				settle(t, func() bool { return r.err != nil || r.eofs > 0 }, l)
				if string(r.got) != "FATAL" {
					t.Errorf("heard %q before EOF %d times and Failed(%v), want FATAL", r.got, r.eofs, r.err)
				}
				c.Close()
			})
		}
	}
}

// The same when the last words come while the loop is busy with somebody else,
// who then writes to the peer that has just gone.
func TestLastWordsThatCameMeanwhile(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			l, r := newLoop(t), &recorder{}
			server, p := add(t, l, kind.pair, r)
			client, cp := add(t, l, unixPair, &recorder{onData: func(*Conn, []byte) int {
				server.Rest() // as in the middle of a large reply
				p.send("FATAL")
				p.hangUp()
				for range 3 {
					server.Write([]byte("query"))
				}
				return 0
			}})
			cp.send("query")
			settle(t, func() bool { return r.err != nil || r.eofs > 0 }, l)
			if string(r.got) != "FATAL" {
				t.Errorf("heard %q before EOF %d times and Failed(%v), want FATAL", r.got, r.eofs, r.err)
			}
			client.Close()
			server.Close()
		})
	}
}

// A peer that had finished sending and then goes altogether has broken the
// connection: the handler, which may have been working for it, hears so.
func TestPeerThatLeavesAfterItsEnd(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, p := add(t, l, unixPair, r)
	p.finish()
	settle(t, func() bool { return r.eofs == 1 }, l)
	p.hangUp()
	settle(t, c.Closed, l)
	if !errors.Is(r.err, syscall.ECONNRESET) || r.eofs != 1 {
		t.Errorf("Failed(%v) and EOF %d times, want ECONNRESET and once", r.err, r.eofs)
	}
}

// A reset while output is queued ends the connection, and what it held is given
// back.
func TestResetWhileQueued(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, p := add(t, l, tcpPair, r)
	fill(c)
	c.Pause(PausePeer)
	p.reset()
	settle(t, func() bool { return r.err != nil }, l)
	if !errors.Is(r.err, syscall.ECONNRESET) && !errors.Is(r.err, syscall.EPIPE) {
		t.Errorf("Failed(%v), want a reset", r.err)
	}
	if c.out != nil || c.Queued() != 0 || l.Clients() != 0 {
		t.Errorf("%d bytes queued, %d clients, want none", c.Queued(), l.Clients())
	}
	if r.drained != 0 {
		t.Error("Drained came for bytes that were lost")
	}
}
