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

// gap is the longest time in which nobody answered, from an answer to the next one.
// A silence that lasts to the end counts up to the last probe.
func (s sightings) gap() (longest time.Duration) {
	if len(s.probes) == 0 {
		return 0
	}
	last := s.probes[0]
	for _, a := range s.answers {
		longest, last = max(longest, a.at.Sub(last)), a.at
	}
	return max(longest, s.probes[len(s.probes)-1].Sub(last))
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
