package main

import (
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pgvip/pgvip/internal/freeport"
)

// asPgvip in the environment makes the test's binary be pgvip: signals and exit
// codes are a process's, and cannot be tried on the test itself.
const asPgvip = "PGVIP_TEST_AS_PGVIP"

func TestMain(m *testing.M) {
	// What it runs without privileges has none of its environment.
	if os.Getenv(asPgvip) != "" || len(os.Args) > 1 && os.Args[1] == plainCommand {
		main()
	}
	goleak.VerifyTestMain(m)
}

// childLimit bounds every wait for a child: it only ends tests that fail.
const childLimit = 15 * time.Second

// child is a pgvip in a process of its own.
type child struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	mu   sync.Mutex
	text []byte        // guarded by mu; all that it has printed
	more chan struct{} // guarded by mu; closed and replaced with each print
}

// startChild runs "pgvip run", through the shell when there is a command for it
// to run before.
func startChild(t *testing.T, config, before string) *child {
	t.Helper()
	return startChildWith(t, config, before)
}

// startChildWith gives the child further files, from descriptor 3 on.
func startChildWith(t *testing.T, config, before string, files ...*os.File) *child {
	t.Helper()
	c := &child{t: t, done: make(chan struct{}), more: make(chan struct{})}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c.cmd = exec.Command(self, "run", "-c", config)
	if before != "" {
		c.cmd = exec.Command("sh", "-c", before+` && exec "$0" run -c "$1"`, self, config)
	}
	c.cmd.Env = append(os.Environ(), asPgvip+"=1")
	c.cmd.Stdout, c.cmd.Stderr = c, c
	c.cmd.ExtraFiles = files
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = c.cmd.Wait() // ProcessState tells
		close(c.done)
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // it has ended in every test that passes
		<-c.done
		if t.Failed() {
			t.Logf("pgvip printed:\n%s", c.printed())
		}
	})
	return c
}

// Write takes what the child prints.
func (c *child) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text = append(c.text, p...)
	close(c.more)
	c.more = make(chan struct{})
	return len(p), nil
}

func (c *child) printed() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.text)
}

// says waits until the child has printed a text.
func (c *child) says(text string) {
	c.t.Helper()
	deadline := time.After(childLimit)
	for {
		c.mu.Lock()
		found, more := strings.Contains(string(c.text), text), c.more
		c.mu.Unlock()
		if found {
			return
		}
		select {
		case <-more:
		case <-c.done:
			c.t.Fatalf("pgvip ended without saying %q", text)
		case <-deadline:
			c.t.Fatalf("pgvip does not say %q", text)
		}
	}
}

// wants reports an error unless the child has printed a text.
func (c *child) wants(text string) {
	c.t.Helper()
	if !strings.Contains(c.printed(), text) {
		c.t.Errorf("pgvip did not say %q", text)
	}
}

func (c *child) signal(sig syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		c.t.Fatal(err)
	}
}

// ends waits for the child's end and wants an exit code, -1 for a signal's.
func (c *child) ends(code int) {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(childLimit):
		c.t.Fatal("pgvip does not end")
	}
	if got := c.cmd.ProcessState.ExitCode(); got != code {
		c.t.Errorf("pgvip ended with %s, want exit code %d", c.cmd.ProcessState, code)
	}
}

// freeAddress gives one that nobody listens on, until somebody does.
func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	return address
}
