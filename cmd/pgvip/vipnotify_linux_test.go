package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/pgvip/pgvip/config"
	"github.com/pgvip/pgvip/vrrp/beat"
)

// program writes a program and gives its path.
func program(t *testing.T, text string) config.Command {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return config.Command{path}
}

// startHooks runs hooks; stop them to have them run to their end.
func startHooks(t *testing.T, v config.VIP) (*hooks, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	if v.NotifyTimeout == 0 {
		v.NotifyTimeout = time.Minute
	}
	h := newHooks(zap.New(core), &config.Config{Scope: "demo", VIP: v})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return h, logs
}

func TestNotifyProgramsRunInOrder(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "out")
	// One that is slow must not be overtaken.
	slow := append(program(t, `sleep 0.2; echo "$@" >>`+out), "slow one")
	quick := program(t, `echo "$@" >>`+out)
	h, _ := startHooks(t, config.VIP{NotifyMaster: slow, NotifyBackup: append(slices.Clone(quick), "back"), Notify: quick, NotifyStop: append(quick, "over")})
	for _, s := range []beat.State{beat.Initialize, beat.Backup, beat.Active, beat.Active, beat.Fault} {
		h.state(s, 150)
	}
	h.stop()
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	want := "back\nINSTANCE demo BACKUP 150\nslow one\nINSTANCE demo MASTER 150\n" +
		"INSTANCE demo FAULT 150\nover\nINSTANCE demo STOP 150\n"
	if string(got) != want {
		t.Errorf("programs wrote\n%swant\n%s", got, want)
	}
}

func TestNotifyProgramHasItsTime(t *testing.T) {
	t.Parallel()
	pid := filepath.Join(t.TempDir(), "pid")
	h, logs := startHooks(t, config.VIP{
		NotifyMaster: program(t, "sleep 600 & echo $! >"+pid+"; wait"), NotifyTimeout: 500 * time.Millisecond,
	})
	h.state(beat.Active, 1)
	for len(logs.FilterMessage("virtual IP: notify program was killed, its time was over").All()) == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	if text, err := os.ReadFile(pid); err == nil { // its child is of the same group
		if state := status(t, strings.TrimSpace(string(text)))["State"]; state != "" && !strings.HasPrefix(state, "Z") {
			t.Errorf("the program's child lives: %s", state)
		}
	}
}

func TestNotifyProgramThatFailsIsNamed(t *testing.T) {
	t.Parallel()
	h, logs := startHooks(t, config.VIP{NotifyBackup: program(t, "echo no such switch; exit 3")})
	h.state(beat.Backup, 1)
	h.stop()
	got := logs.FilterMessage("virtual IP: notify program failed").All()
	if len(got) != 1 || got[0].ContextMap()["output"] != "no such switch" {
		t.Errorf("logged %+v, want the program's word", got)
	}
}

// status gives /proc/<pid>/status, empty when the process is gone.
func status(t *testing.T, pid string) map[string]string {
	t.Helper()
	fields := map[string]string{}
	data, _ := os.ReadFile("/proc/" + pid + "/status")
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(line, ":")
		fields[name] = strings.TrimSpace(value)
	}
	return fields
}

// As root too, and also after an execve of a program with the set-user-ID bit.
func TestProgramsHaveNoPrivileges(t *testing.T) {
	t.Setenv("PGVIP_PROBE_PASSWORD", "secret")
	argv := program(t, "grep -E '^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs)' /proc/self/status; env")
	out, err := unprivileged(t.Context(), argv).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	sets := 0
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		switch {
		case strings.HasPrefix(name, "Cap"):
			sets++
			if strings.Trim(value, "0") != "" {
				t.Errorf("%s is %s, want none", name, value)
			}
		case name == "NoNewPrivs" && value != "1":
			t.Errorf("%s is %s, want 1", name, value)
		}
	}
	if sets != 4 {
		t.Errorf("found %d sets in %q, want 4", sets, out)
	}
	if strings.Contains(string(out), "secret") {
		t.Error("the program has the environment's secrets")
	}
}
