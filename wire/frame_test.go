package wire_test

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pgvip/pgvip/wire"
)

// message builds one message of the given type and body.
func message(typ byte, body string) []byte {
	n := len(body) + 4
	return append([]byte{typ, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, body...)
}

// cut feeds stream to f in chunks, keeping what Next calls Short as a
// connection does, and returns the pieces put together again and the types of
// the messages that began. It fails on more than HoldMax kept bytes.
func cut(t tester, f wire.Framer, chunks ...[]byte) (out []byte, types string) {
	t.Helper()
	var kept []byte
	for _, chunk := range chunks {
		b := append(bytes.Clone(kept), chunk...)
		for len(b) > 0 {
			typ, n, piece := f.Next(b)
			if piece == wire.Short {
				break
			}
			if piece == wire.Bad {
				return out, types + "!"
			}
			if piece == wire.Whole || piece == wire.First {
				types += string(rune(typ))
			}
			out = append(out, b[:n]...)
			b = b[n:]
		}
		kept = b
		if len(kept) > wire.HoldMax {
			t.Fatalf("%d bytes kept, at most %d", len(kept), wire.HoldMax)
		}
	}
	return out, types
}

func TestFramerIsTheSameForEveryChunking(t *testing.T) {
	var stream []byte
	stream = append(stream, message('Q', "select 1\x00")...)
	stream = append(stream, message('S', "")...)
	stream = append(stream, message('d', "copy data")...)
	stream = append(stream, message('P', string(make([]byte, 40)))...)
	for i := range len(stream) + 1 {
		out, types := cut(t, wire.Framer{}, stream[:i], stream[i:])
		if !bytes.Equal(out, stream) || types != "QSdP" {
			t.Fatalf("split at %d: types %q, %d of %d bytes", i, types, len(out), len(stream))
		}
	}
	var bytewise [][]byte
	for i := range stream {
		bytewise = append(bytewise, stream[i:i+1])
	}
	if out, types := cut(t, wire.Framer{}, bytewise...); !bytes.Equal(out, stream) || types != "QSdP" {
		t.Fatalf("byte by byte: types %q, %d of %d bytes", types, len(out), len(stream))
	}
}

func TestFramerStreamsWhatIsLargerThanHoldMax(t *testing.T) {
	big := message('Q', string(make([]byte, wire.HoldMax)))
	var f wire.Framer
	if _, n, piece := f.Next(big[:100]); piece != wire.First || n != 100 {
		t.Fatalf("beginning = %d bytes, %v; want 100, First", n, piece)
	}
	if _, n, piece := f.Next(big[100:200]); piece != wire.More || n != 100 {
		t.Fatalf("middle = %d bytes, %v; want 100, More", n, piece)
	}
	rest := append(bytes.Clone(big[200:]), 'S')
	if _, n, piece := f.Next(rest); piece != wire.Last || n != len(rest)-1 {
		t.Fatalf("end = %d bytes, %v; want %d, Last", n, piece, len(rest)-1)
	}
}

func TestFramerRefusesImpossibleLengths(t *testing.T) {
	for name, header := range map[string][]byte{
		"zero":       {'Q', 0, 0, 0, 0},
		"three":      {'Q', 0, 0, 0, 3},
		"2^31-1":     {'Q', 0x7f, 0xff, 0xff, 0xff},
		"negative":   {'Q', 0x80, 0, 0, 0},
		"minus one":  {'Q', 0xff, 0xff, 0xff, 0xff},
		"type zero":  {0, 0, 0, 0, 1},
		"just under": {'Q', 0, 0, 0, 2, 'x', 'x'},
		"1 GB":       {'Q', 0x3f, 0xff, 0xff, 0xff},
		"long Sync":  {'S', 0, 0, 0x27, 0x11},
		"long Close": {'C', 0, 0, 0x27, 0x11},
	} {
		var f wire.Framer
		if _, _, piece := f.Next(header); piece != wire.Bad {
			t.Errorf("%s: piece %v, want Bad", name, piece)
		}
	}
}

// What PostgreSQL takes, and what a server may send, is let through.
func TestFramerTakesTheLongest(t *testing.T) {
	for _, header := range [][]byte{{'Q', 0x3f, 0xff, 0xff, 0xfe}, {'d', 0x3f, 0xff, 0xff, 0xfe}, {'S', 0, 0, 0x27, 0x10}} {
		var f wire.Framer
		if _, _, piece := f.Next(header); piece == wire.Bad {
			t.Errorf("%x: Bad", header)
		}
	}
	f := wire.NewBackendFramer()
	if _, _, piece := f.Next([]byte{'D', 0x7f, 0xff, 0xff, 0xfe}); piece != wire.First {
		t.Errorf("row of 2 GB: %v, want First", piece)
	}
}

func TestCheckFrontendUsesPostgreSQLsWords(t *testing.T) {
	if got, want := wire.CheckFrontend([]byte{0, 0, 0, 0, 4}).Message, "invalid frontend message type 0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := wire.CheckFrontend([]byte{'Q', 0, 0, 0, 3}).Message, "invalid message length"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFramerKeepsEveryByteOfAnyStream(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, large := wire.Framer{}, "QPBd"
		if rapid.Bool().Draw(t, "backend") {
			f, large = wire.NewBackendFramer(), "QPBDESXdcfZT1N"
		}
		var stream []byte
		var want string
		for range rapid.IntRange(0, 8).Draw(t, "messages") {
			typ := rapid.SampledFrom([]byte("QPBDESXdcfZT1N")).Draw(t, "type")
			size := rapid.SampledFrom([]int{0, 1, 5, 100, wire.HoldMax - 6, wire.HoldMax, wire.HoldMax + 7}).Draw(t, "size")
			if size > 9_000 && !strings.ContainsRune(large, rune(typ)) {
				size = 9_000
			}
			stream = append(stream, message(typ, string(make([]byte, size)))...)
			want += string(rune(typ))
		}
		var chunks [][]byte
		for rest := stream; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "chunk")
			chunks = append(chunks, rest[:n])
			rest = rest[n:]
		}
		out, types := cut(t, f, chunks...)
		if !bytes.Equal(out, stream) || types != want {
			t.Fatalf("types %q, want %q; %d of %d bytes", types, want, len(out), len(stream))
		}
	})
}

