package loop

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// TestMain holds every test to leaving neither goroutine nor descriptor behind.
func TestMain(m *testing.M) {
	if os.Getenv(asStranger) != "" {
		stranger()
	}
	if r, w, err := os.Pipe(); err == nil { // the first one opens Go's own poller
		r.Close()
		w.Close()
	}
	before := descriptors()
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if after := descriptors(); after > before && code == 0 {
		fmt.Fprintf(os.Stderr, "%d descriptors are open, %d were before the tests\n", after, before)
		code = 1
	}
	os.Exit(code)
}

// descriptors is how many descriptors this process has open.
func descriptors() int {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(names)
}

// newLoop makes a loop that the test turns by hand, on its own goroutine: no
// other timing than the test's.
func newLoop(t testing.TB) *Loop {
	t.Helper()
	l, err := New()
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(l.Close)
	return l
}

// running makes a loop that runs until the test is over.
func running(t testing.TB) *Loop {
	t.Helper()
	l, err := New()
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	go l.Run()
	t.Cleanup(l.Close)
	return l
}

// on runs f on a running loop and waits for it.
func on(t testing.TB, l *Loop, f func()) {
	t.Helper()
	done := make(chan struct{})
	if err := l.Post(func() { f(); close(done) }); err != nil {
		t.Fatalf("Post: %v", err)
	}
	wait(t, done, "a posted function")
}

func wait(t testing.TB, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("waited %v for %s", patience, what)
	}
}

// step takes one turn that does not wait, and reports whether it had an event.
func step(l *Loop) bool {
	events := l.poll.now(l.events[:])
	_ = l.Post(func() {})
	l.turn()
	return events > 0
}

// settle takes turns until done. t may be a test or one try of a property.
func settle(t interface {
	Helper()
	Fatal(...any)
}, done func() bool, loops ...*Loop) {
	t.Helper()
	for start := time.Now(); !done(); {
		if time.Since(start) > patience {
			t.Fatal("what should happen did not happen")
		}
		for _, l := range loops {
			step(l)
		}
		runtime.Gosched()
	}
}

// quiet fails the test if the loop keeps being woken by something that it does
// nothing about: a processor burnt for as long as that lasts.
func quiet(t testing.TB, l *Loop) {
	t.Helper()
	busy := 0
	for range 100 {
		if step(l) {
			busy++
		}
	}
	if busy > 10 {
		t.Errorf("%d of 100 turns had an event, want next to none", busy)
	}
}

// peer is the other end of a loop's socket: a blocking one.
type peer struct {
	t  testing.TB
	fd int
}

// kinds are the sockets that a loop may be given.
var kinds = []struct {
	name string
	pair func(testing.TB) (int, peer)
}{
	{"tcp", tcpPair},
	{"unix", unixPair},
}

// unixPair makes a socket for a loop and its peer.
func unixPair(t testing.TB) (int, peer) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("socketpair: %v", err)
	}
	return endpoints(t, fds[0], fds[1])
}

// tcpPair is the same over 127.0.0.1.
func tcpPair(t testing.TB) (int, peer) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("loopback pair: %v", err)
		}
	}
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	defer unix.Close(listener)
	must(unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(unix.Listen(listener, 1))
	addr, err := unix.Getsockname(listener)
	must(err)
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	must(unix.Connect(client, addr))
	server, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
	must(err)
	for _, fd := range []int{client, server} {
		must(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	}
	return endpoints(t, server, client)
}

func endpoints(t testing.TB, ours, theirs int) (int, peer) {
	t.Helper()
	if err := unix.SetNonblock(ours, true); err != nil {
		t.Fatalf("nonblock: %v", err)
	}
	limit := unix.NsecToTimeval(int64(patience))
	for _, opt := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		if err := unix.SetsockoptTimeval(theirs, unix.SOL_SOCKET, opt, &limit); err != nil {
			t.Fatalf("timeout: %v", err)
		}
	}
	p := peer{t, theirs}
	t.Cleanup(func() { unix.Close(p.fd) })
	return ours, p
}

// Write implements io.Writer.
func (p peer) Write(b []byte) (int, error) {
	for sent := 0; ; {
		n, err := unix.Write(p.fd, b[sent:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return sent, err
		}
		if sent += n; sent == len(b) {
			return sent, nil
		}
	}
}

// Read implements io.Reader.
func (p peer) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(p.fd, b)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// fill reads until b is full, and allocates nothing.
func (p peer) fill(b []byte) {
	for at := 0; at < len(b); {
		n, err := p.Read(b[at:])
		if err != nil {
			p.t.Fatalf("peer reads: %v", err)
		}
		at += n
	}
}

func (p peer) send(s string) {
	p.t.Helper()
	if _, err := p.Write([]byte(s)); err != nil {
		p.t.Fatalf("peer sends: %v", err)
	}
}

// expect reads exactly want.
func (p peer) expect(want string) {
	p.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(p, got); err != nil || string(got) != want {
		p.t.Fatalf("peer read %q, %v, want %q", got[:n], err, want)
	}
}

// expectEnd reads to the end of the stream, which must come without an error.
func (p peer) expectEnd() {
	p.t.Helper()
	if b, err := io.ReadAll(p); err != nil || len(b) > 0 {
		p.t.Fatalf("peer read %d bytes, %v, want the end", len(b), err)
	}
}

// finish sends FIN and goes on reading.
func (p peer) finish() { _ = unix.Shutdown(p.fd, unix.SHUT_WR) }

// hangUp closes the peer's socket; the descriptor stays taken until the test is
// over, so that no other socket gets its number.
func (p peer) hangUp() {
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = errors.Join(unix.Dup3(null, p.fd, unix.O_CLOEXEC), unix.Close(null))
	}
	if err != nil {
		p.t.Fatalf("hang up: %v", err)
	}
}

// reset makes the peer's kernel send RST.
func (p peer) reset() {
	if err := unix.SetsockoptLinger(p.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		p.t.Fatalf("linger: %v", err)
	}
	p.hangUp()
}

// recorder is a Handler that notes what it hears and does what a test asks.
type recorder struct {
	onData    func(c *Conn, b []byte) int // nil notes the bytes and keeps none
	onDrained func(c *Conn)
	onEOF     func(c *Conn)

	got     []byte
	calls   int // of Data
	drained int
	eofs    int
	err     error
}

func (r *recorder) Data(c *Conn, b []byte) int {
	r.calls++
	if r.onData != nil {
		return r.onData(c, b)
	}
	r.got = append(r.got, b...)
	return 0
}

func (r *recorder) Drained(c *Conn) {
	r.drained++
	if r.onDrained != nil {
		r.onDrained(c)
	}
}

func (r *recorder) EOF(c *Conn) {
	r.eofs++
	if r.onEOF != nil {
		r.onEOF(c)
	}
}

func (r *recorder) Failed(_ *Conn, err error) { r.err = err }

// add gives the loop a new connection, unread bytes first.
func add(t testing.TB, l *Loop, pair func(testing.TB) (int, peer), h Handler, unread ...byte) (*Conn, peer) {
	t.Helper()
	fd, p := pair(t)
	c := new(Conn)
	if err := l.Add(c, fd, ClassClient, h, unread); err != nil {
		unix.Close(fd)
		t.Fatalf("Add: %v", err)
	}
	return c, p
}

// fill writes to c until the kernel takes no more, and returns how much it was
// in all, what is queued included.
func fill(c *Conn) int {
	chunk := make([]byte, 16<<10)
	for n := len(chunk); ; n += len(chunk) {
		if !c.Write(chunk) {
			return n
		}
	}
}
