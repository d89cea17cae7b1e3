package proxy

import (
	"testing"
)

// TestServerAtFirstQuery: 10,000 idle clients need no backend.
func TestServerAtFirstQuery(t *testing.T) {
	s := newSite(t, plan{})
	first := login(t, s.primary) // its login asks PostgreSQL for the welcome
	login(t, s.primary)
	if got := s.phases(); got[resting] != 2 {
		t.Errorf("phases = %v, want both resting", got)
	}
	if got := first.value("SELECT 1"); got != "1" {
		t.Errorf("SELECT 1 = %q", got)
	}
	if got := s.phases(); got[resting] != 1 || got[bound] != 1 {
		t.Errorf("phases = %v, want one bound", got)
	}
}
