package loop

import (
	"bytes"
	"crypto/rand"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// What was read before the socket was handed over comes before anything else
// that the socket has to say, its end included.
func TestUnreadBytesComeBeforeTheEnd(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			l, r := newLoop(t), &recorder{}
			var atEOF string
			r.onEOF = func(*Conn) { atEOF = string(r.got) }
			fd, p := kind.pair(t)
			p.finish()
			var c Conn
			if err := l.Add(&c, fd, ClassClient, r, []byte("query")); err != nil {
				t.Fatal(err)
			}
			settle(t, func() bool { return r.eofs > 0 }, l)
			if atEOF != "query" {
				t.Errorf("before EOF the handler got %q, want %q", atEOF, "query")
			}
			c.Close()
		})
	}
}

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
	settle(t, func() bool { return c.Held() == 4 }, l)
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

// A caller that goes on writing although the peer is slow gets its bytes sent in
// order, and what has gone makes room for what comes.
func TestQueueMakesRoom(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, p := add(t, l, unixPair, r)
	narrow(t, 4<<10, c.FD())
	source, want := random(3), random(3)
	most, chunk := 0, make([]byte, 1777)
	got, model := make([]byte, 1500), make([]byte, 1500)
	for range 2000 {
		for c.Queued() < 40<<10 {
			_, _ = io.ReadFull(source, chunk)
			c.Write(chunk)
		}
		most = max(most, cap(c.out))
		step(l)
		n, err := p.Read(got)
		_, _ = io.ReadFull(want, model[:n])
		if err != nil || !bytes.Equal(got[:n], model[:n]) {
			t.Fatalf("the peer read something else than was sent, or %v", err)
		}
	}
	if r.drained > 0 {
		t.Fatal("the queue was empty at times, so nothing was tested")
	}
	if most > keepMax {
		t.Errorf("a queue of 40 KB took up %d, want at most %d", most, keepMax)
	}
	c.Close()
}

// The bytes that Data gets stay what they are until it returns, even if it ends
// the connection and gives others something to queue.
func TestDataKeepsItsBytesWhateverItDoes(t *testing.T) {
	endings := []struct {
		name string
		end  func(*Conn)
	}{
		{"close", (*Conn).Close},
		{"finish", (*Conn).Finish},
	}
	for _, ending := range endings {
		t.Run(ending.name, func(t *testing.T) {
			l, r := newLoop(t), &recorder{}
			stuck, _ := add(t, l, unixPair, &recorder{})
			c, p := add(t, l, unixPair, r)
			const request = "SELECT 1, which is longer than nothing"
			hold := true
			var after string
			r.onData = func(c *Conn, b []byte) int {
				if hold {
					return len(b)
				}
				ending.end(c)
				stuck.Write(bytes.Repeat([]byte{'x'}, 400))
				after = string(b)
				return 0
			}
			p.send(request)
			settle(t, func() bool { return c.Held() == len(request) }, l)
			hold = false
			fill(stuck)
			stuck.release(&stuck.out)
			stuck.outAt = 0
			c.Process()
			if after != request {
				t.Errorf("after the %s the bytes read %q, want %q", ending.name, after, request)
			}
			stuck.Close()
			c.Close()
		})
	}
}

