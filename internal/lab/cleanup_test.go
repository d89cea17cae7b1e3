package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ownerVar makes the test binary an owner of a cluster that waits to be killed.
const ownerVar = "PGVIP_LAB_TEST_OWNER"

func TestMain(m *testing.M) {
	if os.Getenv(ownerVar) != "" {
		own()
	}
	os.Exit(m.Run())
}

// own starts a cluster, says where, and waits to be killed.
func own() {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c, err := Start(ctx, Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	fmt.Println("slot " + c.Dir())
	select {}
}

func TestNothingOutlivesAKilledOwner(t *testing.T) {
	t.Parallel()
	Require(t, CheckInstalled)
	owner := exec.CommandContext(t.Context(), os.Args[0])
	owner.Env = append(os.Environ(), ownerVar+"=1")
	owner.Stderr = t.Output()
	stdout, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	dir := readSlot(t, bufio.NewScanner(stdout))
	pids := workers(dir)
	if len(pids) < 4 { // etcd, Patroni, the postmaster and its own
		t.Errorf("the owner's slot has processes %v: too few", pids)
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	owner.Wait()

	deadline := time.After(stopTimeout)
	for tick := time.Tick(processPace); !clear(dir); {
		select {
		case <-tick:
		case <-deadline:
			t.Fatalf("left of slot %s: processes %v", dir, workers(dir))
		}
	}
}

func TestNothingIsLeftAfterStop(t *testing.T) {
	t.Parallel()
	Require(t, CheckInstalled)
	c, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	// What is stopped must be killed too.
	if err := c.Nodes[0].Freeze(); err != nil {
		t.Error(err)
	}
	postmaster := c.Nodes[0].Postgres.PID()
	if n := segmentsOf(t, postmaster); n != 1 {
		t.Errorf("the server has %d System V segments, want 1", n)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if n := segmentsOf(t, postmaster); n != 0 {
		t.Errorf("the stopped server left %d System V segments", n)
	}
	if !clear(c.Dir()) {
		t.Errorf("left of slot %s: processes %v", c.Dir(), workers(c.Dir()))
	}
}

func TestLabsRunSideBySide(t *testing.T) {
	t.Parallel()
	a := StartPostgresT(t, PostgresOptions{})
	b := StartPostgresT(t, PostgresOptions{})
	if a.Addr == b.Addr {
		t.Errorf("both servers listen on %s", a.Addr)
	}
}

func readSlot(t *testing.T, lines *bufio.Scanner) string {
	t.Helper()
	for lines.Scan() {
		if dir, ok := strings.CutPrefix(lines.Text(), "slot "); ok {
			return dir
		}
	}
	t.Fatal("the owner started no cluster")
	return ""
}

// clear reports whether nothing of a slot is left.
func clear(dir string) bool {
	_, err := os.Stat(dir)
	return errors.Is(err, fs.ErrNotExist) && len(workers(dir)) == 0
}

// workers are the processes that work in a slot's directory.
func workers(dir string) []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(d)); err == nil && worksIn(pid, dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// segmentsOf counts the System V shared memory segments that a process has
// made; see sysvipc(7).
func segmentsOf(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil {
		t.Fatal(err)
	}
	const creator = 4 // column cpid
	n := 0
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > creator && f[creator] == strconv.Itoa(pid) {
			n++
		}
	}
	return n
}
