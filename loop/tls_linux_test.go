package loop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// versions are what clients of today speak.
var versions = []struct {
	name string
	id   uint16
}{{"1.2", tls.VersionTLS12}, {"1.3", tls.VersionTLS13}}

// crypto/tls must go on after a temporary error at any place in a record. This
// test holds the standard library to it.
func TestTLSByteByByte(t *testing.T) {
	for _, version := range versions {
		for _, kind := range kinds {
			t.Run(version.name+"/"+kind.name, func(t *testing.T) {
				l, r := newLoop(t), &recorder{}
				c, p := addShaken(t, l, kind.pair, version.id, r, "")
				p.raw.write = func(b []byte) (int, error) {
					for i := range b {
						p.peer.send(string(b[i : i+1]))
						settle(t, func() bool { return pending(c.FD()) == 0 }, l)
					}
					return len(b), nil
				}
				for range 3 {
					p.send("some request, in a record of its own")
				}
				settle(t, func() bool { return len(r.got) == 3*36 }, l)
				if want := bytes.Repeat([]byte("some request, in a record of its own"), 3); !bytes.Equal(r.got, want) {
					t.Errorf("got %q", r.got)
				}
				c.Write([]byte("reply"))
				p.expect("reply")
				quiet(t, l)
			})
		}
	}
}

// pending is how many bytes the kernel has for a socket.
func pending(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil {
		return -1
	}
	return n
}

// What the handshake has read ahead is not in the socket any more, so no event
// will tell of it.
func TestTLSReadAhead(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, p := addShaken(t, l, tcpPair, tls.VersionTLS13, r, "at once")
	if n := pending(c.FD()); n != 0 {
		t.Fatalf("%d bytes are in the socket still, so this shows nothing", n)
	}
	if step(l); string(r.got) != "at once" {
		t.Errorf("after one turn: %q, want what came with the handshake", r.got)
	}
	p.send(", and later")
	settle(t, func() bool { return string(r.got) == "at once, and later" }, l)
	quiet(t, l)
}

// Plain text that the login has read goes before what TLS still holds.
func TestTLSUnread(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	fd, server, _ := shaken(t, tcpPair, tls.VersionTLS13, "second")
	c := new(Conn)
	if err := l.AddTLS(c, fd, ClassClient, r, server, []byte("first, ")); err != nil {
		t.Fatal(err)
	}
	settle(t, func() bool { return len(r.got) >= 13 }, l)
	if string(r.got) != "first, second" {
		t.Errorf("got %q", r.got)
	}
}

// A handler that stops reading in the middle of what TLS has decrypted gets the
// rest when it goes on, though nothing new arrives.
func TestTLSBackPressure(t *testing.T) {
	const size = 3 * turnQuota
	l := newLoop(t)
	var got []byte
	r := &recorder{onData: func(c *Conn, b []byte) int {
		got = append(got, b...)
		c.Pause(PausePeer)
		return 0
	}}
	c, p := addTLS(t, l, r)
	want := pattern(size)
	go p.tls.Write(want)
	settle(t, func() bool {
		c.Resume(PausePeer)
		return len(got) == size
	}, l)
	if !bytes.Equal(got, want) {
		t.Error("the bytes are others than those sent")
	}
	c.Resume(PausePeer)
	quiet(t, l)
}

// pattern is n bytes that repeat at no power of two.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

