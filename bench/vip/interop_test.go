package vip

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestInteropCasesHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range InteropCases() {
		if seen[c.Name] || c.Name == "" || strings.ContainsAny(c.Name, " ,=") {
			t.Errorf("name %q", c.Name)
		}
		seen[c.Name] = true
	}
	for _, m := range meetings() {
		if m.pgvip["vip.priority"] == "" || m.keepalived.Priority == 0 || m.play == nil {
			t.Errorf("%s is not complete", m.name)
		}
	}
}

func TestCasesDoNotShareSettings(t *testing.T) {
	p := v3()
	a := p.meet("a", 1, 2, nil)
	b := a.with("vip.preempt", "true").saying("nopreempt")
	if a.pgvip["vip.preempt"] != "" || len(a.keepalived.Instance) != 0 || p.pgvip["vip.priority"] != "" {
		t.Errorf("%+v was changed by %+v", a, b)
	}
}

// quarrel is a duel whose contenders have said something.
func quarrel(t *testing.T, m meeting, pgvip, keepalived string) *duel {
	t.Helper()
	dir := t.TempDir()
	d := &duel{m: m, result: &InteropResult{Case: m.name}}
	d.pgvip = &contender{what: "pgvip", log: filepath.Join(dir, "pgvip")}
	d.ka = &contender{what: "keepalived", log: filepath.Join(dir, "keepalived")}
	for log, text := range map[string]string{d.pgvip.log: pgvip, d.ka.log: keepalived} {
		if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// The lines are keepalived 2.2.7's.
func TestComplaintsAreFound(t *testing.T) {
	const day = "Fri Nov 27 04:45:59 2026: "
	tests := []struct {
		name, pgvip, keepalived string
		expected                []string
		ok                      bool
	}{
		{"peace", "", day + "(pgvip) Entering MASTER STATE\n", nil, true},
		{"a better one is no complaint", "",
			day + "(pgvip) Master received advert from 10.99.0.22 with same priority 100 but higher IP address than ours\n", nil, true},
		{"checksum", "", day + "(pgvip) Invalid VRRPv3 checksum\n", nil, false},
		{"addresses", "", day + "(pgvip) received an unexpected ip number count 1, expected 2!\n", nil, false},
		{"addresses that the case has", "", day + "(pgvip) received an unexpected ip number count 1, expected 2!\n", []string{"ip number"}, true},
		{"one that it has not", "", day + "(pgvip) Invalid VRRPv3 checksum\n", []string{"ip number"}, false},
		{"pgvip's", `{"msg":"virtual IP","reason":"advert of 10.99.0.11: wrong checksum"}` + "\n", "", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := quarrel(t, meeting{name: "test", complaints: tt.expected}, tt.pgvip, tt.keepalived)
			d.listen()
			if d.result.OK() != tt.ok {
				t.Errorf("got %s", d.result)
			}
		})
	}
}

func TestInteropLine(t *testing.T) {
	r := &InteropResult{Case: "v3-test"}
	r.more("takeover_ms", 61*time.Millisecond)
	if got, want := r.String(), "vip interop=v3-test ok=true takeover_ms=61"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r.fall("both had it for %d ms", 5)
	if got, want := r.String(), `vip interop=v3-test ok=false takeover_ms=61 why="both had it for 5 ms"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
