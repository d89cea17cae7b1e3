package proxy

import (
	"fmt"
	"net"
	"testing"
	"time"
)

// TestGuesses: a burst of wrong keys, then one for each pace; others are not
// touched, and the memory of it is bounded.
func TestGuesses(t *testing.T) {
	var g guesses
	now := time.Unix(1000, 0)
	from := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
	for i := range guessBurst {
		if !g.allowed(from, now) {
			t.Fatalf("guess %d is not looked at", i+1)
		}
		g.wrong(from, now)
	}
	if g.allowed(from, now) {
		t.Errorf("guess %d is looked at", guessBurst+1)
	}
	if !g.allowed(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 2)}, now) {
		t.Error("another address pays for it")
	}
	now = now.Add(guessPace)
	if !g.allowed(from, now) {
		t.Error("nothing is looked at after the pause")
	}
	g.wrong(from, now)
	if g.allowed(from, now) {
		t.Error("two guesses for one pause")
	}
	now = now.Add(guessBurst * guessPace)
	if g.wrong(from, now); g.paid[neighbourhood(from)] != now.Add(guessPace) {
		t.Error("a debt that was paid long ago is not forgotten")
	}
}

// TestGuessersAreBounded: those who have paid go first.
func TestGuessersAreBounded(t *testing.T) {
	var g guesses
	now := time.Unix(1000, 0)
	address := func(i int) net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 0, byte(i>>8), byte(i))} }
	for i := range maxGuessers {
		g.wrong(address(i), now)
	}
	for range guessBurst {
		g.wrong(address(0), now)
	}
	for i := range 3 {
		g.wrong(address(maxGuessers+i), now)
	}
	if len(g.paid) > maxGuessers {
		t.Errorf("%d addresses are remembered, want at most %d", len(g.paid), maxGuessers)
	}
	later := now.Add(2 * guessPace)
	g.wrong(address(1<<16-1), later)
	if n := len(g.paid); n > 2 {
		t.Errorf("%d addresses are remembered after all but one have paid", n)
	}
}

func TestNeighbourhood(t *testing.T) {
	for _, test := range []struct {
		from net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.ParseIP("192.0.2.7"), Port: 5}, "192.0.2.7/32"},
		{&net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.7"), Port: 5}, "192.0.2.7/32"},
		{&net.TCPAddr{IP: net.ParseIP("2001:db8:1:2:3:4:5:6")}, "2001:db8:1:2::/64"},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, "fe80::/64"},
		{&net.UnixAddr{Name: "@", Net: "unix"}, "invalid Prefix"},
	} {
		if got := fmt.Sprint(neighbourhood(test.from)); got != test.want {
			t.Errorf("neighbourhood(%v) = %s, want %s", test.from, got, test.want)
		}
	}
}
