package proxy

import "testing"

func TestTakesLooksAtTheBeginning(t *testing.T) {
	for text, want := range map[string]taking{
		"RESET ALL\x00":                    takesByReset,
		"reset timezone\x00":               takesByReset,
		" \n\tDiscard all\x00":             takesByReset,
		"SET timezone TO DEFAULT\x00":      takesBySet,
		"set datestyle = default\x00":      takesBySet,
		"SET TIME ZONE DEFAULT\x00":        takesBySet,
		"SET timezone = 'UTC'\x00":         takesNothing,
		"SELECT 'reset'\x00":               takesNothing,
		"SELECT abalance FROM pgbench\x00": takesNothing,
		"":                                 takesNothing,
		"\x00":                             takesNothing,
		"re":                               takesNothing,
		"rese":                             takesNothing,
		"{et default":                      takesNothing,
	} {
		if got := takes([]byte(text)); got != want {
			t.Errorf("takes(%q) = %v, want %v", text, got, want)
		}
	}
}
