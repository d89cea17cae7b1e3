package track

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// start runs scripts until the test ends, and gives the changes. There is room for all
// that a test brings about.
func start(t *testing.T, scripts ...Script) (*Runner, <-chan Change) {
	t.Helper()
	changes := make(chan Change, 64)
	r, err := NewRunner(scripts, func(c Change) { changes <- c })
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{}) // closed when Run has returned
	go func() { r.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	return r, changes
}

// folder is one that everybody may read: scripts run as somebody else.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "track")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

func sh(name, text string) Script {
	return Script{Name: name, Command: []string{"/bin/sh", "-c", text}, Interval: 10 * time.Millisecond, Timeout: time.Minute}
}

func TestAScriptFollowsWhatItChecks(t *testing.T) {
	flag := filepath.Join(folder(t), "flag")
	s := sh("flag", "test ! -e "+flag)
	s.Weight, s.Fall, s.Rise = -30, 2, 2
	r, changes := start(t, s)
	if c := <-changes; c.State != Good || c.Verdict != (Verdict{}) || c.Why != "" {
		t.Errorf("first: got %+v", c)
	}
	if err := os.WriteFile(flag, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if c := <-changes; c.Script != "flag" || c.State != Bad || c.Verdict.Weight != -30 || c.Why != "exit status 1" {
		t.Errorf("bad: got %+v", c)
	}
	if got := r.Verdict(); got.Weight != -30 {
		t.Errorf("verdict: got %+v", got)
	}
	if err := os.Remove(flag); err != nil {
		t.Fatal(err)
	}
	if c := <-changes; c.State != Good || c.Verdict != (Verdict{}) {
		t.Errorf("good again: got %+v", c)
	}
}

func TestTooLongIsAFailureAndNothingIsLeft(t *testing.T) {
	file := filepath.Join(folder(t), "pids")
	s := sh("slow", "sleep 1000 & echo $$ $! > "+file+".new && mv "+file+".new "+file+"; wait")
	s.Timeout, s.Interval = 3*time.Second, time.Hour
	_, changes := start(t, s)
	c := <-changes
	if c.State != Bad || c.Why != "killed after 3s" || c.Verdict.Fault != "track_script slow" {
		t.Errorf("got %+v", c)
	}
	pids, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(pids))
	if len(fields) != 2 {
		t.Fatalf("pids: %q", pids)
	}
	for _, pid := range fields {
		awaitDeath(t, pid)
	}
}

// awaitDeath waits until a process is gone, or a zombie that nobody here can reap.
func awaitDeath(t *testing.T, pid string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %s lives: %s", pid, stat)
		}
	}
}

func TestAScriptHasNoRights(t *testing.T) {
	file := filepath.Join(folder(t), "status")
	s := sh("rights", "cat /proc/self/status > "+file)
	s.Interval = time.Hour
	_, changes := start(t, s)
	if c := <-changes; c.State != Good {
		t.Fatalf("got %+v", c)
	}
	status, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("not in its status: %q\n%s", want, status)
		}
	}
	if os.Geteuid() == 0 && !strings.Contains(string(status), fmt.Sprintf("Uid:\t%[1]d\t%[1]d", nobody)) {
		t.Errorf("it is root:\n%s", status)
	}
}

// The runtime gives no thread on that has lost something.
func TestThisProcessKeepsItsRights(t *testing.T) {
	s := sh("fast", "exit $(($$ % 2))")
	s.Interval = time.Millisecond
	_, changes := start(t, s, s, s)
	for range 20 {
		<-changes
	}
	own, err := os.ReadFile("/proc/self/status") // of the main thread
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(own), "NoNewPrivs:\t1") {
		t.Error("this process gave up its own rights")
	}
}

func TestWhatCannotRunHasFailed(t *testing.T) {
	s := Script{Name: "none", Command: []string{"/no/such/program"}, Interval: time.Hour, Timeout: time.Second}
	r, changes := start(t, s)
	if c := <-changes; c.State != Bad || !strings.Contains(c.Why, "no such file") {
		t.Errorf("got %+v", c)
	}
	if got := r.Verdict().Fault; got != "track_script none" {
		t.Errorf("fault %q", got)
	}
}

func TestRunEndsWithTheScriptsUnderWay(t *testing.T) {
	file := filepath.Join(folder(t), "pid")
	s := sh("long", "echo $$ > "+file+".new && mv "+file+".new "+file+"; sleep 1000")
	r, err := NewRunner([]Script{s}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{}) // closed when Run has returned
	go func() { r.Run(ctx); close(ended) }()
	var pid string
	for pid == "" {
		text, _ := os.ReadFile(file)
		pid = strings.TrimSpace(string(text))
		time.Sleep(time.Millisecond)
	}
	stop()
	<-ended
	awaitDeath(t, pid)
	if got := r.Verdict(); got != (Verdict{}) {
		t.Errorf("its end was taken for a result: %+v", got)
	}
}

func TestScriptsAreChecked(t *testing.T) {
	_, err := NewRunner([]Script{{Name: "a", Interval: 1, Timeout: 1}, {Name: "b", Command: []string{"x"}, Timeout: 1}}, nil)
	for _, want := range []string{"track_script a:", "track_script b:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}