// The quota ends a turn with plain text at hand; the next goes on without an event.
func TestTLSQuota(t *testing.T) {
	const size = turnQuota + 100
	want := pattern(size)
	l, r := newLoop(t), &recorder{}
	var p *tlsPeer
	sent := 0
	// Each piece is there before the loop looks for it. The last one is beyond the
	// quota, and is read together with the record before it.
	next := func() {
		n := min(readSize, size-sent)
		if size-sent-n < readSize {
			n = size - sent
		}
		p.send(string(want[sent : sent+n]))
		sent += n
	}
	r.onData = func(_ *Conn, b []byte) int {
		r.got = append(r.got, b...)
		if sent < size {
			next()
		}
		return 0
	}
	c, far := addShaken(t, l, unixPair, tls.VersionTLS13, r, "")
	p = far
	step(l) // the look that each connection gets at first
	next()
	next() // always one ahead, or the socket would be dry for a moment
	if c.handle(eventRead); len(r.got) != turnQuota || pending(c.FD()) != 0 {
		t.Fatalf("%d bytes at first, %d in the socket: want the quota, and none", len(r.got), pending(c.FD()))
	}
	settle(t, func() bool { return len(r.got) == size }, l)
	if !bytes.Equal(r.got, want) {
		t.Error("the bytes are others than those sent")
	}
	if len(c.held) > 0 || c.out != nil {
		t.Errorf("%d bytes held, %d of queue: want no buffer", len(c.held), cap(c.out))
	}
	quiet(t, l)
}

// A kept piece of a message is put before what TLS gives next, up to a full
// buffer.
func TestTLSKeepsBytes(t *testing.T) {
	l := newLoop(t)
	var all int
	r := &recorder{onData: func(c *Conn, b []byte) int {
		all = len(b)
		if len(b) > keepMax {
			t.Fatalf("%d bytes at once, at most %d", len(b), keepMax)
		}
		return len(b)
	}}
	c, p := addTLS(t, l, r)
	go p.tls.Write(pattern(keepMax + 1000))
	settle(t, func() bool { return c.paused == PauseFull }, l)
	if all != keepMax || !bytes.Equal(c.Peek(), pattern(keepMax)) {
		t.Errorf("%d bytes kept", all)
	}
	r.onData = nil
	c.Process()
	settle(t, func() bool { return len(r.got) == keepMax+1000 }, l)
	if !bytes.Equal(r.got, pattern(keepMax+1000)) {
		t.Error("the bytes are others than those sent")
	}
}

// Large writes become records that leave together, and what the kernel does not
// take waits in the queue, in order.
func TestTLSLargeWrites(t *testing.T) {
	for _, version := range versions {
		t.Run(version.name, func(t *testing.T) {
			l, r := newLoop(t), &recorder{}
			c, p := addShaken(t, l, tcpPair, version.id, r, "")
			narrow(t, 32<<10, c.FD(), p.fd)
			want := pattern(1 << 20)
			got := make(chan []byte, 1)
			go func() {
				b := make([]byte, len(want))
				n, _ := io.ReadFull(p.tls, b)
				got <- b[:n]
			}()
			for at := 0; at < len(want); {
				n := min(50_000, len(want)-at)
				if !c.Write(want[at : at+n]) {
					drained := r.drained
					settle(t, func() bool { return r.drained > drained }, l)
				}
				at += n
			}
			if !bytes.Equal(<-got, want) {
				t.Error("the bytes are others than those written")
			}
			if r.drained == 0 {
				t.Error("nothing was ever queued, so that was not tested")
			}
			if c.out != nil {
				t.Errorf("%d bytes of queue are left", cap(c.out))
			}
		})
	}
}

// close_notify is the end of what the peer sends, whether or not FIN comes with
// it; we may go on sending.
func TestTLSHalfClose(t *testing.T) {
	for _, version := range versions {
		t.Run(version.name, func(t *testing.T) {
			l, r := newLoop(t), &recorder{}
			c, p := addShaken(t, l, tcpPair, version.id, r, "")
			p.send("last words")
			if err := p.tls.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			settle(t, func() bool { return r.eofs > 0 }, l)
			if string(r.got) != "last words" || r.eofs != 1 || r.err != nil {
				t.Errorf("got %q, %d ends, %v", r.got, r.eofs, r.err)
			}
			c.Write([]byte("reply"))
			p.expect("reply")
			quiet(t, l)
			c.Finish()
			p.expectNotify()
		})
	}
}

