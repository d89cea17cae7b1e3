package vip

import (
	"slices"
	"time"
)

func (s sightings) since(t time.Time) sightings {
	late := func(all []sighting) []sighting {
		i, _ := slices.BinarySearchFunc(all, t, func(x sighting, t time.Time) int { return x.at.Compare(t) })
		return slices.Clone(all[i:])
	}
	i, _ := slices.BinarySearchFunc(s.probes, t, time.Time.Compare)
	return sightings{slices.Clone(s.probes[i:]), late(s.answers), late(s.announced)}
}

// round is one probe, and who answered before the next one.
type round struct {
	at     time.Time
	length time.Duration // until the next probe
	macs   []string
}

// rounds gives each answer to the probe before it. Answers without a probe, those of
// an earlier one, are left out.
func (s sightings) rounds() []round {
	var all []round
	next := 0
	for i, at := range s.probes {
		end, r := at.Add(probePace), round{at: at}
		if i+1 < len(s.probes) {
			end = s.probes[i+1]
		}
		for next < len(s.answers) && s.answers[next].at.Before(end) {
			if a := s.answers[next]; !a.at.Before(at) && !slices.Contains(r.macs, a.mac) {
				r.macs = append(r.macs, a.mac)
			}
			next++
		}
		r.length = end.Sub(at)
		all = append(all, r)
	}
	return all
}

// dual is how long more than one MAC answered.
func (s sightings) dual() (total time.Duration) {
	for _, r := range s.rounds() {
		if len(r.macs) > 1 {
			total += r.length
		}
	}
	return total
}

// gap is the longest time in which probes had no answer, from the answer before to
// the next one; a silence that lasts to the end counts up to the last probe. Time without
// probes, when the machine stood still, is none.
func (s sightings) gap() (longest time.Duration) {
	if len(s.probes) == 0 {
		return 0
	}
	last, silent := s.probes[0], false // when the last answered probe was sent
	for _, r := range s.rounds() {
		switch {
		case len(r.macs) == 0:
			silent = true
		case silent:
			longest, silent, last = max(longest, r.at.Sub(last)), false, r.at
		default:
			last = r.at
		}
	}
	if silent {
		longest = max(longest, s.probes[len(s.probes)-1].Sub(last))
	}
	return longest
}

// stall is the longest time between two probes: how long the machine stood still for
// the observer.
func (s sightings) stall() (longest time.Duration) {
	for i := 1; i < len(s.probes); i++ {
		longest = max(longest, s.probes[i].Sub(s.probes[i-1]))
	}
	return longest
}

// first is when a MAC answered for the first time.
func (s sightings) first(mac string) (time.Time, bool) {
	for _, a := range s.answers {
		if a.mac == mac {
			return a.at, true
		}
	}
	return time.Time{}, false
}

// firstOther is when another MAC than this one answered for the first time.
func (s sightings) firstOther(mac string) (sighting, bool) {
	for _, a := range s.answers {
		if a.mac != mac {
			return a, true
		}
	}
	return sighting{}, false
}

// macs are all that answered, in the order of their first answers.
func (s sightings) macs() (all []string) {
	for _, a := range s.answers {
		if !slices.Contains(all, a.mac) {
			all = append(all, a.mac)
		}
	}
	return all
}

// only drops the answers of all other MACs.
func (s sightings) only(macs ...string) sightings {
	other := func(x sighting) bool { return !slices.Contains(macs, x.mac) }
	return sightings{s.probes, slices.DeleteFunc(slices.Clone(s.answers), other), slices.DeleteFunc(slices.Clone(s.announced), other)}
}
