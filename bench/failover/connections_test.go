package failover

import (
	"testing"
	"time"
)

func TestConnectionsAreGone(t *testing.T) {
	const check, client, other, cancel = 1, 2, 3, 4
	for _, tt := range []struct {
		name  string
		list  []sample
		after time.Duration
		ok    bool
	}{
		{"at once", []sample{{at(990), []int{check, client}}, {at(1001), []int{check}}}, 0, true},
		{"later", []sample{{at(990), []int{client, other}}, {at(1001), []int{other}}, {at(1008), []int{other}}, {at(1030), nil}}, 30 * time.Millisecond, true},
		{"a cancel request lives on", []sample{{at(990), []int{client}}, {at(1001), []int{client, cancel}}, {at(1008), []int{cancel}}, {at(1200), nil}}, 8 * time.Millisecond, true},
		{"a check lives on", []sample{{at(990), []int{check}}, {at(1500), []int{check}}}, 0, true},
		{"never", []sample{{at(990), []int{client}}, {at(1500), []int{client}}}, 0, false},
		{"nobody looked before", []sample{{at(1001), nil}}, 0, false},
		{"nobody looked after", []sample{{at(990), []int{client}}}, 0, false},
	} {
		after, ok := goneAfter(tt.list, at(1000), []int{check})
		if ok != tt.ok || ok && after != tt.after {
			t.Errorf("%s: gone after %v, %t, want %v, %t", tt.name, after, ok, tt.after, tt.ok)
		}
	}
}
