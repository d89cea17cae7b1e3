package proc

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestParseMachine(t *testing.T) {
	got, err := parseMachine("cpu  500 20 300 9000 100 0 50 30 7 0")
	want := Machine{Busy: 8700 * time.Millisecond, Steal: 300 * time.Millisecond, Total: 100 * time.Second}
	if err != nil || got != want {
		t.Errorf("parseMachine = %+v, %v; want %+v", got, err, want)
	}
	if share := got.StealShare(); share != 0.003 {
		t.Errorf("StealShare = %v, want 0.003", share)
	}
	for _, bad := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6 7 8 9 10", "cpu a 2 3 4 5 6 7 8 9 10"} {
		if _, err := parseMachine(bad); err == nil {
			t.Errorf("parseMachine(%q) succeeded", bad)
		}
	}
}

func TestParsePSS(t *testing.T) {
	text := "00400000-7fff [rollup]\nRss:     4000 kB\nPss:     1234 kB\nPss_Dirty: 9 kB\n"
	if got, err := parsePSS(text); err != nil || got != 1234<<10 {
		t.Errorf("parsePSS = %d, %v; want %d", got, err, 1234<<10)
	}
	if _, err := parsePSS("Rss: 1 kB\n"); err == nil {
		t.Error("parsePSS without Pss succeeded")
	}
}

// run starts a shell for one test; it is ready once it has said so.
func run(t *testing.T, script string) *Process {
	t.Helper()
	l := NewLauncher()
	t.Cleanup(l.Close)
	dir := t.TempDir()
	p, err := l.Start(t.Context(), Spec{
		Name: "sh", Args: []string{"/bin/sh", "-c", script}, Dir: dir,
		Ready: func(context.Context) error {
			if text, _ := os.ReadFile(dir + "/sh.log"); !strings.Contains(string(text), "ready") {
				return errors.New("not yet")
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestCPUAndPSSOfABusyShell(t *testing.T) {
	p := run(t, "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo ready; exec sleep 60")
	cpu, err := p.CPU()
	if err != nil || cpu < 5*time.Millisecond || cpu > time.Minute {
		t.Errorf("CPU = %v, %v; want some milliseconds", cpu, err)
	}
	pss, err := p.PSS()
	if err != nil || pss < 50<<10 || pss > 1<<30 {
		t.Errorf("PSS = %d, %v; want some hundred KB", pss, err)
	}
}

func TestCountDataCallsOfADeed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("tracepoints need root")
	}
	fifo := filepath.Join(t.TempDir(), "go")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	// dash writes each echo on its own.
	p := run(t, "echo ready; read x < "+fifo+"; for i in 1 2 3 4 5 6 7; do echo $i; done; exec sleep 60")
	c, err := CountDataCalls(p)
	if err != nil {
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOENT) {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	defer c.Close()
	if err := os.WriteFile(fifo, []byte("\n"), 0); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for !strings.HasSuffix(p.Log(1), "7") && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond) // polls another process's output
	}
	if got, err := c.Count(); err != nil || got < 7 || got > 30 {
		t.Errorf("Count = %d, %v; want the seven writes and few more", got, err)
	}
}

func TestLauncherKillsWhatWasForgotten(t *testing.T) {
	l := NewLauncher()
	p, err := l.Start(t.Context(), Spec{
		Name: "sleep", Args: []string{"sleep", "60"}, Dir: t.TempDir(),
		Ready: func(context.Context) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		t.Error("the program outlived its launcher")
	}
}

func TestStartTellsWhatTheProgramSaid(t *testing.T) {
	l := NewLauncher()
	defer l.Close()
	_, err := l.Start(t.Context(), Spec{
		Name: "sh", Args: []string{"/bin/sh", "-c", "echo no such database >&2; exit 3"}, Dir: t.TempDir(),
		Ready: func(context.Context) error { return errors.New("connection refused") },
	})
	if err == nil || !strings.Contains(err.Error(), "no such database") {
		t.Errorf("error %v, want the program's own words", err)
	}
	if _, err := l.Start(t.Context(), Spec{Name: "x", Args: []string{"/does/not/exist"}, Dir: t.TempDir()}); !errors.Is(err, exec.ErrNotFound) && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing program: %v, want not exist", err)
	}
}
