package pool

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/pgvip/pgvip/route"
)

// TestOwnTroubleIsNotTheNodes: a descriptor that is lacking says nothing of the
// node that was to be reached.
func TestOwnTroubleIsNotTheNodes(t *testing.T) {
	var seen []error
	set := NewSet(Options{Observe: func(o route.Observation) { seen = append(seen, o.Err) }})
	defer set.Close()
	for _, err := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ECONNREFUSED, nil} {
		o := route.Observation{Kind: route.SawBroken}
		if err != nil {
			o.Err = fmt.Errorf("dial: %w", err)
		}
		set.observe(o)
	}
	if len(seen) != 2 {
		t.Errorf("told of %v, want the refusal and the one without an error", seen)
	}
}
