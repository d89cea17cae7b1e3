package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestKeeperIsNotForHands: it says so, whatever its descriptor 3 is.
func TestKeeperIsNotForHands(t *testing.T) {
	pipe, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	defer other.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string][]*os.File{"nothing there": nil, "a pipe there": {pipe}} {
		cmd := exec.Command(self, "keeper")
		cmd.Env = append(os.Environ(), asPgvip+"=1")
		cmd.ExtraFiles = files
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != codeUsage || !strings.Contains(string(out), "is started by pgvip run") {
			t.Errorf("%s: %v, %s", name, err, out)
		}
	}
}
