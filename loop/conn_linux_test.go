package loop

import (
	"slices"
	"strings"
	"testing"
)

// A handler that asks to see its bytes again gets them before the end, and if
// it pauses then, the end waits until it reads on.
func TestBytesAskedForComeBeforeTheEnd(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, p := add(t, l, unixPair, r)
	hold := true
	r.onData = func(c *Conn, b []byte) int {
		if hold {
			return len(b)
		}
		r.got = append(r.got, b...)
		c.Pause(PausePeer)
		return 0
	}
	p.send("next")
	settle(t, func() bool { return len(c.held) == 4 }, l)
	hold = false
	p.finish()
	c.ProcessLater()
	step(l)
	if string(r.got) != "next" || !c.Paused() {
		t.Fatalf("got %q, paused %t, want the bytes and a pause", r.got, c.Paused())
	}
	for range 5 {
		step(l)
	}
	told := r.eofs
	c.Resume(PausePeer)
	settle(t, func() bool { return r.eofs > told }, l)
	if told > 1 || r.eofs > 2 {
		t.Errorf("EOF came %d times, then %d: want at most once and twice", told, r.eofs)
	}
	quiet(t, l)
	c.Close()
}

// A handler that takes one request at a time and asks again for the next gets
// all of them before the end.
func TestRequestsOneByOneComeBeforeTheEnd(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, p := add(t, l, unixPair, r)
	r.onData = func(c *Conn, b []byte) int {
		r.got = append(r.got, b[0])
		c.ProcessLater()
		return len(b) - 1
	}
	var atEOF string
	r.onEOF = func(*Conn) { atEOF = string(r.got) }
	p.send("12345")
	p.finish()
	for turn := 1; r.eofs == 0; turn++ {
		before := r.calls
		step(l)
		if got := r.calls - before; got > 2 {
			t.Fatalf("turn %d served the connection %d times, want once for the socket and once more", turn, got)
		}
	}
	if atEOF != "12345" {
		t.Errorf("before the end the handler got %q, want all five", atEOF)
	}
	c.Close()
}

func TestAddOfAnOpenConnectionPanics(t *testing.T) {
	l := newLoop(t)
	c, _ := add(t, l, unixPair, &recorder{})
	defer func() {
		if recover() == nil {
			t.Error("the connection was added twice")
		}
		c.Close()
	}()
	_ = l.Add(c, c.FD(), ClassClient, &recorder{}, nil)
}

// A handler that has had all it kept needs no further turn.
func TestProcessLaterWithNothingKeptIsNoTurn(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, _ := add(t, l, unixPair, r)
	c.ProcessLater()
	if len(l.later) > 0 {
		t.Error("a turn was asked for with nothing to do in it")
	}
	c.Close()
	c.ProcessLater()
	if len(l.later) > 0 {
		t.Error("a turn was asked for a closed connection")
	}
}

// Everyone who asks again is served once a turn, in order, and sockets between.
func TestProcessLaterIsFair(t *testing.T) {
	l := newLoop(t)
	var order []string
	var conns []*Conn
	for _, name := range []string{"a", "b", "c"} {
		r := &recorder{}
		r.onData = func(c *Conn, b []byte) int {
			order = append(order, name)
			c.ProcessLater()
			return len(b)
		}
		c, _ := add(t, l, unixPair, r, 'x')
		conns = append(conns, c)
	}
	r := &recorder{}
	c, p := add(t, l, unixPair, r)
	p.send("!")
	for range 3 {
		step(l)
	}
	if got := strings.Join(order, ""); got != "abcabcabc" {
		t.Errorf("served %s, want abcabcabc", got)
	}
	if string(r.got) != "!" {
		t.Errorf("in three turns the socket brought %q, want it read", r.got)
	}
	for _, c := range append(conns, c) {
		c.Close()
	}
}

// Handlers close whom they like, in the middle of a batch, and the slot of the
// closed is given to another: its events are nobody's.
func TestEventOfAClosedConnectionReachesNobody(t *testing.T) {
	l := newLoop(t)
	var late *Conn
	newcomer := &recorder{}
	victim := &recorder{}
	killer := &recorder{}
	v, vp := add(t, l, tcpPair, victim)
	v.Pause(PausePeer)
	killer.onData = func(*Conn, []byte) int {
		slot := v.slot
		v.Close()
		late, _ = add(t, l, tcpPair, newcomer)
		late.Pause(PausePeer) // and so would be ended by an error
		if late.slot != slot {
			t.Errorf("the newcomer got slot %d, want %d again", late.slot, slot)
		}
		return 0
	}
	fd, kp := unixPair(t)
	k := new(Conn)
	if err := l.Add(k, fd, ClassServer, killer, nil); err != nil {
		t.Fatal(err)
	}
	vp.reset()
	kp.send("kill")
	step(l)
	if killer.calls != 1 || victim.err != nil || newcomer.err != nil || late.Closed() {
		t.Errorf("killed %d, the victim heard %v, the newcomer %v: want one death and silence", killer.calls, victim.err, newcomer.err)
	}
	quiet(t, l)
	k.Close()
	late.Close()
}

// Servers are heard before clients, whoever was first.
func TestServersComeBeforeClients(t *testing.T) {
	l := newLoop(t)
	var order []string
	note := func(name string) *recorder {
		return &recorder{onData: func(*Conn, []byte) int {
			order = append(order, name)
			return 0
		}}
	}
	client, cp := add(t, l, unixPair, note("client"))
	fd, sp := unixPair(t)
	server := new(Conn)
	if err := l.Add(server, fd, ClassServer, note("server"), nil); err != nil {
		t.Fatal(err)
	}
	cp.send("x")
	sp.send("x")
	step(l)
	if want := []string{"server", "client"}; !slices.Equal(order, want) {
		t.Errorf("heard %q, want %q", order, want)
	}
	client.Close()
	server.Close()
}

// A handler may have another's bytes processed from inside its own Data, and
// its own too: that happens once it has returned.
func TestProcessInsideData(t *testing.T) {
	l := newLoop(t)
	ra, rb := &recorder{}, &recorder{}
	a, pa := add(t, l, unixPair, ra)
	b, pb := add(t, l, unixPair, rb)
	depth := 0
	nested := func(other *Conn) func(*Conn, []byte) int {
		return func(c *Conn, bytes []byte) int {
			if depth++; depth > 3 {
				t.Fatal("Data within Data of the same connection")
			}
			other.Process()
			c.Process()
			depth--
			return len(bytes)
		}
	}
	rb.onData = func(_ *Conn, bytes []byte) int { return len(bytes) }
	pb.send("kept")
	settle(t, func() bool { return len(b.held) == 4 }, l)
	ra.onData, rb.onData = nested(b), nested(a)
	pa.send("more")
	for range 5 {
		step(l)
	}
	if string(a.held) != "more" || string(b.held) != "kept" {
		t.Errorf("kept %q and %q, want more and kept", a.held, b.held)
	}
	a.Close()
	b.Close()
}
