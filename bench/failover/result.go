package failover

import (
	"fmt"
	"strings"
	"time"
)

// Result is what one front made of one scenario.
type Result struct {
	Scenario int
	Name     string
	Mode     string

	Outage time.Duration // longest time without an acknowledged write
	Floor  time.Duration // the same of clients that need no front

	Errors     int // of clients, but for those that PostgreSQL's own stop explains
	Lost       int // acknowledged writes that are not there
	Duplicated int // writes that are there twice, or that nobody asked for
	WrongNode  int // statements that reached a node which they must not reach

	More    []string // key=value
	Reasons []string // why it is not ok
}

// OK reports whether the front did what it has to.
func (r *Result) OK() bool { return len(r.Reasons) == 0 }

// fall notes a reason why the front fell short.
func (r *Result) fall(format string, args ...any) {
	r.Reasons = append(r.Reasons, fmt.Sprintf(format, args...))
}

// more adds a figure to the line.
func (r *Result) more(key string, value any) {
	r.More = append(r.More, fmt.Sprintf("%s=%v", key, value))
}

// String is the result's line.
func (r *Result) String() string {
	line := fmt.Sprintf("failover scenario=%d mode=%s outage_ms=%d floor_ms=%d client_errors=%d lost=%d duplicated=%d wrong_node=%d ok=%t name=%s",
		r.Scenario, r.Mode, r.Outage.Milliseconds(), r.Floor.Milliseconds(), r.Errors, r.Lost, r.Duplicated, r.WrongNode, r.OK(), r.Name)
	for _, m := range r.More {
		line += " " + m
	}
	if !r.OK() {
		line += fmt.Sprintf(" reason=%q", strings.Join(r.Reasons, "; "))
	}
	return line
}
