// Package track is keepalived's track_script: programs whose success or failure moves
// the priority of a virtual router, or takes it out of the election. A Judge and Sum
// are the rules, pure; a Runner runs the programs, without privileges.
package track

import (
	"fmt"
	"strings"
	"time"
)

// Script is one program that counts for the election. Names are keepalived's.
type Script struct {
	Name     string
	Command  []string // without a shell
	Env      []string // its environment; nil for this process's
	Interval time.Duration
	Timeout  time.Duration
	Rise     int // successes in a row that make it good; 0 means 1
	Fall     int // failures in a row that make it bad; 0 means 1
	// Weight is added to the priority: above 0 while the script is good, below 0
	// while it is bad. 0 takes the router out of the election while it is bad.
	Weight int
	// Reverse turns that round: a weight above 0 is taken off while the script is good,
	// one below 0 added while it is bad; 0 takes the router out while it is good.
	Reverse bool
	// InitFail has it bad until it is good by Rise.
	InitFail bool
}

// State is what is known of a script.
type State uint8

// States.
const (
	Unknown State = iota // it has not ended once
	Good
	Bad
)

func (s State) String() string {
	switch s {
	case Unknown:
		return "unknown"
	case Good:
		return "good"
	case Bad:
		return "bad"
	default:
		return fmt.Sprintf("State(%d)", uint8(s))
	}
}

// Judge decides by a script's results what state it is in.
type Judge struct {
	script Script
	state  State
	row    int // results in a row that speak against the state
}

// NewJudge begins without a result.
func NewJudge(s Script) Judge {
	s.Rise, s.Fall = max(s.Rise, 1), max(s.Fall, 1)
	j := Judge{script: s}
	if s.InitFail {
		j.state = Bad
	}
	return j
}

// Result takes the result of a run, and says whether the state has changed. The first
// one decides by itself: nothing is known that it could be an exception from.
func (j *Judge) Result(ok bool) (changed bool) {
	to, need := Bad, j.script.Fall
	if ok {
		to, need = Good, j.script.Rise
	}
	if j.state == to {
		j.row = 0
		return false
	}
	j.row++
	if j.state != Unknown && j.row < need {
		return false
	}
	j.state, j.row = to, 0
	return true
}

// State is what the results amount to.
func (j *Judge) State() State { return j.state }

// Effect is what the script does to the router: a weight to add to the priority, or
// fault. What is not known has none.
func (j *Judge) Effect() (weight int, fault bool) {
	w, sign, bad := j.script.Weight, 1, Bad
	if j.script.Reverse {
		sign, bad = -1, Good
	}
	switch {
	case w == 0:
		return 0, j.state == bad
	case w > 0 && j.state == Good, w < 0 && j.state == Bad:
		return sign * w, false
	}
	return 0, false
}

// Verdict is what all scripts together do to the router.
type Verdict struct {
	Weight int    // to be added to the configured priority
	Fault  string // names the scripts that take it out of the election; "" for none
}

// Sum adds up. Weights are summed before Effective bounds them, as keepalived does.
func Sum(judges []Judge) Verdict {
	var v Verdict
	var faults []string
	for i := range judges {
		weight, fault := judges[i].Effect()
		v.Weight += weight
		if fault {
			faults = append(faults, judges[i].script.Name)
		}
	}
	if len(faults) > 0 {
		v.Fault = "track_script " + strings.Join(faults, ", ")
	}
	return v
}

// Effective is the priority with a weight: 1 to 254, since 0 says that a router leaves
// and 255 that it owns the addresses. Such an owner's priority is never changed
// (RFC 9568, section 6.1).
func Effective(priority uint8, weight int) uint8 {
	if priority == 255 {
		return 255
	}
	return uint8(min(max(int(priority)+weight, 1), 254))
}
