package pool

import (
	"bytes"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/wire"
)

// chore is what we are doing on a server between or within loans.
type chore uint8

const (
	noChore    chore = iota
	checking         // server_check_query
	setting          // the parameters of the client that is to have it
	cleaning         // server_reset_query
	resolving        // whether a ReadyForQuery is still to come
	unblocking       // a transaction block that statement mode does not allow
	restoring        // the client's parameters after its own RESET or DISCARD
	proving          // whether the node of a server that was warmed for it is the primary
)

// ask sends statements of our own, each as a Query, in one write. Their replies
// are swallowed; choreReady comes with each ReadyForQuery.
func (s *Server) ask(c chore, statements ...string) {
	s.chore = c
	var b []byte
	for _, sql := range statements {
		b = appendQuery(b, sql)
		s.replies.Sent('Q', wire.Swallow)
	}
	s.dropUnnamed()
	s.conn.Write(b)
	s.choreTimer.Stop()
	if limit := s.pool.set.settings.Load().ServerResetTimeout; limit > 0 {
		s.choreTimer = s.pool.loop.After(limit, s.choreHangs)
	}
}

// choreHangs gives up a server that does not answer a statement of our own. It is
// cancelled first: PostgreSQL does not notice that a connection has been closed
// while it runs something, and the backend would keep its place for nobody.
func (s *Server) choreHangs() {
	s.pool.log.Warn("no answer to our own statement within server_reset_timeout", zap.Uint32("pid", s.pid))
	s.pool.set.counters.ChoreTimeouts.Add(1)
	s.pool.set.sendCancel(s, nil)
	s.fail("no answer to our own statement within server_reset_timeout")
}

