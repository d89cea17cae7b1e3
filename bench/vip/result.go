package vip

import (
	"fmt"
	"strings"
	"time"
)

// Result is what became of the address in one scenario.
type Result struct {
	Scenario int
	Case     string

	// Takeover is the time from the fault to the first client that the other node
	// serves, 0 when the address did not move.
	Takeover time.Duration
	// Dual is how long two nodes answered for the address.
	Dual time.Duration
	// Orphan is how long the address was still on the node that lost it, 0 when it did not move.
	Orphan time.Duration

	More    []string // key=value
	Reasons []string // why it is not ok
}

// OK reports whether all was as it has to be.
func (r *Result) OK() bool { return len(r.Reasons) == 0 }

// fall notes a reason why it is not.
func (r *Result) fall(format string, args ...any) {
	r.Reasons = append(r.Reasons, fmt.Sprintf(format, args...))
}

// more adds a figure to the line; a duration is shown in milliseconds.
func (r *Result) more(key string, value any) {
	if d, ok := value.(time.Duration); ok {
		value = d.Milliseconds()
	}
	r.More = append(r.More, fmt.Sprintf("%s=%v", key, value))
}

// bound makes the result fall when a figure is over its limit.
func (r *Result) bound(what string, got, limit time.Duration) {
	if got > limit {
		r.fall("%s %d ms, at most %d", what, got.Milliseconds(), limit.Milliseconds())
	}
}

// String is the result's line.
func (r *Result) String() string {
	line := fmt.Sprintf("vip scenario=%d takeover_ms=%d dual_owner_ms=%d orphan_ms=%d ok=%t case=%s",
		r.Scenario, r.Takeover.Milliseconds(), r.Dual.Milliseconds(), r.Orphan.Milliseconds(), r.OK(), r.Case)
	for _, m := range r.More {
		line += " " + m
	}
	if !r.OK() {
		line += fmt.Sprintf(" why=%q", strings.Join(r.Reasons, "; "))
	}
	return line
}
