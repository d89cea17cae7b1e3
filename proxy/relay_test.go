package proxy

import (
	"net"
	"slices"
	"sync"
	"testing"
)

// relay stands between pgvip and a real PostgreSQL, where it can hold up what
// passes, and remembers how each connection has begun.
type relay struct {
	addr     string
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond // that what is held up has changed
	held    holdUp     // guarded by mu
	begun   [][]byte   // guarded by mu: what pgvip has sent first on each connection
}

// holdUp is what a relay does not let pass.
type holdUp uint8

const (
	holdNothing holdUp = iota
	holdAnswers        // all that PostgreSQL says
	holdNew            // what pgvip says on connections that it makes from now on
	holdEnds           // that PostgreSQL has closed one of those
)

// keptBytes are enough to tell the beginnings of connections from each other.
const keptBytes = 64

// newRelay makes a relay to an address.
func newRelay(t testing.TB, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{addr: l.Addr().String(), listener: l}
	r.changed = sync.NewCond(&r.mu)
	r.running.Go(func() { r.accept(to) })
	t.Cleanup(func() {
		l.Close()
		r.hold(holdNothing)
		r.running.Wait()
	})
	return r
}

func (r *relay) accept(to string) {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		far, err := net.Dial("tcp", to)
		if err != nil {
			near.Close()
			continue
		}
		r.mu.Lock()
		n, held := len(r.begun), r.held
		r.begun = append(r.begun, nil)
		r.mu.Unlock()
		r.running.Go(func() {
			r.pass(far, near, func(b []byte) { r.begin(n, b); r.wait(holdNew, held == holdNew) })
		})
		r.running.Go(func() {
			r.pass(near, far, func(b []byte) { r.wait(holdAnswers, true); r.wait(holdEnds, held == holdEnds && ends(b)) })
		})
	}
}

// pass passes on what comes from one end, and its end, when allow returns.
func (r *relay) pass(to, from net.Conn, allow func([]byte)) {
	defer to.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			allow(b[:n])
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			allow(nil)
			return
		}
	}
}

// ends reports that b says, or in TLS is about to say, that a connection ends:
// PostgreSQL sends no other record that is as short as a close_notify.
func ends(b []byte) bool {
	const applicationData, alert = 0x17, 0x15 // RFC 8446 section 5.1
	return len(b) == 0 || len(b) <= 31 && (b[0] == applicationData || b[0] == alert)
}

// begin keeps what a connection begins with.
func (r *relay) begin(n int, b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if room := keptBytes - len(r.begun[n]); room > 0 {
		r.begun[n] = append(r.begun[n], b[:min(len(b), room)]...)
	}
}

// wait waits while this is held up, for those whom that concerns.
func (r *relay) wait(what holdUp, concerned bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for concerned && r.held == what {
		r.changed.Wait()
	}
}

// hold holds up this, and lets pass what was held up before.
func (r *relay) hold(what holdUp) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = what
	r.changed.Broadcast()
}

// beginnings are what pgvip has said first on each of its connections.
func (r *relay) beginnings() [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.begun)
}
