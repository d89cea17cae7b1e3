package main

import (
	"slices"
	"testing"
)

// TestWhatRuns: everything, unless something is named.
func TestWhatRuns(t *testing.T) {
	for _, test := range []struct{ args, scenarios, interop []string }{
		{nil, []string{all}, []string{all}},
		{[]string{"-keep", "/tmp/logs"}, []string{all}, []string{all}},
		{[]string{"-scenario", "1,14/etcd-frozen"}, []string{"1", "14/etcd-frozen"}, nil},
		{[]string{"-interop", "all"}, nil, []string{all}},
	} {
		w, err := parse(test.args)
		if err != nil || !slices.Equal(w.scenarios, test.scenarios) || !slices.Equal(w.interop, test.interop) {
			t.Errorf("%q: scenarios %q, interop %q, %v, want %q and %q", test.args, w.scenarios, w.interop, err, test.scenarios, test.interop)
		}
	}
	if _, err := parse([]string{"-scenario", "99"}); err == nil {
		t.Error("scenario 99 is taken")
	}
}
