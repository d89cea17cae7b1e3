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
