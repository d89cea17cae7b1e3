package proxy

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/wire"
)

// TestCancelIsForwarded: a key of another node goes there, and the client is let go
// when it has been carried out.
func TestCancelIsForwarded(t *testing.T) {
	s := newSite(t, plan{proxy: func(set *Settings) { set.PeerID = 1 }})
	c := login(t, s.primary)
	type call struct {
		peer int
		id   uint32
		key  string
	}
	calls, carriedOut := make(chan call, 1), make(chan struct{})
	s.proxy.forwardTo = func(_ context.Context, peer int, id uint32, key []byte, from net.Addr) (bool, error) {
		if from.(*net.TCPAddr).IP.String() != "127.0.0.1" {
			t.Errorf("from %s", from)
		}
		calls <- call{peer, id, string(key)}
		<-carriedOut
		return true, nil
	}
	other := reach(t, s.primary)
	defer other.conn.Close()
	other.send((&wire.Startup{Code: wire.CancelRequestCode, ProcessID: 2<<numberBits | 7, SecretKey: []byte("abcd")}).Append(nil))
	if got := <-calls; got != (call{2, 2<<numberBits | 7, "abcd"}) {
		t.Errorf("forwarded %+v", got)
	}
	close(carriedOut)
	other.gone()
	if n := s.proxy.counters.CancelsForwarded.Load(); n != 1 {
		t.Errorf("%d counted", n)
	}
	cancelWith(t, s.primary, c.pid+1, c.key) // a key of this node
	if n := s.proxy.counters.CancelsWrong.Load(); n != 1 || len(calls) != 0 {
		t.Errorf("%d wrong, %d forwarded", n, len(calls))
	}
}

// TestForwardedGuesses: right keys of another node cost nothing, wrong ones end
// being listened to, so that nobody has others guess for him.
func TestForwardedGuesses(t *testing.T) {
	s := newSite(t, plan{})
	var calls atomic.Int64
	for _, test := range []struct {
		name  string
		right bool
		err   error
		most  int64 // calls of twice as many requests as may be guessed
	}{
		{"right", true, nil, 2 * guessBurst},
		{"wrong", false, nil, guessBurst + guessBurst/2},
		{"nobody", false, errors.New("no such node"), guessBurst / 2},
	} {
		s.proxy.forwardTo = func(context.Context, int, uint32, []byte, net.Addr) (bool, error) {
			calls.Add(1)
			return test.right, test.err
		}
		calls.Store(0)
		for range 2 * guessBurst {
			cancelWith(t, s.primary, 2<<numberBits|7, []byte("abcd"))
		}
		if n := calls.Load(); n > test.most || test.right && n != test.most {
			t.Errorf("%s: %d forwarded, at most %d", test.name, n, test.most)
		}
	}
}

// TestCancelFor: what another node sends is carried out as if it had come here.
func TestCancelFor(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{})
	c := login(t, s.primary)
	from := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
	s.proxy.forwardTo = func(context.Context, int, uint32, []byte, net.Addr) (bool, error) {
		t.Error("sent on")
		return false, nil
	}
	c.send(pgscript.Query("SELECT pg_sleep(600)"))
	pg.sleeping(t, 1)
	if s.proxy.CancelFor(c.pid, []byte("nope"), from) || s.proxy.CancelFor(5<<numberBits, c.key, from) {
		t.Error("a wrong key was right")
	}
	if !s.proxy.CancelFor(c.pid, c.key, from) {
		t.Error("a right key was wrong")
	}
	if r := c.answer(); r.state() != "57014" {
		t.Errorf("%+v", r)
	}
	for range 2 * guessBurst {
		s.proxy.CancelFor(c.pid, []byte("nope"), from)
	}
	if s.proxy.CancelFor(c.pid, c.key, from) {
		t.Error("who has guessed too often was listened to")
	}
	if !s.proxy.CancelFor(c.pid, c.key, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 1}) {
		t.Error("another client pays for it")
	}
}
