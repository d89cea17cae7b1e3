package route

import (
	"fmt"
	"time"
)

// Times of failsafe_mode, in which Patroni lets the leader go on without etcd.
const (
	// askFor is how long a node whose key was deleted has to answer: with it, no
	// byte goes to a fenced node later than 100 ms after the event (rule 23).
	askFor = 80 * time.Millisecond
	// askEvery is the pace at which one that was kept is asked again.
	askEvery = time.Second
	// keptFor is how long a good answer counts; one lost answer must not cost the
	// cluster its primary.
	keptFor = 3 * time.Second
	// askReturning is the pace at which one is asked that is taking its lock back.
	askReturning = 100 * time.Millisecond
)

// doubt is a proven primary whose leader key was deleted while failsafe_mode is
// on: it may be legitimate, when it alone has lost etcd.
//
//	key deleted --> asked, nothing lent --200 and flag--> kept, asked each second
//	                  |                                     |
//	                  '-- anything else, or 80 ms           '-- refused, or 3 s without a good answer
//	                                       '--> fenced <----'
type doubt struct {
	since time.Time // when the key was seen deleted; zero: no doubt
	why   string    // the reason of a fence
	kept  time.Time // when the last good answer was asked for; zero before it
}

// pending reports that nobody knows yet.
func (d *doubt) pending() bool { return !d.since.IsZero() && d.kept.IsZero() }

// failsafeReason says why held, whose key is gone, must be fenced; empty while it
// is asked, and while its answers keep it.
func (b *builder) failsafeReason(held string) string {
	d, now := &b.next.memo.doubt, b.in.Now
	if d.since.IsZero() {
		*d = doubt{since: now, why: b.deletedReason(held)}
	}
	a := b.in.REST[held]
	heard := !a.AskedAt.IsZero() && !a.AskedAt.Before(d.since)
	switch {
	case !heard:
	case a.Primary && a.Failsafe:
		if a.AskedAt.After(d.kept) {
			d.kept = a.AskedAt
		}
	case a.Primary && !d.kept.IsZero():
		// It has etcd again, and its key is on the way to us.
	case a.returning() && !d.kept.IsZero():
		// It has etcd again, and is about to take the lock.
	case a.Code != 0 || a.Refused || d.kept.IsZero():
		return d.why + ", and its Patroni does not claim failsafe mode: " + a.said()
	}
	next, until := d.since, d.since.Add(askFor)
	if heard {
		next = a.AskedAt.Add(askEvery)
	}
	if heard && a.returning() {
		next = a.AskedAt.Add(askReturning)
	}
	if !d.kept.IsZero() {
		until = d.kept.Add(keptFor)
	}
	if !now.Before(until) {
		return fmt.Sprintf("%s, and its Patroni has not claimed failsafe mode for %v", d.why, now.Sub(latest(d.since, d.kept)).Round(time.Millisecond))
	}
	b.ask(Ask{Node: held, URL: b.next.memo.apiURL, Since: next, Until: until})
	return ""
}

// ask wants a question asked, and Build called when it is due and when it is late.
func (b *builder) ask(a Ask) {
	b.next.Asks = append(b.next.Asks, a)
	b.wakeAt(a.Until)
	if a.Since.After(b.in.Now) {
		b.wakeAt(a.Since)
	}
}

func latest(x, y time.Time) time.Time {
	if x.After(y) {
		return x
	}
	return y
}
