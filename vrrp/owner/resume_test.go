package owner

import (
	"testing"
	"time"
)

// TestResumedOwnerHoldsAtOnce: an owner's keeper that is replaced has an address
// which nobody refreshes any more. What its node had promised before it owned is over.
func TestResumedOwnerHoldsAtOnce(t *testing.T) {
	const now = time.Hour
	m, err := New(Config{Node: "lb1", Boot: "b", Priority: 100, Peers: []string{"lb2"},
		Resume: true, Promised: now + 2*time.Second, PromisedTerm: 6}, now)
	if err != nil {
		t.Fatal(err)
	}
	read := Request{}
	for _, a := range m.Tick(now) {
		if r, ok := a.(Request); ok {
			read = r
		}
	}
	s := Snapshot{Revision: 20, Record: Record{Owner: "lb1", Boot: "b", Term: 7, Hold: 250 * time.Millisecond, Mod: 19}}
	held := false
	for _, a := range m.Answer(now+10*time.Millisecond, read.ID, Reply{Snapshot: s}) {
		h, ok := a.(Hold)
		held = held || ok && h.Term == 7
	}
	if !held {
		t.Errorf("the address is not held after the answer that it is ours: %+v", m.Status(now+10*time.Millisecond))
	}
}