// FIN alone is an end too, and so is one in the middle of a record.
func TestTLSEndWithoutNotify(t *testing.T) {
	for name, piece := range map[string]string{"between records": "", "inside a record": "\x17\x03\x03\x00\x20half"} {
		t.Run(name, func(t *testing.T) {
			l, r := newLoop(t), &recorder{}
			c, p := addTLS(t, l, r)
			p.send("x")
			p.peer.send(piece)
			p.finish()
			settle(t, func() bool { return r.eofs > 0 }, l)
			if string(r.got) != "x" || r.eofs != 1 || r.err != nil || c.Closed() {
				t.Errorf("got %q, %d ends, %v", r.got, r.eofs, r.err)
			}
		})
	}
}

// While reading is paused close_notify cannot be seen; it is once reading goes on.
func TestTLSEndWhilePaused(t *testing.T) {
	l := newLoop(t)
	r := &recorder{}
	r.onData = func(c *Conn, b []byte) int {
		r.got = append(r.got, b...)
		c.Pause(PausePeer)
		return 0
	}
	c, p := addTLS(t, l, r)
	p.send("x")
	p.tls.CloseWrite()
	settle(t, func() bool { return len(r.got) > 0 }, l)
	step(l)
	if r.eofs != 0 {
		t.Error("the end was told before it could be read")
	}
	c.Resume(PausePeer)
	settle(t, func() bool { return r.eofs == 1 }, l)
	quiet(t, l)
}

// Bytes that are to be handed over once more come before the end.
func TestTLSEndAfterProcessLater(t *testing.T) {
	l := newLoop(t)
	var heard []string
	r := &recorder{}
	r.onData = func(c *Conn, b []byte) int {
		heard = append(heard, string(b))
		if len(heard) == 1 {
			c.ProcessLater()
			return len(b)
		}
		return 0
	}
	r.onEOF = func(*Conn) { heard = append(heard, "end") }
	_, p := addTLS(t, l, r)
	p.send("x")
	p.tls.CloseWrite()
	settle(t, func() bool { return len(heard) == 3 }, l)
	if heard[0] != "x" || heard[1] != "x" || heard[2] != "end" {
		t.Errorf("heard %q", heard)
	}
}

// Close says close_notify where that takes no waiting, and never waits.
func TestTLSClose(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, p := addTLS(t, l, r)
	c.Write([]byte("bye"))
	c.Close()
	p.expect("bye")
	p.expectNotify()

	c, p = addTLS(t, l, r)
	fill(c)
	c.Close()
	if _, err := io.Copy(io.Discard, p.tls); err == nil && !p.raw.ended {
		t.Error("close_notify has come past a full queue")
	}
}

// Finish sends what is queued, then close_notify, then FIN.
func TestTLSFinish(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, p := addTLS(t, l, r)
	n := fill(c)
	c.Finish()
	p.send("unheard")
	got := make(chan int64, 1)
	go func() {
		n, err := io.Copy(io.Discard, p.tls)
		if err != nil {
			n = -1
		}
		got <- n
	}()
	var read int64
	settle(t, func() bool {
		select {
		case read = <-got:
			return true
		default:
			return false
		}
	}, l)
	if read != int64(n) || p.raw.ended {
		t.Errorf("the peer read %d bytes of %d, end of the stream seen %t", read, n, p.raw.ended)
	}
	p.hangUp()
	settle(t, c.Closed, l)
	if r.calls+r.eofs != 0 || r.err != nil {
		t.Errorf("the handler heard %d and %d, %v after Finish", r.calls, r.eofs, r.err)
	}
}

// A record that was tampered with ends the connection, and nothing of it is heard.
func TestTLSBrokenRecord(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, p := addTLS(t, l, r)
	p.send("good")
	p.raw.write = func(b []byte) (int, error) {
		b[len(b)-1] ^= 1
		return p.peer.Write(b)
	}
	p.send("bad")
	settle(t, c.Closed, l)
	if string(r.got) != "good" || r.err == nil || r.eofs != 0 {
		t.Errorf("got %q, %v", r.got, r.err)
	}
	_, err := p.tls.Read(make([]byte, 1))
	var alert *net.OpError
	if !errors.As(err, &alert) || alert.Op != "remote error" {
		t.Errorf("the peer reads %v, want an alert", err)
	}
}

