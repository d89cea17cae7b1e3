package vip

import (
	"context"
	"fmt"
	"strings"
)

// Interop is one case of a pgvip and a keepalived that are one virtual router.
type Interop struct {
	Name string
	// Run plays it on a network of its own. An error means that it could not be played.
	Run func(context.Context, Options) (*InteropResult, error)
}

// InteropResult is what came of it.
type InteropResult struct {
	Case    string
	More    []string // key=value
	Reasons []string // why it is not ok
}

// OK reports whether all was as it has to be.
func (r *InteropResult) OK() bool { return len(r.Reasons) == 0 }

// String is the result's line.
func (r *InteropResult) String() string {
	line := fmt.Sprintf("vip interop=%s ok=%t", r.Case, r.OK())
	for _, m := range r.More {
		line += " " + m
	}
	if !r.OK() {
		line += fmt.Sprintf(" why=%q", strings.Join(r.Reasons, "; "))
	}
	return line
}

// InteropCases are all that there are, in the order in which they run.
func InteropCases() []Interop { return nil }
