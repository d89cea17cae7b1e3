package loop

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// framer is a Handler as the protocol's are: it takes whole messages, two bytes
// of length and then that many, and keeps what is not whole. It notes what it
// got.
type framer struct {
	recorder
	messages [][]byte
	act      func(c *Conn) // after each call of Data, in it
}

func newFramer() *framer {
	f := &framer{}
	f.onData = f.take
	return f
}

func (f *framer) take(c *Conn, b []byte) int {
	for len(b) >= 2 {
		n := 2 + int(binary.BigEndian.Uint16(b))
		if len(b) < n {
			break
		}
		f.messages = append(f.messages, bytes.Clone(b[2:n]))
		b = b[n:]
	}
	if f.act != nil {
		f.act(c)
	}
	return len(b)
}

// frame is a message of n bytes.
func frame(n int, fill byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(n))
	return append(b, bytes.Repeat([]byte{fill}, n)...)
}

func TestMessagesByteByByte(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			l, f := newLoop(t), newFramer()
			c, p := add(t, l, kind.pair, f)
			var stream []byte
			want := []int{0, 1, 5, 300, 0, 700}
			for i, n := range want {
				stream = append(stream, frame(n, byte(i))...)
			}
			for i := range stream {
				calls := f.calls
				p.send(string(stream[i : i+1]))
				settle(t, func() bool { return f.calls > calls }, l)
			}
			if len(f.messages) != len(want) {
				t.Fatalf("%d messages, want %d", len(f.messages), len(want))
			}
			for i, m := range f.messages {
				if !bytes.Equal(m, frame(want[i], byte(i))[2:]) {
					t.Errorf("message %d has %d bytes, want %d", i, len(m), want[i])
				}
			}
			if c.held != nil {
				t.Error("a buffer is held after the last whole message")
			}
			c.Close()
		})
	}
}

// A message as long as can be kept is put together, whatever it comes with; one
// byte more would not fit, and the connection stands still.
func TestLargestMessage(t *testing.T) {
	l, f := newLoop(t), newFramer()
	c, p := add(t, l, tcpPair, f)
	whole := frame(keepMax-2, 'x')
	if _, err := p.Write(append(whole, frame(3, 'y')...)); err != nil {
		t.Fatal(err)
	}
	settle(t, func() bool { return len(f.messages) == 2 }, l)
	if _, err := p.Write(frame(keepMax-1, 'z')); err != nil {
		t.Fatal(err)
	}
	settle(t, c.Paused, l)
	quiet(t, l)
	if len(f.messages) != 2 || len(c.held) != keepMax {
		t.Errorf("%d messages, %d bytes held, want 2 and %d", len(f.messages), len(c.held), keepMax)
	}
	c.Close()
}

// Messages of any size in chunks of any size, with pauses, turns asked for and
// moves in between: the handler gets what was sent, and then the end.
func TestMessagesAgainstAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		loops := []*Loop{newLoop(t), newLoop(t)}
		here := 0
		f := newFramer()
		c, p := add(t, loops[0], kinds[rapid.IntRange(0, 1).Draw(rt, "kind")].pair, f)
		sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 20), rapid.IntRange(0, keepMax-2)), 1, 6).Draw(rt, "sizes")
		var stream []byte
		for i, n := range sizes {
			stream = append(stream, frame(n, byte(i))...)
		}
		for left := stream; len(left) > 0; {
			n := min(len(left), rapid.OneOf(rapid.IntRange(1, 5), rapid.IntRange(1, 100_000)).Draw(rt, "chunk"))
			if room := len(stream) - len(left) + n - f.sum(c); room > 100_000 {
				c.Resume(PausePeer)
				settle(rt, func() bool { return f.sum(c) >= len(stream)-len(left) || c.Paused() }, loops[here])
			}
			p.send(string(left[:n]))
			left = left[n:]
			switch rapid.SampledFrom([]string{"turn", "turn", "pause", "resume", "later", "process", "inside", "move"}).Draw(rt, "act") {
			case "pause":
				c.Pause(PausePeer)
			case "resume":
				c.Resume(PausePeer)
			case "later":
				c.ProcessLater()
			case "process":
				c.Process()
			case "inside":
				f.act = func(c *Conn) { c.Process(); f.act = nil }
			case "move":
				c.Move(loops[1-here], func(error) {})
				here = 1 - here
				step(loops[here])
			}
			step(loops[here])
		}
		p.finish()
		c.Resume(PausePeer)
		settle(rt, func() bool { return c.eof }, loops...)
		var got []int
		for _, m := range f.messages {
			got = append(got, len(m))
		}
		if !slices.Equal(got, sizes) || !bytes.Equal(bytes.Join(f.messages, nil), joined(sizes)) {
			rt.Fatalf("messages of %v bytes, want %v", got, sizes)
		}
		if len(c.held) != 0 {
			rt.Fatalf("%d bytes are held at the end", len(c.held))
		}
		c.Close()
		loops[0].Close()
		loops[1].Close()
	})
}

// sum is how much of the stream has left the kernel.
func (f *framer) sum(c *Conn) int {
	n := len(c.held)
	for _, m := range f.messages {
		n += 2 + len(m)
	}
	return n
}

func joined(sizes []int) []byte {
	var b []byte
	for i, n := range sizes {
		b = append(b, frame(n, byte(i))[2:]...)
	}
	return b
}
