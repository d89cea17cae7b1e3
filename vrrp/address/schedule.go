package address

import "time"

// offsets are when an announcement and its repeats are sent. The first may be lost or
// come too early: a host ignores a change within a second of the last one
// (locktime), and a switch port may just be learning. After the last offset they go
// on in steps of its distance to the one before.
var offsets = [...]time.Duration{
	0, 50 * time.Millisecond, 200 * time.Millisecond, time.Second, 2 * time.Second,
}

// Answers to a rival: the first comes at once, each further one waits twice as long.
// After rivalPeace without a claim they begin anew.
const (
	rivalFirst = 100 * time.Millisecond
	rivalMost  = 5 * time.Second
	rivalPeace = 15 * time.Second
)

// askEvery is how often an owner asks whether somebody else has its addresses: a host
// that was given one of them by mistake says nothing of itself, but its kernel answers.
const askEvery = 5 * time.Second

// schedule says when announcements are due. It is pure: now is a time since boot.
//
//	start             start+delay                    refresh
//	| || |   |   |      | || |   |   |   .   .   .   |   .   .   .   |
//	repeat times        repeat times
type schedule struct {
	delay   time.Duration
	repeat  int
	refresh time.Duration

	running bool
	began   time.Duration // of the current set
	sets    int           // sets still to come after this one
	sent    int           // of the current set
	next    time.Duration // when running; never if the sets are through

	ask time.Duration // when running

	// The answer to a rival that is due, and how long the one after it waits.
	answer  time.Duration
	waiting bool
	free    time.Duration // no answer before
	wait    time.Duration
	claimed time.Duration // the last claim
}

// never is later than every time.
const never = time.Duration(1<<63 - 1)

// start begins at now.
func (s *schedule) start(now time.Duration) {
	s.running, s.waiting = true, false
	s.began, s.sets, s.sent = now, 0, 0
	if s.delay > 0 {
		s.sets = 1
	}
	s.next, s.ask = now, now
	s.wait, s.free = rivalFirst, now
}

// stop forgets what was due.
func (s *schedule) stop() { s.running, s.waiting = false, false }

// rival notes a claim.
func (s *schedule) rival(now time.Duration) {
	if !s.running {
		return
	}
	if now-s.claimed > rivalPeace {
		s.wait = rivalFirst
	}
	s.claimed = now
	if !s.waiting {
		s.waiting, s.answer = true, max(now, s.free)
	}
}

// due reports that an announcement is to be sent now, and goes on to the next. What
// was missed by a late call is not made up for.
func (s *schedule) due(now time.Duration) bool {
	due := false
	if s.running && now >= s.next {
		due = true
		s.advance(now)
	}
	if s.waiting && now >= s.answer {
		due, s.waiting = true, false
		s.free = now + s.wait
		s.wait = min(2*s.wait, rivalMost)
	}
	return due
}

// asks reports that it is time to ask, and goes on to the next.
func (s *schedule) asks(now time.Duration) bool {
	if !s.running || now < s.ask {
		return false
	}
	s.ask = now + askEvery
	return true
}

// wake is when due and asks are to be called next.
func (s *schedule) wake() time.Duration {
	at := never
	if s.running {
		at = min(s.next, s.ask)
	}
	if s.waiting {
		at = min(at, s.answer)
	}
	return at
}

// advance sets next to the first time after now that the schedule has.
func (s *schedule) advance(now time.Duration) {
	for s.next <= now {
		s.sent++
		switch {
		case s.sent < s.repeat:
			s.next = s.began + offset(s.sent)
		case s.sets > 0:
			s.sets--
			s.began, s.sent = s.began+max(s.delay, offset(s.sent)), 0
			s.next = s.began
		case s.refresh > 0:
			s.next = now + s.refresh
		default:
			s.next = never
		}
	}
}

// offset is when announcement number i of a set is sent, after the set's beginning.
func offset(i int) time.Duration {
	if i < len(offsets) {
		return offsets[i]
	}
	last := len(offsets) - 1
	return offsets[last] + time.Duration(i-last)*(offsets[last]-offsets[last-1])
}
