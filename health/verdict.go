package health

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// outcome is what one probe came to.
type outcome int

const (
	answered   outcome = iota
	refused            // by the kernel, or by a server that is starting or stopping
	silent             // no word within the timeout
	broken             // the connection ended; a new login tells more
	checkError         // the server lives but does not let the probe see
	declined           // Patroni says no, or nothing: PostgreSQL may live all the same
)

// classify gives the outcome of a probe that ended with err.
func classify(err error) outcome {
	var pg *wire.Error
	switch {
	case err == nil:
		return answered
	case errors.As(err, &pg):
		switch pg.Code {
		case wire.CodeCannotConnectNow:
			return refused // starting up, shutting down, not yet consistent
		case wire.CodeAdminShutdown, "57P02", "57P05":
			return broken
		default:
			return checkError
		}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err):
		return silent
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH),
		errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTDOWN), errors.Is(err, syscall.ENOENT):
		return refused
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return broken
	default:
		// No descriptor left, no such host name, an answer we cannot read: our
		// trouble, not proof that the node is dead.
		return checkError
	}
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// limits are the counts of answers and silences that make a verdict.
type limits struct {
	rise, fall int
}

// verdict is the state machine of one node, fed with the outcomes of its probes
// in order. It takes no clock of its own.
type verdict struct {
	health  route.NodeHealth
	answers int // in a row
	silence int // in a row
}

// alive takes a check that tells no more than that the node serves. What SQL said
// before is no longer known to be so.
func (v *verdict) alive(lim limits, now time.Time) {
	h := &v.health
	h.InRecovery, h.Writable, h.SystemID, h.Timeline = false, false, "", 0
	h.AskedAt, h.LSN, h.ReceiveLSN, h.Receiver = time.Time{}, 0, 0, ""
	h.LagKnown, h.LagBytes, h.LagTime, h.ReplayedAt = false, 0, 0, time.Time{}
	v.passed(lim, now)
}

// answer takes what the node said. A leader rises with its first answer: every
// further one would be added to the outage.
func (v *verdict) answer(a answer, lim limits, now time.Time) {
	h := &v.health
	h.InRecovery, h.Writable = a.inRecovery, !a.inRecovery
	h.SystemID, h.Timeline, h.LSN = a.systemID, a.timeline, a.lsn
	h.ReceiveLSN, h.ReplayedAt, h.Receiver = a.receiveLSN, a.replayedAt, a.receiver
	h.AskedAt = a.asked
	v.passed(lim, now)
}

// passed counts a check that went well.
func (v *verdict) passed(lim limits, now time.Time) {
	h := &v.health
	h.Err, h.CheckError = "", false
	v.answers++
	v.silence = 0
	if h.State == route.Unprobed || v.answers >= lim.rise {
		v.become(route.Up, now)
	}
	v.rate(lim)
}

// fault takes a probe that got no answer.
func (v *verdict) fault(o outcome, err error, lim limits, now time.Time) {
	v.answers = 0
	v.health.Err, v.health.CheckError = err.Error(), o == checkError
	if v.health.State != route.Down && o != checkError {
		v.health.Failures++
	}
	defer v.rate(lim)
	switch o {
	case answered:
		panic("BUG: an answer is no fault")
	case refused:
		v.become(route.Down, now)
		v.health.Dead = true
		v.health.Silent = false
	case silent, broken:
		// A login that breaks off again and again serves nobody either.
		if v.silence++; v.silence >= lim.fall {
			v.become(route.Down, now)
			v.health.Dead = true
			v.health.Silent = o == silent
		}
	case declined:
		if v.silence++; v.silence >= lim.fall {
			v.become(route.Down, now)
			v.health.Dead = false
		}
	case checkError:
		// It lives, or the fault is ours. Rule 25: alarm, no change of state.
		v.silence = 0
	}
}

// become counts a change of state.
func (v *verdict) become(s route.State, now time.Time) {
	h := &v.health
	if h.State == s {
		return
	}
	switch {
	case s == route.Down:
		h.Downs++
	case h.State == route.Down:
		h.Downtime += now.Sub(h.Since)
		h.Dead, h.Silent = false, false
	}
	h.State, h.Since = s, now
}

// rate gives HAProxy's check_health: how many faults a node that is up may still
// have, or how many answers one that is down has given.
func (v *verdict) rate(lim limits) {
	h := &v.health
	h.Rise, h.Fall = lim.rise, lim.fall
	switch h.State {
	case route.Up:
		h.Rated = lim.rise + max(lim.fall-1-v.silence, 0)
	case route.Down:
		h.Rated = min(v.answers, lim.rise-1)
	case route.Unprobed:
		h.Rated = 0
	}
}
