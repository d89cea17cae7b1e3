package loop

import (
	"testing"
	"time"
)

// A sender of small pieces is read in large ones by a handler that lets it rest,
// and nothing of it is lost or late for long.
func TestRestGathersSmallPieces(t *testing.T) {
	l, r := newLoop(t), &rester{}
	_, p := add(t, l, unixPair, r)
	const pieces = 100
	for range pieces {
		p.send("0123456789")
	}
	for end := time.Now().Add(5 * time.Second); r.bytes < pieces*10; {
		if time.Now().After(end) {
			t.Fatalf("%d of %d bytes after five seconds", r.bytes, pieces*10)
		}
		l.turn()
	}
	p.send("the tail")
	for end := time.Now().Add(5 * time.Second); r.bytes < pieces*10+len("the tail"); {
		if time.Now().After(end) {
			t.Fatal("the tail does not come")
		}
		l.turn()
	}
	if r.calls > 5 {
		t.Errorf("%d reads, want a few", r.calls)
	}
}

// Closing a connection that rests, and giving its slot to another, wakes nobody.
func TestRestingConnectionMayBeClosed(t *testing.T) {
	l := newLoop(t)
	first, other := &rester{}, &rester{}
	c, p := add(t, l, unixPair, first)
	p.send("x")
	for first.calls == 0 {
		l.turn()
	}
	c.Close()
	_, p2 := add(t, l, unixPair, other)
	p2.send("y")
	for end := time.Now().Add(5 * time.Second); other.calls == 0 || len(l.resting) > 0; {
		if time.Now().After(end) {
			t.Fatalf("%d calls, %d resting", other.calls, len(l.resting))
		}
		l.turn()
	}
	if first.calls != 1 {
		t.Errorf("the closed connection was served %d times", first.calls)
	}
}

// Whatever happens to a connection that rests ends its rest: what the peer said
// before it went is read, and the end is told once.
func TestPeerThatLeavesARestingConnection(t *testing.T) {
	deeds := []struct {
		name string
		do   func(peer)
		eofs int
	}{
		{"finish", peer.finish, 1},
		{"hang up", peer.hangUp, 1},
		{"reset", peer.reset, 0},
	}
	for _, kind := range kinds {
		for _, deed := range deeds {
			t.Run(kind.name+"/"+deed.name, func(t *testing.T) {
				if kind.name == "unix" && deed.name == "reset" {
					t.Skip("there is no RST between Unix sockets")
				}
				l, r := newLoop(t), &rester{}
				c, p := add(t, l, kind.pair, r)
				p.send("x")
				settle(t, func() bool { return r.calls == 1 }, l)
				p.send("FATAL")
				deed.do(p)
				settle(t, func() bool { return r.eofs > 0 || r.err != nil }, l)
				if r.bytes != len("xFATAL") || r.eofs != deed.eofs {
					t.Errorf("%d bytes and EOF %d times, want %d and %d", r.bytes, r.eofs, len("xFATAL"), deed.eofs)
				}
				c.Close()
			})
		}
	}
}

// A connection that moves has rested enough: nobody would wake it there.
func TestRestingConnectionMayMove(t *testing.T) {
	l, to := newLoop(t), newLoop(t)
	r := &rester{}
	c, p := add(t, l, unixPair, r)
	p.send("x")
	settle(t, func() bool { return r.calls == 1 }, l)
	c.Rest() // is one rest with the first
	if len(l.resting) != 1 {
		t.Errorf("%d rests, want one", len(l.resting))
	}
	c.Move(to, func(error) {})
	p.send("y")
	settle(t, func() bool { return r.bytes == 2 }, l, to)
	c.Close()
}

// rester rests after each piece.
type rester struct {
	recorder
	calls, bytes int
}

func (r *rester) Data(c *Conn, b []byte) int {
	r.calls++
	r.bytes += len(b)
	c.Rest()
	return 0
}