func appendQuery(b []byte, sql string) []byte {
	n := len(sql) + 5
	b = append(b, 'Q', byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	b = append(b, sql...)
	return append(b, 0)
}

// prepare makes the server fit for a waiter and then lends it: checked if it
// was idle for long, with the parameters of the client. It reports whether it
// has been lent already.
func (s *Server) prepare(w *Waiter) bool {
	w.server = s
	s.waiter, s.borrower = w, w.borrower
	s.state = settling
	s.mode = s.pool.rules.Mode
	set := s.pool.set.settings.Load()
	if set.ServerCheck && s.pool.loop.Now().Sub(s.lastUse) > set.ServerCheckDelay {
		s.ask(checking, set.ServerCheckQuery)
		return false
	}
	return s.applySettings()
}

func (s *Server) applySettings() bool {
	p := s.borrower.Profile()
	if s.fits(p) {
		s.lend()
		return true
	}
	q := s.adapt(p)
	switch {
	case q == "":
	case p.accepted():
		// It goes with the client's request, without a round trip of its own.
		s.chore = setting
		s.before = appendQuery(s.before[:0], q)
		s.dropUnnamed()
		s.replies.Sent('Q', wire.Swallow)
		s.used = true
	default:
		s.used = true
		s.ask(setting, q)
		return false
	}
	s.lend()
	return true
}

// lend hands the server to its borrower.
func (s *Server) lend() {
	s.state = lent
	s.prodded, s.flushed = false, false
	s.fresh, s.unsent = true, false
	s.ending, s.discarded, s.meter.first = false, time.Time{}, true
	s.loans++
	s.pool.tally.assigned(s.pool.loop.Now().Sub(s.waiter.since))
	s.forgetWaiter()
	if p := s.borrower.Profile(); !s.fits(p) {
		s.given, s.givenKnown = *p, true
		if s.chore == noChore {
			s.tellParameters()
		}
	}
	s.borrower.Lent(s)
}

// accepted goes on when the parameters that were sent in front of the client's
// request have been set.
func (s *Server) accepted() {
	s.chore = noChore
	p := s.borrower.Profile()
	p.setAccepted(true)
	s.tellParameters()
	s.cancelHeld()
	s.settle() // in case the request has not come yet
}

// resolved goes on when no doubt is left.
func (s *Server) resolved() {
	s.chore = noChore
	s.choreTimer.Stop()
	s.cancelHeld()
	s.settle()
}

// cancelHeld sends the cancel requests that had to wait for our own statement.
func (s *Server) cancelHeld() {
	next := s.cancelNext
	s.cancelNext = nil
	for _, done := range next {
		s.Cancel(done)
	}
}

// forgetWaiter ends the claim of the client that the server was prepared for.
func (s *Server) forgetWaiter() {
	if s.waiter != nil {
		s.pool.recycle(s.waiter)
		s.waiter = nil
	}
}

// abandon takes the server back from a client that left before it was lent.
func (s *Server) abandon() {
	s.forgetWaiter()
	s.borrower = nil
	s.givenKnown = false
	s.state = draining // the chore's ReadyForQuery leads on to the reset
}

// reset cleans a server whose session, or in transaction mode whose transaction,
// has ended. It is lent again only after the last statement's ReadyForQuery, and
// never while a cancel request that was meant for the old client may still reach it.
func (s *Server) reset() {
	if s.pool.params != nil {
		s.terminate("made for one client")
		s.pool.set.drop(s.pool)
		return
	}
	if s.parted {
		s.close("was told goodbye")
		s.pool.fill()
		return
	}
	if !s.used {
		s.finishReset()
		return
	}
	s.state, s.chore = resetting, noChore
	if s.cancelling {
		return // cancelled resumes
	}
	if s.suspect {
		s.terminate("a cancel request may yet arrive")
		s.pool.fill()
		return
	}
	var statements []string
	if s.replies.Status() != 'I' {
		statements = append(statements, "ROLLBACK")
	}
	if q := s.cleaning(); q != "" {
		statements = append(statements, q)
		s.given, s.givenKnown = Profile{}, strings.Contains(strings.ToUpper(q), "DISCARD ALL")
	} else if s.mode == SessionMode {
		s.givenKnown = false // its session may have set anything
	}
	if len(statements) == 0 && s.replies.InDoubt() {
		statements = append(statements, "") // its answer ends the doubt
	}
	if len(statements) == 0 {
		s.finishReset()
		return
	}
	s.ask(cleaning, statements...)
}

func (s *Server) finishReset() {
	s.chore = noChore
	if !s.replies.Free() {
		s.terminate("not clean after its session")
		s.pool.fill()
		return
	}
	s.used, s.dirty = false, 0
	s.pool.returned(s)
}

// choreReady goes on after one of our own statements.
func (s *Server) choreReady() {
	if s.state == lent && s.chore == setting {
		s.accepted()
		return
	}
	if s.state == lent && s.chore == resolving {
		s.resolved()
		return
	}
	if s.replies.Outstanding() > 0 {
		return // ROLLBACK was answered, the reset follows
	}
	s.choreTimer.Stop()
	if s.state == draining {
		s.reset()
		return
	}
	if s.state == lent && s.chore == noChore && s.prodded {
		s.settle()
		return
	}
	switch s.chore {
	case checking:
		s.chore = noChore
		s.applySettings()
	case setting:
		s.chore = noChore
		s.borrower.Profile().setAccepted(true)
		s.lend()
	case cleaning:
		s.finishReset()
	case restoring:
		s.restored()
	case unblocking:
		s.unblocked()
	case proving:
		s.proven()
	default:
		panic("BUG: an answer to no chore")
	}
}

// choreFailed handles the error of one of our own statements.
func (s *Server) choreFailed(message []byte) {
	e := wire.ParseError(message[wire.HeaderSize:])
	if e.Fatal() {
		return // the end of the connection follows
	}
	switch s.chore {
	case setting, restoring:
		// The client's own mistake, as at a login that names a bad value; the
		// server is none the worse for it.
		if s.borrower != nil {
			s.refuseSettings(e)
		}
	default:
		s.pool.log.Warn("statement of our own failed", zap.String("code", e.Code), zap.String("message", e.Message))
		s.fail("our own statement failed: " + e.Message)
	}
}

func (s *Server) refuseSettings(e *wire.Error) {
	b, was := s.borrower, s.state
	b.Profile().setAccepted(false)
	s.givenKnown = false
	s.Soil(StateUnknown)
	s.detach()
	e.Raw = nil
	e.Severity = wire.SeverityFatal
	s.borrower = nil
	s.forgetWaiter()
	s.holding = false
	s.state = draining // the ReadyForQuery leads on to the reset
	s.dropCancels()
	if was == lent {
		b.Reply(s, e.Append(nil))
		b.Lost(s, LossTold)
		return
	}
	b.Refused(e)
}

// noteComplete watches for the client's own RESET and DISCARD ALL, which take
// away the parameters that its startup packet asked for.
func (s *Server) noteComplete(message []byte) {
	if s.state != lent || len(message) > 32 {
		return
	}
	switch string(bytes.TrimSuffix(message[wire.HeaderSize:], []byte{0})) {
	case "SET":
		s.holding = s.holding || s.mayReset
	case "DISCARD ALL":
		s.cleansed()
		s.noteReset()
	case "RESET":
		s.noteReset()
	}
}

// noteReset notes that the client has lost the parameters of its startup packet,
// if there were any.
func (s *Server) noteReset() {
	s.holding = s.holding || s.borrower.Profile().Asks()
}

// restore gives the client back the parameters of its startup packet.
func (s *Server) restore() {
	if s.replies.Status() == 'E' {
		s.restored() // nothing can be set in a failed transaction
		return
	}
	s.ask(restoring, restoreQuery(s.borrower.Profile().wanted()))
}

func (s *Server) restored() {
	s.chore = noChore
	s.holding, s.mayReset = false, false
	s.tellParameters()
	s.passOn(wire.AppendReadyForQuery(nil, s.replies.Status()))
	s.settle()
}
