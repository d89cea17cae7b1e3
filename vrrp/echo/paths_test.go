package echo

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// end is one keeper's paths in a test.
type end struct {
	paths *Paths
	got   chan Received
}

// open runs the paths of a node until the test ends.
func open(t *testing.T, codec *Codec, locals []netip.AddrPort, peers ...Peer) *end {
	t.Helper()
	e := &end{got: make(chan Received, 1000)} // no test sends that many
	start := time.Now()
	e.paths = NewPaths(codec, Options{Locals: locals, Peers: peers,
		Now: func() time.Duration { return time.Since(start) }, Deliver: func(r Received) { e.got <- r }})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { e.paths.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return e
}

// until sends a message over and over until the other end has it on each of
// these paths, and returns what came.
func (e *end) until(t *testing.T, other *end, to, message string, paths ...int) map[int]Received {
	t.Helper()
	deadline := time.After(10 * time.Second)
	found := map[int]Received{}
	for {
		if err := e.paths.Send(to, []byte(message)); err != nil {
			t.Fatal(err)
		}
		tick := time.After(20 * time.Millisecond)
	wait:
		for {
			select {
			case r := <-other.got:
				if r.Err != nil {
					t.Fatal(r.Err)
				}
				if string(r.Message) == message {
					found[r.Path] = r
				}
			case <-tick:
				break wait
			case <-deadline:
				t.Fatalf("of %q only %v came", message, found)
			}
		}
		missing := false
		for _, p := range paths {
			_, ok := found[p]
			missing = missing || !ok
		}
		if !missing {
			return found
		}
	}
}

// free gives addresses on which nobody listens, in the first of several
// loopback networks.
func free(t *testing.T, hosts ...string) []netip.AddrPort {
	t.Helper()
	var out []netip.AddrPort
	for _, host := range hosts {
		c, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c.LocalAddr().(*net.UDPAddr).AddrPort())
		c.Close()
	}
	return out
}

func TestAMessageComesOverEveryPath(t *testing.T) {
	one, two := free(t, "127.0.0.1", "127.0.1.1", "::1"), free(t, "127.0.0.2", "127.0.1.2", "::1")
	a := open(t, codec(t, "demo", "lb1", keyA), one, Peer{"lb2", two})
	b := open(t, codec(t, "demo", "lb2", keyA), two, Peer{"lb1", one})
	for _, r := range a.until(t, b, "lb2", "ping", 0, 1, 2) {
		if r.From != "lb1" {
			t.Errorf("%+v is not from lb1", r)
		}
	}
	b.until(t, a, "lb1", "pong", 0, 1, 2)
}

func TestAPathWaitsForItsSocket(t *testing.T) {
	one, two := free(t, "127.0.0.1"), free(t, "127.0.0.2")
	busy, err := net.ListenPacket("udp", one[0].String())
	if err != nil {
		t.Fatal(err)
	}
	a := open(t, codec(t, "demo", "lb1", keyA), one, Peer{"lb2", two})
	b := open(t, codec(t, "demo", "lb2", keyA), two, Peer{"lb1", one})
	if err := a.paths.Send("lb2", []byte("lost")); err != nil {
		t.Errorf("sending while the socket is not there: %v", err)
	}
	if a.paths.Bound()[0] {
		t.Error("a socket that another one has is open")
	}
	busy.Close()
	a.until(t, b, "lb2", "ping", 0)
	if !a.paths.Bound()[0] {
		t.Error("the socket that sends is not open")
	}
}

// TestAPeerThatStartsAnewIsHeardAtOnce: its first message may be lost to the
// greeting, and no time-out passes.
func TestAPeerThatStartsAnewIsHeardAtOnce(t *testing.T) {
	one, two, again := free(t, "127.0.0.1"), free(t, "127.0.0.2"), free(t, "127.0.0.3")
	b := open(t, codec(t, "demo", "lb2", keyA), two, Peer{"lb1", append(one, again...)})
	for _, local := range [][]netip.AddrPort{one, again} {
		a := open(t, codec(t, "demo", "lb1", keyA), local, Peer{"lb2", two})
		a.until(t, b, "lb2", "ping of "+local[0].String(), 0)
	}
}

func TestATwinIsToldAndADoubleIsNot(t *testing.T) {
	one, two := free(t, "127.0.0.1"), free(t, "127.0.0.2")
	a := open(t, codec(t, "demo", "lb1", keyA), one, Peer{"lb2", two})
	twin := codec(t, "demo", "lb2", keyA)
	b := open(t, twin, two, Peer{"lb1", one})
	other, err := net.Dial("udp", two[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	a.until(t, b, "lb2", "ping", 0)
	// What the network doubles is no alarm, and does not count twice.
	a.paths.mu.Lock()
	datagram := seal(t, a.paths.codec, "lb2", "doubled")
	a.paths.mu.Unlock()
	for range 2 {
		if _, err := other.Write(datagram); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := other.Write(seal(t, codec(t, "demo", "lb2", keyA), "lb2", "x")); err != nil {
		t.Fatal(err)
	}
	doubled := 0
	for {
		select {
		case r := <-b.got:
			if errors.Is(r.Err, ErrTwin) {
				if doubled != 1 {
					t.Errorf("the doubled message came %d times", doubled)
				}
				return
			}
			if r.Err != nil {
				t.Fatalf("delivered: %v", r.Err)
			}
			if string(r.Message) == "doubled" {
				doubled++
			}
		case <-time.After(10 * time.Second):
			t.Fatal("nobody told of the twin")
		}
	}
}

func TestLocalEndsArePickedByPlaceAndFamily(t *testing.T) {
	locals := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("[fd00::1]:1"), netip.MustParseAddrPort("10.1.0.1:1")}
	v4, v6 := netip.MustParseAddrPort("10.0.0.2:1"), netip.MustParseAddrPort("[fd00::2]:1")
	tests := []struct {
		i      int
		remote netip.AddrPort
		want   int
	}{{0, v4, 0}, {1, v6, 1}, {2, v4, 2}, {1, v4, 0}, {0, v6, 1}, {7, v4, 0}}
	for _, tt := range tests {
		if got := pick(locals, tt.i, tt.remote); got != tt.want {
			t.Errorf("pick(%d, %v) = %d, want %d", tt.i, tt.remote, got, tt.want)
		}
	}
	if got := pick(locals[:1], 0, v6); got != -1 {
		t.Errorf("no end of the family: %d, want -1", got)
	}
}
