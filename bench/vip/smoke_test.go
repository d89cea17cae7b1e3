package vip

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/internal/lab"
)

// program is pgvip's program: PGVIP_BINARY, or built from this tree.
func program(t *testing.T) string {
	t.Helper()
	if prebuilt := os.Getenv("PGVIP_BINARY"); prebuilt != "" {
		return prebuilt
	}
	path := filepath.Join(t.TempDir(), "pgvip")
	build := exec.Command("go", "build", "-o", path, "github.com/pgvip/pgvip/cmd/pgvip")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build pgvip: %v\n%s", err, out)
	}
	return path
}

// logger has the rig's steps in the test's log.
type logger struct{ t *testing.T }

func (l logger) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// TestScenarios plays two scenarios with real parts: a crash and a planned move.
// Milliseconds are make vip's to judge, on a machine where nothing else works; here it
// is that the address moves, that never two nodes answer, and that no write is lost.
func TestScenarios(t *testing.T) {
	requireNetwork(t)
	lab.Require(t, lab.CheckInstalled)
	rig, err := NewRig(t.Context(), Options{Binary: program(t), Log: logger{t}})
	if err != nil {
		t.Fatal(err)
	}
	defer rig.Close()
	for _, s := range Scenarios() {
		if s.Case != "kill-main" && s.Case != "sigterm" {
			continue
		}
		t.Run(s.Case, func(t *testing.T) {
			s.Limits = limits{takeover: moveTimeout, orphan: expiry, tickle: moveTimeout, breaks: 2}
			r, err := rig.Run(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(r)
			if !r.OK() {
				t.Error(r.Reasons)
			}
		})
	}
}