// tester is what testing.TB and rapid.T have in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

func FuzzFramer(f *testing.F) {
	f.Add(message('Q', "select 1\x00"), uint8(3), true)
	f.Add(message('D', "\x00\x01\x00\x00\x00\x01x"), uint8(6), false)
	f.Fuzz(func(t *testing.T, stream []byte, at uint8, frontend bool) {
		fr := wire.NewBackendFramer()
		if frontend {
			fr = wire.Framer{}
		}
		i := min(int(at), len(stream))
		whole, types := cut(t, fr, stream)
		split, splitTypes := cut(t, fr, stream[:i], stream[i:])
		// A stream that is cut may hand out a message's beginning sooner, never later.
		if types != splitTypes && len(types) > len(splitTypes) {
			t.Fatalf("split at %d: types %q, whole %q", i, splitTypes, types)
		}
		if !bytes.HasPrefix(stream, whole) || !bytes.HasPrefix(stream, split) {
			t.Fatal("bytes were changed or left out")
		}
	})
}

func FuzzIsFatal(f *testing.F) {
	f.Add(message('E', "SFATAL\x00VFATAL\x00C57P01\x00\x00"))
	f.Fuzz(func(t *testing.T, m []byte) {
		got := wire.IsFatal(m)
		if len(m) > wire.HeaderSize && m[0] == 'E' && !bytes.Contains(m, []byte("FATAL")) && !bytes.Contains(m, []byte("PANIC")) && got {
			t.Fatal("fatal without the word")
		}
	})
}

func TestIsFatal(t *testing.T) {
	for name, row := range map[string]struct {
		body string
		want bool
	}{
		"error":                {"SERROR\x00VERROR\x00C42601\x00\x00", false},
		"fatal":                {"SFATAL\x00VFATAL\x00C57P01\x00\x00", true},
		"translated":           {"SSCHWERWIEGEND\x00VFATAL\x00\x00", true},
		"before 9.6":           {"SFATAL\x00C57P01\x00\x00", true},
		"panic":                {"SPANIC\x00VPANIC\x00\x00", true},
		"cut short":            {"SFATAL\x00Mterm", true},
		"nothing":              {"\x00", false},
		"fatal in the message": {"SERROR\x00VERROR\x00MFATAL\x00\x00", false},
	} {
		if got := wire.IsFatal(message('E', row.body)); got != row.want {
			t.Errorf("%s: %v, want %v", name, got, row.want)
		}
	}
}