// Drained may do with its connection what it likes.
func TestDrainedMayEndOrMoveTheConnection(t *testing.T) {
	l, other := newLoop(t), newLoop(t)
	deeds := []struct {
		name string
		do   func(*Conn)
	}{
		{"close", (*Conn).Close},
		{"finish", (*Conn).Finish},
		{"move", func(c *Conn) { c.Move(other, func(error) {}) }},
		{"replace", func(c *Conn) {
			c.Close()
			fd, _ := unixPair(t)
			if err := l.Add(c, fd, ClassClient, &recorder{}, nil); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, deed := range deeds {
		t.Run(deed.name, func(t *testing.T) {
			r := &recorder{onDrained: deed.do}
			c, p := add(t, l, unixPair, r)
			n := fill(c)
			p.send("and something to read in the same event")
			if _, err := io.CopyN(io.Discard, p, int64(n-c.Queued())); err != nil {
				t.Fatal(err)
			}
			settle(t, func() bool { return r.drained == 1 }, l)
			settle(t, func() bool { return c.Loop() != nil }, l, other)
			quiet(t, l)
			c.Close()
		})
	}
}

// So may EOF, while there is room again for what is queued.
func TestEOFMayMoveTheConnection(t *testing.T) {
	l, other := newLoop(t), newLoop(t)
	r := &recorder{onEOF: func(c *Conn) { c.Move(other, func(error) {}) }}
	c, p := add(t, l, unixPair, r)
	n := fill(c)
	if _, err := io.CopyN(io.Discard, p, int64(n-c.Queued())); err != nil {
		t.Fatal(err)
	}
	p.finish()
	settle(t, func() bool { return r.eofs == 1 }, l)
	if r.drained > 0 || c.Loop() != nil {
		t.Fatal("the old loop went on with the connection")
	}
	settle(t, func() bool { return r.drained == 1 }, other)
	c.Close()
}

// A paused handler gets no more in the same turn, however much there is.
func TestPauseEndsReadingAtOnce(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, p := add(t, l, unixPair, r)
	r.onData = func(c *Conn, _ []byte) int {
		c.Pause(PausePeer)
		return 0
	}
	p.send(string(make([]byte, 2*readSize)))
	step(l)
	if r.calls != 1 {
		t.Errorf("Data was called %d times, want once", r.calls)
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

func TestMoveInsideDataPanics(t *testing.T) {
	l := newLoop(t)
	c, p := add(t, l, unixPair, &recorder{onData: func(c *Conn, _ []byte) int {
		defer func() {
			if recover() == nil {
				t.Error("the connection moved without the bytes that Data has")
			}
		}()
		c.Move(l, func(error) {})
		return 0
	}})
	p.send("x")
	step(l)
	c.Close()
}

// Who takes over from a handler gets what comes from then on.
func TestSetHandler(t *testing.T) {
	l, first, second, third := newLoop(t), &recorder{}, &recorder{}, &recorder{}
	c, p := add(t, l, unixPair, first)
	p.send("1")
	settle(t, func() bool { return len(first.got) > 0 }, l)
	c.SetHandler(second)
	p.send("2")
	settle(t, func() bool { return len(second.got) > 0 }, l)
	c.Finish()
	c.SetHandler(third) // too late
	p.send("3")
	p.finish()
	settle(t, c.Closed, l)
	if string(first.got) != "1" || string(second.got) != "2" || third.calls+third.eofs > 0 {
		t.Errorf("got %q, %q and %q, want 1, 2 and nothing", first.got, second.got, third.got)
	}
}

// A write that fails is reported once, not in the middle of the handler's work.
func TestFailedWriteIsReportedLater(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, p := add(t, l, unixPair, r)
	p.hangUp()
	if !c.Write([]byte("x")) || r.err != nil || c.Closed() {
		t.Fatal("the write was not taken in silence")
	}
	settle(t, func() bool { return r.err != nil }, l)
	if r.err != syscall.EPIPE {
		t.Errorf("Failed(%v), want EPIPE", r.err)
	}
	if !c.Closed() {
		t.Error("Failed came for an open connection")
	}
}

// The reason that the loop has set itself ends by itself.
func TestFullBufferIsReadOnWhenItHasRoom(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, p := add(t, l, unixPair, r)
	keep := true
	r.onData = func(_ *Conn, b []byte) int {
		if keep {
			return len(b)
		}
		r.got = append(r.got, b...)
		return 0
	}
	sent := make([]byte, keepMax+100)
	_, _ = rand.Read(sent)
	if _, err := p.Write(sent); err != nil {
		t.Fatal(err)
	}
	settle(t, func() bool { return c.Paused() }, l)
	if c.Held() != keepMax {
		t.Errorf("paused with %d bytes kept, want %d", c.Held(), keepMax)
	}
	calls := r.calls
	quiet(t, l)
	if r.calls != calls {
		t.Errorf("Data was called %d times while full, want none", r.calls-calls)
	}
	keep = false
	c.Process()
	settle(t, func() bool { return len(r.got) == len(sent) }, l)
	if !bytes.Equal(r.got, sent) {
		t.Error("the bytes came out changed")
	}
	c.Close()
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
	settle(t, func() bool { return b.Held() == 4 }, l)
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
