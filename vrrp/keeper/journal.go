package keeper

import (
	"fmt"
	"time"

	"github.com/pgvip/pgvip/vrrp/beat"
)

const (
	// maxEvents is how many events wait for a main process that reads none.
	maxEvents = 1000
	// perPacket is how many of them one packet carries.
	perPacket = 50
	// maxText bounds an event's text, so that a packet of them has room.
	maxText = 500
	// rarely is how often one thing is told that goes on happening.
	rarelyEvery = time.Minute
)

// journal is what the main process is to be told.
type journal struct {
	events  []beat.Event    // Age is not set
	at      []time.Duration // of each
	dropped int
	often   map[string]*often
}

// often is a thing that is told once a minute at most.
type often struct {
	told  time.Duration
	count int // since
}

// event notes something that an operator wants to know.
func (k *Keeper) event(kind string, warn bool, format string, args ...any) {
	k.note(beat.Event{Kind: kind, Warn: warn, Text: fmt.Sprintf(format, args...)})
}

func (k *Keeper) note(e beat.Event) {
	if len(e.Text) > maxText {
		e.Text = e.Text[:maxText]
	}
	j := &k.log
	if len(j.events) == maxEvents {
		j.events, j.at = j.events[1:], j.at[1:]
		j.dropped++
	}
	j.events, j.at = append(j.events, e), append(j.at, sinceBoot())
}

// announce begins to announce the address, and tells when.
func (k *Keeper) announce() {
	k.port.Announce()
	k.event("announce", false, "announces the address")
}

// rarely is event, for what may happen again and again: what is it by which it is
// known again.
func (k *Keeper) rarely(now time.Duration, what, kind, format string, args ...any) {
	j := &k.log
	o := j.often[what]
	switch {
	case o == nil && len(j.often) >= maxEvents:
		return // somebody makes up new ones
	case o == nil:
		if j.often == nil {
			j.often = map[string]*often{}
		}
		j.often[what] = &often{told: now}
	case now-o.told < rarelyEvery:
		o.count++
		return
	default:
		format += " (%d more in the last minute)"
		args = append(args, o.count)
		*o = often{told: now}
	}
	k.event(kind, true, format, args...)
}

// take gives the next events for a packet, as of now.
func (j *journal) next(now time.Duration) []beat.Event {
	n := min(len(j.events), perPacket)
	out := make([]beat.Event, n)
	for i := range out {
		out[i] = j.events[i]
		out[i].Age = now - j.at[i]
	}
	return out
}

// sent forgets the first n events.
func (j *journal) sent(n int) {
	j.events, j.at = j.events[n:], j.at[n:]
}

// lost gives how many events were dropped since it was asked last.
func (j *journal) lost() int {
	n := j.dropped
	j.dropped = 0
	return n
}

// report tells the main process what there is to tell: at once when something has
// changed, else each beat.Interval.
func (k *Keeper) report(now time.Duration, last bool) {
	var s beat.Status
	k.election.status(now, &s)
	k.count(&s.Counters)
	s.Holds = k.address.on
	if s.State != k.status.State {
		k.stateChanged(&s)
	}
	changed := s.State != k.status.State || s.Holds != k.status.Holds || s.Owner != k.status.Owner ||
		s.Ready != k.status.Ready || s.Left != k.status.Left
	k.status = s
	news := changed || len(k.log.events) > 0
	if !last && now-k.told < beat.Interval && (!news || k.blocked) {
		return
	}
	// Events that do not fit now go with the next packets, of which there are more
	// only at the end.
	for more := true; more; more = last && len(k.log.events) > 0 {
		events := k.log.next(now)
		k.told = now
		k.blocked = !k.line.send(beat.FromKeeper{Status: s, Events: events})
		if k.blocked {
			return
		}
		k.log.sent(len(events))
		if n := k.log.lost(); n > 0 {
			k.event("error", true, "%d older events were dropped while nobody read them", n)
		}
	}
}

// stateChanged tells a new state, in the words of the election where it has said
// something in this turn.
func (k *Keeper) stateChanged(s *beat.Status) {
	for i := len(k.log.events) - 1; i >= 0; i-- {
		if e := &k.log.events[i]; e.Kind == "state" && (e.State == "" || e.State == s.State) {
			e.State = s.State
			return
		}
	}
	k.note(beat.Event{Kind: "state", State: s.State, Text: wording(s)})
}

// wording says a state for which the election has no words.
func wording(s *beat.Status) string {
	switch {
	case s.Reason != "":
		return s.Reason
	case s.State == beat.Active:
		return "holds the address"
	case s.State == beat.Backup && s.Owner != "":
		return "stands by for " + s.Owner
	case s.State == beat.Backup:
		return "stands by"
	}
	return "takes no part in the election"
}

// count fills in the counters of this process's own parts.
func (k *Keeper) count(c *beat.Counters) {
	p := k.port.Counters()
	c.AdvertsSent, c.AdvertsReceived, c.AdvertsBad = k.sent, k.received, k.bad+p.AdvertsRefused
	c.GARPSent, c.Conflicts, c.Tickled, c.Readded = p.Announced, k.rivals, p.Tickled, k.address.readded
}
