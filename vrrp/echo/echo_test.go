package echo

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

var (
	keyA = bytes.Repeat([]byte{1}, 16)
	keyB = bytes.Repeat([]byte{2}, 32)
)

func codec(t testing.TB, cluster, self string, keys ...[]byte) *Codec {
	t.Helper()
	c, err := NewCodec(cluster, self, []string{"lb1", "lb2", "lb3"}, keys)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func seal(t testing.TB, c *Codec, to, message string) []byte {
	t.Helper()
	d, err := c.Seal(to, []byte(message))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// meet exchanges what two keepers need to know each other.
func meet(t testing.TB, a, b *Codec) {
	t.Helper()
	for range 2 {
		if _, err := b.Open(0, seal(t, a, b.self, "")); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Open(0, seal(t, b, a.self, "")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMessagesPassBetweenKeepersThatHaveMet(t *testing.T) {
	a, b := codec(t, "demo", "lb1", keyA), codec(t, "demo", "lb2", keyA)
	o, err := b.Open(0, seal(t, a, "lb2", "early"))
	if err != nil || !o.Greeting || o.From != "lb1" {
		t.Fatalf("first datagram: %+v, %v, want a greeting of lb1", o, err)
	}
	// One exchange is enough: b's answer names a's boot.
	if o, err = a.Open(0, seal(t, b, "lb1", "one")); err != nil || o.Greeting || string(o.Message) != "one" {
		t.Fatalf("answer: %+v, %v", o, err)
	}
	if o, err = b.Open(0, seal(t, a, "lb2", "two")); err != nil || o.Greeting || string(o.Message) != "two" {
		t.Fatalf("second datagram: %+v, %v", o, err)
	}
}

func TestDatagramsOfOthersAreGarbage(t *testing.T) {
	b := codec(t, "demo", "lb2", keyA)
	good := seal(t, codec(t, "demo", "lb1", keyA), "lb2", "x")
	short := good[:minLen-1]
	flipped := bytes.Clone(good)
	flipped[len(magic)+bootLen+7]++ // the sequence
	tests := map[string][]byte{
		"another cluster":  seal(t, codec(t, "other", "lb1", keyA), "lb2", "x"),
		"another key":      seal(t, codec(t, "demo", "lb1", keyB), "lb2", "x"),
		"for another node": seal(t, codec(t, "demo", "lb1", keyA), "lb3", "x"),
		"cut":              short,
		"sequence changed": flipped,
		"empty":            nil,
		"too long":         append(bytes.Clone(good), make([]byte, MaxDatagram)...),
	}
	for name, d := range tests {
		if _, err := b.Open(0, d); !errors.Is(err, ErrGarbage) {
			t.Errorf("%s: %v, want garbage", name, err)
		}
	}
	if _, err := b.Open(0, good); err != nil {
		t.Errorf("the untouched one: %v", err)
	}
}

func TestNamesAreHeldTo(t *testing.T) {
	b := codec(t, "demo", "lb2", keyA)
	if _, err := b.Open(0, seal(t, codec(t, "demo", "lb2", keyA), "lb2", "x")); !errors.Is(err, ErrTwin) {
		t.Errorf("own name: %v, want a twin", err)
	}
	if _, err := b.Open(0, seal(t, codec(t, "demo", "lb9", keyA), "lb2", "x")); !errors.Is(err, ErrStranger) {
		t.Errorf("no peer: %v, want a stranger", err)
	}
	if _, err := b.Seal("lb9", nil); !errors.Is(err, ErrStranger) {
		t.Errorf("seal for no peer: %v", err)
	}
	if _, err := b.Seal("lb1", make([]byte, MaxDatagram)); err == nil {
		t.Error("a message that does not fit was sealed")
	}
}

func TestEveryKeyOpensAndTheFirstSeals(t *testing.T) {
	// lb1 has turned to the new key, lb2 still sends with the old one.
	a, b := codec(t, "demo", "lb1", keyB, keyA), codec(t, "demo", "lb2", keyA, keyB)
	meet(t, a, b)
	if _, err := codec(t, "demo", "lb2", keyA).Open(0, seal(t, a, "lb2", "x")); !errors.Is(err, ErrGarbage) {
		t.Errorf("sealed with the first key, opened with the second: %v", err)
	}
	if o, err := b.Open(0, seal(t, a, "lb2", "x")); err != nil || string(o.Message) != "x" {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestBadKeysAreRefused(t *testing.T) {
	if _, err := NewCodec("demo", "lb1", nil, nil); err == nil {
		t.Error("no key was accepted")
	}
	_, err := NewCodec("demo", "lb1", nil, [][]byte{keyA, []byte("secret")})
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("key of 6 bytes: %v", err)
	}
}

func TestNothingCountsTwice(t *testing.T) {
	a, b := codec(t, "demo", "lb1", keyA), codec(t, "demo", "lb2", keyA)
	meet(t, a, b)
	first, second := seal(t, a, "lb2", "1"), seal(t, a, "lb2", "2")
	for _, d := range [][]byte{second, first} { // paths may overtake each other
		if _, err := b.Open(0, d); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range [][]byte{second, first} {
		if _, err := b.Open(0, d); !errors.Is(err, ErrReplay) {
			t.Errorf("again: %v, want a replay", err)
		}
	}
}

// TestRecordedDatagramsAreWorthNothing plays all that was sent before to a
// keeper that has started anew, and to one that has seen its peer start anew.
func TestRecordedDatagramsAreWorthNothing(t *testing.T) {
	a, b := codec(t, "demo", "lb1", keyA), codec(t, "demo", "lb2", keyA)
	meet(t, a, b)
	record := [][]byte{seal(t, a, "lb2", "release"), seal(t, a, "lb2", "release")}

	fresh := codec(t, "demo", "lb2", keyA)
	for _, d := range record {
		if o, err := fresh.Open(0, d); err == nil && !o.Greeting {
			t.Errorf("a new keeper believes %q of before its start", o.Message)
		}
	}
	if _, err := b.Open(0, record[0]); err != nil {
		t.Fatal(err)
	}
	a2 := codec(t, "demo", "lb1", keyA)
	meet(t, a2, b)
	if _, err := b.Open(0, record[1]); !errors.Is(err, ErrReplay) {
		t.Errorf("of the peer's last life: %v, want a replay", err)
	}
	if o, err := b.Open(0, seal(t, a2, "lb2", "x")); err != nil || o.Greeting {
		t.Errorf("after the replay the new one is not known any more: %+v, %v", o, err)
	}
}

// TestGreetingsPlayedBackDoNotBlockAPeer: whoever recorded a greeting of the
// peer's last life cannot keep its new one out.
func TestGreetingsPlayedBackDoNotBlockAPeer(t *testing.T) {
	old := seal(t, codec(t, "demo", "lb1", keyA), "lb2", "")
	a, b := codec(t, "demo", "lb1", keyA), codec(t, "demo", "lb2", keyA)
	if _, err := b.Open(0, old); err != nil {
		t.Fatal(err)
	}
	meet(t, a, b)
	if o, err := b.Open(0, old); err == nil && !o.Greeting {
		t.Errorf("an old greeting counts: %+v", o)
	}
	if o, err := b.Open(0, seal(t, a, "lb2", "x")); err != nil || o.Greeting {
		t.Errorf("%+v, %v, want a message", o, err)
	}
}

func TestUnknownBootsAreBounded(t *testing.T) {
	b := codec(t, "demo", "lb2", keyA)
	d := seal(t, codec(t, "demo", "lb1", keyB), "lb2", "x")
	floods := 0
	for range 10 * floodBurst {
		if _, err := b.Open(time.Second, d); errors.Is(err, ErrFlood) {
			floods++
		}
	}
	if want := 9 * floodBurst; floods != want {
		t.Errorf("%d of the datagrams were left, want %d", floods, want)
	}
	if _, err := b.Open(2*time.Second, d); !errors.Is(err, ErrGarbage) {
		t.Errorf("a second later: %v", err)
	}
	if n := len(b.openers); n != 0 {
		t.Errorf("%d boots are remembered for garbage", n)
	}
}

func TestMemoryIsBoundedWhateverStartsHowOften(t *testing.T) {
	b := codec(t, "demo", "lb2", keyA)
	for i := range 2 * maxRetired {
		now := time.Duration(i) * time.Second
		if _, err := b.Open(now, seal(t, codec(t, "demo", "lb1", keyA), "lb2", "")); err != nil {
			t.Fatal(err) // this one never comes to know b
		}
		a := codec(t, "demo", "lb1", keyA)
		for range 2 {
			if _, err := b.Open(now, seal(t, a, "lb2", "")); err != nil {
				t.Fatal(err)
			}
			if _, err := a.Open(now, seal(t, b, "lb1", "")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := len(b.openers); n > 2*len(b.peers) {
		t.Errorf("%d derived keys are held", n)
	}
	if n := len(b.peers["lb1"].retired); n > maxRetired {
		t.Errorf("%d boots are remembered", n)
	}
}

func TestWindow(t *testing.T) {
	var w window
	steps := []struct {
		seq  uint64
		want bool
	}{
		{0, false}, {1, true}, {1, false}, {5, true}, {3, true}, {3, false}, {5, false},
		{1024, true}, {2, true}, {2, false}, {1025, true}, {1, false}, {4, true},
		{10_000, true}, {9_000, true}, {9_000, false}, {8_976, false}, {8_977, true}, {5, false},
		{10_001, true}, {8_977, false}, {1<<64 - 1, true}, {1<<64 - 1, false}, {10_002, false},
	}
	for _, s := range steps {
		if got := w.take(s.seq); got != s.want {
			t.Errorf("take(%d) = %t, want %t", s.seq, got, s.want)
		}
	}
}

func FuzzOpen(f *testing.F) {
	b := codec(f, "demo", "lb2", keyA)
	a := codec(f, "demo", "lb1", keyA)
	f.Add(seal(f, a, "lb2", "message"))
	f.Add([]byte(magic))
	f.Add(bytes.Repeat([]byte{0xff}, MaxDatagram))
	f.Fuzz(func(t *testing.T, d []byte) {
		if o, err := b.Open(time.Hour, d); err == nil && o.From != "lb1" {
			t.Errorf("%q opened as of %q", d, o.From)
		}
	})
}

// FuzzInner fuzzes what is under the seal: a peer of another version may send
// anything.
func FuzzInner(f *testing.F) {
	f.Add([]byte{}, uint64(1))
	f.Add(append(make([]byte, bootLen), 3, 'l', 'b', '1', 'x'), uint64(2))
	f.Add(append(make([]byte, bootLen), 255), uint64(3))
	f.Fuzz(func(t *testing.T, plain []byte, seq uint64) {
		a, b := codec(t, "demo", "lb1", keyA), codec(t, "demo", "lb2", keyA)
		out := append([]byte(magic), a.boot[:]...)
		out = append(out, byte(seq>>56), byte(seq>>48), byte(seq>>40), byte(seq>>32), byte(seq>>24), byte(seq>>16), byte(seq>>8), byte(seq))
		d := a.sealer.Seal(out, nonce(out), plain, a.bound(out, "lb2"))
		if o, err := b.Open(0, d); err == nil && o.From != "lb1" && o.From != "lb3" {
			t.Errorf("opened as of %q", o.From)
		}
	})
}
