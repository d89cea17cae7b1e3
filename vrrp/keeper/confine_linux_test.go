package keeper

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/vrrp/beat"
)

// TestKeeperGivesUpPrivileges runs the real binary, without cgo as it is shipped:
// every thread is left with the capabilities for netlink and packets, and with
// these it does all its work.
func TestKeeperGivesUpPrivileges(t *testing.T) {
	l := newLAN(t, 1)
	binary := filepath.Join(t.TempDir(), "pgvip")
	build := exec.Command("go", "build", "-o", binary, "github.com/pgvip/pgvip/cmd/pgvip")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Setenv(keeperBinary, binary)
	s := l.watch()
	cfg := config(1, 1)
	cfg.VIP.StartupDelay = 0
	r := l.nodes[0].start(cfg)
	r.until("active", is(beat.Active))
	s.owner(1)
	l.in(l.nodes[0].ns, "ip", "addr", "del", vip.String(), "dev", "eth0")
	r.event("readded", "it is back")
	s.owner(1)

	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", r.keeper()))
	if err != nil || len(tasks) == 0 {
		t.Fatal("no threads", err)
	}
	for _, file := range tasks {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"CapInh:\t0000000000000000", "CapPrm:\t0000000000003000", "CapEff:\t0000000000003000",
			"CapBnd:\t0000000000003000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"} {
			if !strings.Contains(string(text), want+"\n") {
				t.Errorf("%s lacks %q:\n%s", file, want, text)
			}
		}
	}
	if story := r.story(); strings.Contains(story, "privileges") {
		t.Errorf("events: %s", story)
	}
}
