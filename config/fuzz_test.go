package config

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// FuzzParse holds Parse to: no panic whatever the bytes, faults with a place and
// on one line each, and a configuration that the same bytes give again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte(everyKey))
	for _, file := range []string{referenceFile, "../configs/pgvip.session.yaml"} {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, text := range []string{"a: &b c", "a: *b", "<<: {a: b}", "? a\n: b", "- - -", "{[a]: b}", "a: |\n  b", "%YAML 1.2\n---\na", "a: !!map {}", "\x00", "a:\r\n\tb"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse(t, string(data))
		again, errAgain := parse(t, string(data))
		if err == nil {
			sameConfig(t, c, again, errAgain)
			return
		}
		var faults Faults
		if !errors.As(err, &faults) || len(faults) == 0 {
			t.Fatalf("error is %v, want faults", err)
		}
		for _, fault := range faults {
			if fault.Line < 1 || fault.Column < 1 || strings.ContainsAny(fault.Error(), "\r\n") {
				t.Errorf("fault %q: place %d:%d, want one line with a place", fault, fault.Line, fault.Column)
			}
		}
	})
}

func sameConfig(t *testing.T, c, again *Config, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("accepted at first, then refused: %v", err)
	}
	if c.Scope == "" || len(c.Etcd.Hosts) == 0 || len(c.Listen.Primary) == 0 || c.Probe.User == "" {
		t.Errorf("accepted a configuration that lacks what is required: %+v", c)
	}
	if c.Scope != again.Scope || len(c.Databases) != len(again.Databases) {
		t.Errorf("read as %+v, then as %+v", c, again)
	}
}
