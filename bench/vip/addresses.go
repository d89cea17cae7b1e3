package vip

import (
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
)

// span is a time in which something was so. It goes on while to is zero.
type span struct{ from, to time.Time }

// until is the span's end, or now for one that goes on.
func (s span) until(now time.Time) time.Time {
	if s.to.IsZero() {
		return now
	}
	return s.to
}

// Watch notes when a host has an address. Its methods may be called by any goroutine.
type Watch struct {
	// Immutable.
	host *Host
	vip  netip.Addr
	done chan struct{}
	wg   sync.WaitGroup

	mu    sync.Mutex
	spans []span // guarded by mu
}

// NewWatch starts to watch. The caller calls Close.
func NewWatch(host *Host, vip netip.Addr) (*Watch, error) {
	w := &Watch{host: host, vip: vip, done: make(chan struct{})}
	updates := make(chan netlink.AddrUpdate, 64) // a burst, so that the times are those of the events
	err := netlink.AddrSubscribeWithOptions(updates, w.done, netlink.AddrSubscribeOptions{
		Namespace: &host.ns, ListExisting: true, ReceiveBufferSize: 1 << 20,
	})
	if err != nil {
		return nil, fmt.Errorf("watch addresses of %s: %w", host.Name, err)
	}
	w.wg.Go(func() {
		for u := range updates {
			w.note(time.Now(), u)
		}
	})
	return w, nil
}

func (w *Watch) note(now time.Time, u netlink.AddrUpdate) {
	addr, ok := netip.AddrFromSlice(u.LinkAddress.IP)
	if !ok || addr.Unmap() != w.vip {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	last := len(w.spans) - 1
	has := last >= 0 && w.spans[last].to.IsZero()
	switch { // a refresh of its life is an event too
	case u.NewAddr && !has:
		w.spans = append(w.spans, span{from: now})
	case !u.NewAddr && has:
		w.spans[last].to = now
	}
}

// Has reports whether the host has the address.
func (w *Watch) Has() bool {
	all := w.Spans()
	return len(all) > 0 && all[len(all)-1].to.IsZero()
}

// Spans are the times in which the host had the address.
func (w *Watch) Spans() []span {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]span(nil), w.spans...)
}

// Close ends the watching.
func (w *Watch) Close() {
	close(w.done)
	w.wg.Wait()
}

// overlap is how long any two of several hosts had the address at the same time,
// after a moment.
func overlap(hosts [][]span, from, now time.Time) (total time.Duration) {
	for i := range hosts {
		for j := i + 1; j < len(hosts); j++ {
			for _, a := range hosts[i] {
				for _, b := range hosts[j] {
					start, end := latest(a.from, b.from, from), earliest(a.until(now), b.until(now))
					total += max(0, end.Sub(start))
				}
			}
		}
	}
	return total
}

func latest(times ...time.Time) (t time.Time) {
	for _, x := range times {
		if x.After(t) {
			t = x
		}
	}
	return t
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// stayed is how long after a moment an address was still there, 0 when it was not there then.
func stayed(spans []span, from, now time.Time) (total time.Duration) {
	for _, s := range spans {
		if end := s.until(now); end.After(from) && !s.from.After(from) {
			total = max(total, end.Sub(from))
		}
	}
	return total
}

// added is when an address came for the first time after a moment.
func added(spans []span, from time.Time) (time.Time, bool) {
	for _, s := range spans {
		if s.from.After(from) {
			return s.from, true
		}
	}
	return time.Time{}, false
}
