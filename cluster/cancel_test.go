package cluster

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// TestForwardCancel: the node whose peer_id is meant carries the request out, as it
// came, before the asker is told.
func TestForwardCancel(t *testing.T) {
	t.Parallel()
	l := newLAN(t, "lb1", "lb2", "lb3")
	secret := bytes.Repeat([]byte{7}, 32)
	from := netip.MustParseAddr("192.0.2.7")
	got := make(chan CancelRequest, 1)
	done := make(chan struct{})
	a := l.run("lb1")
	b := l.run("lb2", func(o *Options) {
		o.Cancel = func(r CancelRequest) bool {
			got <- r
			<-done
			return bytes.Equal(r.Secret, secret)
		}
	})
	c := l.run("lb3", func(o *Options) { o.Cancel = func(CancelRequest) bool { t.Error("lb3 was asked"); return false } })
	together(t, a, b, c)
	ask := func(secret []byte) chan bool {
		answer := make(chan bool, 1)
		go func() {
			right, err := a.ForwardCancel(context.Background(), 2, CancelRequest{ProcessID: 2<<23 | 5, Secret: secret, From: from})
			if err != nil {
				t.Error(err)
			}
			answer <- right
		}()
		return answer
	}
	answer := ask(secret)
	if r := <-got; r.ProcessID != 2<<23|5 || r.From != from || !bytes.Equal(r.Secret, secret) {
		t.Errorf("got %+v", r)
	}
	select {
	case <-answer:
		t.Error("answered before it was carried out")
	default:
	}
	close(done)
	if !<-answer {
		t.Error("a right key was wrong")
	}
	if <-ask([]byte("abcd")) {
		t.Error("a wrong key was right")
	}
	if n := a.View().Counters.CancelsForwarded; n != 2 {
		t.Errorf("%d forwarded", n)
	}
	eventually(t, "both are counted", func() bool { return b.View().Counters.CancelsServed == 2 })
}

// TestForwardCancelToNobody: no node, this node, two nodes, a node that has gone.
func TestForwardCancelToNobody(t *testing.T) {
	t.Parallel()
	l := newLAN(t, "lb1", "lb2", "lb3")
	a, b := l.run("lb1"), l.run("lb2")
	c := l.run("lb3", func(o *Options) { o.PeerID = 2 })
	together(t, a, b, c)
	for _, id := range []int{0, 1, 2, 9} {
		if _, err := a.ForwardCancel(context.Background(), id, CancelRequest{}); !errors.Is(err, ErrNoPeer) {
			t.Errorf("peer_id %d: %v", id, err)
		}
	}
	b.kill()
	c.kill()
	eventually(t, "they are gone", func() bool { return a.sees("lb2", Unreachable) && a.sees("lb3", Unreachable) })
	if _, err := a.ForwardCancel(context.Background(), 2, CancelRequest{}); !errors.Is(err, ErrNoPeer) {
		t.Errorf("gone: %v", err)
	}
}

// TestForwardCancelIsBounded: a flood is refused here, and the peer never has more
// to do than it takes.
func TestForwardCancelIsBounded(t *testing.T) {
	t.Parallel()
	l := newLAN(t, "lb1", "lb2")
	var mu sync.Mutex
	most, now := 0, 0
	done := make(chan struct{})
	a := l.run("lb1")
	b := l.run("lb2", func(o *Options) {
		o.Cancel = func(CancelRequest) bool {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			<-done
			mu.Lock()
			now--
			mu.Unlock()
			return true
		}
	})
	together(t, a, b)
	ctx, stop := context.WithTimeout(context.Background(), limit)
	defer stop()
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() { a.ForwardCancel(ctx, 2, CancelRequest{}) })
	}
	eventually(t, "the peer is busy", func() bool { return b.View().Counters.CancelsServed == maxCancels })
	eventually(t, "the rest is refused", func() bool { return a.View().Counters.CancelsRefused == 200-maxCancels })
	close(done)
	wg.Wait()
	if most != maxCancels {
		t.Errorf("%d at one time, want %d", most, maxCancels)
	}
}

// TestServedCancelsAreBounded: a peer that keeps no bound finds one here.
func TestServedCancelsAreBounded(t *testing.T) {
	t.Parallel()
	l := newLAN(t, "lb1", "lb2")
	done := make(chan struct{})
	a, b := l.run("lb1"), l.run("lb2", func(o *Options) {
		o.Cancel = func(CancelRequest) bool { <-done; return false }
	})
	defer close(done)
	together(t, a, b)
	for id := range uint64(3 * maxCancels) {
		b.receive(cancelCall{id: id}.append(header{kind: kindCancel, from: "lb1", boot: a.options.Boot}.append(nil)))
	}
	if n := b.View().Counters; n.CancelsServed != maxCancels || n.CancelsRefused != 2*maxCancels {
		t.Errorf("%d served, %d refused", n.CancelsServed, n.CancelsRefused)
	}
}

// TestCancelPace: in the long run so many a second, whoever asks.
func TestCancelPace(t *testing.T) {
	c := &Cluster{members: map[string]*member{"b": {name: "b", alive: true, news: report{PeerID: 2}}}}
	sent := 0
	for now := time.Duration(0); now <= 10*time.Second; now += time.Millisecond {
		if _, err := c.admitCancelLocked(2, now); err == nil {
			sent++
		}
	}
	if want := cancelBurst + int(10*time.Second/cancelPace); sent < want-2 || sent > want+2 {
		t.Errorf("%d in ten seconds, want %d", sent, want)
	}
}

// TestCancelTimeout: a peer that says nothing keeps nobody for ever.
func TestCancelTimeout(t *testing.T) {
	t.Parallel()
	l := newLAN(t, "lb1", "lb2")
	a, b := l.run("lb1"), l.run("lb2") // lb2 serves none
	together(t, a, b)
	ctx, stop := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer stop()
	if _, err := a.ForwardCancel(ctx, 2, CancelRequest{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	a.Cluster.mu.Lock()
	defer a.Cluster.mu.Unlock()
	if len(a.cancels.waiting) != 0 || a.members["lb2"].calling != 0 {
		t.Error("it is still waited for")
	}
}