// A connection that moves takes its ciphers, what they have decrypted and its queue
// along.
func TestTLSMove(t *testing.T) {
	from, to := newLoop(t), newLoop(t)
	r := &recorder{}
	r.onData = func(c *Conn, b []byte) int {
		r.got = append(r.got, b...)
		c.Pause(PausePeer)
		return 0
	}
	c, p := addTLS(t, from, r)
	const size = keepMax + 30_000
	want := pattern(size)
	p.send(string(want))
	settle(t, func() bool { return len(r.got) > 0 }, from)
	if len(r.got) == size {
		t.Fatal("all was read before the move, so that shows nothing")
	}
	n := fill(c)
	var moved error
	c.Move(to, func(err error) { moved = err; c.Resume(PausePeer) })
	r.onData = nil
	settle(t, func() bool { return len(r.got) == size }, to)
	if !bytes.Equal(r.got, want) || moved != nil {
		t.Errorf("the bytes are others than those sent, or %v", moved)
	}
	got := make([]byte, n)
	read := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(p.tls, got)
		read <- err
	}()
	settle(t, func() bool { return r.drained > 0 }, to)
	if err := <-read; err != nil {
		t.Error(err)
	}
	p.send("more")
	settle(t, func() bool { return len(r.got) == size+4 }, to)
}

// What the handshake has read ahead moves along.
func TestTLSMoveReadAhead(t *testing.T) {
	from, to := newLoop(t), newLoop(t)
	r := &recorder{}
	c, _ := addShaken(t, from, tcpPair, tls.VersionTLS13, r, "at once")
	c.Move(to, func(error) {})
	settle(t, func() bool { return string(r.got) == "at once" }, to)
}

func TestAddTLSNeedsSocket(t *testing.T) {
	l := newLoop(t)
	fd, _ := unixPair(t)
	defer unix.Close(fd)
	err := l.AddTLS(new(Conn), fd, ClassClient, &recorder{}, tls.Client(&fdConn{}, &tls.Config{}), nil)
	if !errors.Is(err, errTransport) {
		t.Errorf("AddTLS = %v", err)
	}
}

// A reply costs no allocation; a request costs those of 32 bytes that crypto/tls
// makes each time it asks its socket: for the record, and whether there is another.
func TestTLSAllocations(t *testing.T) {
	l, message := newLoop(t), make([]byte, 100)
	r := &recorder{onData: func(*Conn, []byte) int { return 0 }}
	c, p := addTLS(t, l, r)
	sink := make([]byte, 4096)
	writes := testing.AllocsPerRun(500, func() {
		c.Write(message)
		p.Read(sink)
	})
	if writes >= 1+raceAllocations {
		t.Errorf("a write allocates %v times", writes)
	}
	reads := testing.AllocsPerRun(500, func() {
		p.tls.Write(message)
		c.handle(eventRead)
	})
	if reads > 2+raceAllocations {
		t.Errorf("a read allocates %v times, want twice", reads)
	}
	if r.calls < 500 {
		t.Errorf("%d reads, so nothing was measured", r.calls)
	}
}

// Both sides may change their keys at any time (RFC 8446 section 4.6.3), and may
// ask the other side to do so as well.
func TestTLSKeyUpdate(t *testing.T) {
	const handshake, data = 22, 23
	l, r := newLoop(t), &recorder{}
	c, p := addTLS(t, l, r)
	w := newRecordWriter(t, p)
	want := ""
	for range 3 {
		w.write(handshake, "\x18\x00\x00\x01\x01") // KeyUpdate, update_requested
		w.update()
		w.write(data, "under the next key")
		want += "under the next key"
		settle(t, func() bool { return len(r.got) == len(want) }, l)
		c.Write([]byte("reply"))
		p.expect("reply")
	}
	if string(r.got) != want || r.err != nil {
		t.Errorf("got %q, %v", r.got, r.err)
	}
}
