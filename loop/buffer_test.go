package loop

import (
	"bytes"
	"testing"
)

func TestBufferIsOfTheSmallestClass(t *testing.T) {
	var b buffers
	for _, tt := range []struct{ n, want int }{
		{1, 512}, {512, 512}, {513, 4 << 10}, {5000, 16 << 10}, {keepMax, keepMax}, {keepMax + 1, 2 * keepMax}, {1 << 20, 1 << 20},
	} {
		buf := b.get(tt.n)
		if cap(buf) != tt.want || len(buf) != 0 {
			t.Errorf("get(%d) has length %d and capacity %d, want 0 and %d", tt.n, len(buf), cap(buf), tt.want)
		}
	}
}

func TestBufferStockIsBounded(t *testing.T) {
	var b buffers
	var taken [][]byte
	for range 3 * maxSpare {
		taken = append(taken, b.get(100))
	}
	for _, buf := range taken {
		b.put(buf[:50])
	}
	b.put(nil)
	b.put(make([]byte, 0, 1000)) // of no class
	if got := len(b.spare[0]); got != maxSpare {
		t.Errorf("%d buffers in stock, want %d", got, maxSpare)
	}
	if buf := b.get(1); len(buf) != 0 || cap(buf) != 512 {
		t.Errorf("the stock gave a buffer of length %d, capacity %d", len(buf), cap(buf))
	}
	if got := len(b.spare[0]); got != maxSpare-1 {
		t.Errorf("%d buffers left in stock, want one less", got)
	}
}

// Growing byte by byte far beyond the classes copies no more than a few times
// what there is.
func TestGrowBeyondTheClassesIsRare(t *testing.T) {
	var b buffers
	var buf []byte
	moves, want := 0, bytes.Repeat([]byte("0123456789"), 100_000)
	for at := 0; at < len(want); at += 10 {
		before := cap(buf)
		buf = append(b.grow(buf, 10), want[at:at+10]...)
		if cap(buf) != before {
			moves++
		}
	}
	if !bytes.Equal(buf, want) {
		t.Error("grow changed the bytes")
	}
	if moves > 10 {
		t.Errorf("the bytes moved %d times, want at most 10", moves)
	}
}

// What is kept lies in the smallest buffer for it, and may come from itself.
func TestHoldFitsTheBuffer(t *testing.T) {
	var b buffers
	text := bytes.Repeat([]byte("abcdefgh"), 1000)
	held := b.hold(nil, text)
	for _, n := range []int{7000, 5000, 4096, 600, 512, 3, 0} {
		tail := held[len(held)-n:]
		held = b.hold(held, tail)
		if !bytes.Equal(held, text[len(text)-n:]) {
			t.Errorf("the last %d bytes were changed", n)
		}
		want := 0
		if n > 0 {
			want = classOf(n)
		}
		if cap(held) != want {
			t.Errorf("%d bytes are held in %d, want %d", n, cap(held), want)
		}
	}
}
