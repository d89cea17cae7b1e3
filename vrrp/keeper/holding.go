package keeper

import (
	"time"

	"github.com/pgvip/pgvip/vrrp/address"
)

const (
	// refreshEvery is how often the kernel's count-down is set back.
	refreshEvery = 500 * time.Millisecond
	// retryEvery is the pause after an attempt that failed.
	retryEvery = 50 * time.Millisecond
)

// holding is the address on this node's interface.
type holding struct {
	port *address.Port
	now  func() time.Duration
	tell func(kind string, warn bool, format string, args ...any)

	on      bool          // it is to be there
	until   time.Duration // and no longer
	due     time.Duration // of the next refresh
	failing bool          // the last attempt failed, and that was told
	stuck   bool          // it is to be gone, and the attempt failed
	there   bool          // it is, by the last attempt
	readded uint64
}

// forever is the end of a holding that has none.
const forever = time.Duration(1<<63 - 1)

// hold has the address there until a time, which replaces an earlier one.
func (h *holding) hold(until time.Duration) {
	fresh := !h.on
	h.on, h.until, h.stuck = true, until, false
	if fresh {
		h.refresh()
	}
	h.allow(h.now())
}

// allow lets announcements go out for as long as this process may stop without
// having to look anew whether the address is still its own.
func (h *holding) allow(now time.Duration) {
	if h.on {
		h.port.Allow(min(h.until, now+gap))
	}
}

// refresh sets the kernel's count-down back if that is still allowed: time may
// have passed since whatever led here.
func (h *holding) refresh() bool {
	now := h.now()
	if !h.on || now >= h.until {
		return false
	}
	if err := h.port.Hold(); err != nil {
		h.due = now + retryEvery
		h.fail(err)
		return false
	}
	h.due, h.failing = now+refreshEvery, false
	if !h.there {
		h.there = true
		h.tell("added", false, "the address is on the interface")
	}
	return true
}

// removed puts the address back that somebody has taken away.
func (h *holding) removed() {
	if !h.on {
		return
	}
	h.readded++
	if h.refresh() {
		h.port.Announce()
		h.tell("readded", true, "somebody removed the address; it is back")
	}
}

// release takes the address away, and reports whether it is gone.
func (h *holding) release() bool {
	h.on, h.stuck = false, false
	if err := h.port.Release(); err != nil {
		h.stuck, h.due = true, h.now()+retryEvery
		h.fail(err)
		return false
	}
	h.failing = false
	if h.there {
		h.there = false
		h.tell("removed", false, "the address is off the interface")
	}
	return true
}

// fail tells once of what goes on failing.
func (h *holding) fail(err error) {
	if !h.failing {
		h.tell("error", true, "%v", err)
	}
	h.failing = true
}

// next is when keep has something to do.
func (h *holding) next() time.Duration {
	switch {
	case h.on:
		return min(h.due, h.until)
	case h.stuck:
		return h.due
	}
	return forever
}

// keep does what is due. That the address is removed at its end is the election's
// to say; this is for an election that has not.
func (h *holding) keep(now time.Duration) {
	switch {
	case h.stuck && now >= h.due:
		h.release()
	case !h.on:
	case now >= h.until:
		h.release()
	case now >= h.due:
		h.refresh()
	}
	h.allow(now)
}
