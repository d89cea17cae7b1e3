package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgvip/pgvip/internal/lab"
)

// stopLimit is how long a process may take to end after SIGTERM. The shared
// settings drain for at most one second.
const stopLimit = 10 * time.Second

// readyLimit is how long a fresh pgvip may take to serve both ports.
const readyLimit = 10 * time.Second

// logTail is how much of a log stands with a failed test.
const logTail = 8 << 10

// settings are lines of the configuration that differ from the usual ones: a
// key at the top, or one below a section as "listen.primary". An empty value
// leaves the key out.
type settings map[string]string

// process is one running pgvip.
type process struct {
	cluster  *lab.Cluster
	primary  string // address of the port for writes
	replicas string // address of the port for reads
	file     string // its configuration
	cmd      *exec.Cmd
	log      *buffer // both of its outputs
	done     chan struct{}
	open     int // descriptors at first, with a server connection or two; of a shared one

	err error // of Wait; valid when done is closed
}

// buffer collects the output of a process. It is safe for concurrent use.
type buffer struct {
	mu   sync.Mutex
	data bytes.Buffer
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.Write(p)
}

// tail is the last n bytes of what was written.
func (b *buffer) tail(n int) string {
	all := b.String()
	return all[max(0, len(all)-n):]
}

// String is all that was written.
func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.String()
}

// configFor writes configuration and user list of a pgvip that listens on the
// cluster's n-th spare address, and returns the path of the former.
func configFor(c *lab.Cluster, n int, change settings) (string, error) {
	dir, err := os.MkdirTemp(c.Dir(), "pgvip")
	if err != nil {
		return "", err
	}
	users, err := userList(c)
	if err != nil {
		return "", err
	}
	s := settings{
		"scope":                c.Scope,
		"namespace":            c.Namespace,
		"auth_file":            "userlist.txt",
		"etcd.hosts":           "[" + strings.Join(c.EtcdEndpoints(), ", ") + "]",
		"probe.user":           lab.ProbeUser,
		"probe.password":       lab.ProbePassword,
		"listen.primary":       c.Host(n) + ":5000",
		"listen.replicas":      c.Host(n) + ":5001",
		"listen.admin":         c.Host(n) + ":7000",
		"drain_timeout":        "1s",
		"server_idle_timeout":  "2s",
		"server_login_retry":   "200ms",
		"client_login_timeout": "20s",
	}
	maps.Copy(s, change)
	path := filepath.Join(dir, "pgvip.yaml")
	return path, errors.Join(
		os.WriteFile(filepath.Join(dir, "userlist.txt"), []byte(users), 0o600),
		os.WriteFile(path, []byte(s.yaml()), 0o600),
	)
}

// userList has nothing but verifiers: pgvip is never told a password.
func userList(c *lab.Cluster) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), readyLimit)
	defer cancel()
	leader, err := c.WaitLeader(ctx)
	if err != nil {
		return "", err
	}
	var list strings.Builder
	for _, role := range []string{lab.AppUser, lab.MD5User, "corpus"} {
		verifier, err := leader.Postgres.Verifier(ctx, role)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&list, "%q %q\n", role, verifier)
	}
	return list.String(), nil
}

func (s settings) yaml() string {
	var top, sections strings.Builder
	last := ""
	for _, key := range slices.Sorted(maps.Keys(s)) {
		section, name, nested := strings.Cut(key, ".")
		switch {
		case s[key] == "":
		case !nested:
			fmt.Fprintf(&top, "%s: %s\n", key, s[key])
		default:
			if section != last {
				fmt.Fprintf(&sections, "%s:\n", section)
				last = section
			}
			fmt.Fprintf(&sections, "  %s: %s\n", name, s[key])
		}
	}
	return top.String() + sections.String()
}

// startProcess runs pgvip on the cluster's n-th spare address.
func startProcess(c *lab.Cluster, binary string, n int, change settings) (*process, error) {
	path, err := configFor(c, n, change)
	if err != nil {
		return nil, err
	}
	p := &process{cluster: c, primary: c.Host(n) + ":5000", replicas: c.Host(n) + ":5001", file: path, log: &buffer{}, done: make(chan struct{})}
	p.cmd = exec.Command(binary, "run", "-c", path)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.wait()
	return p, p.listening()
}

func (p *process) wait() {
	p.err = p.cmd.Wait()
	close(p.done)
}

// listening waits until the port for writes accepts connections.
func (p *process) listening() error {
	for start := time.Now(); ; {
		conn, err := net.Dial("tcp", p.primary)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("pgvip ended: %w\n%s", p.err, p.log)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Since(start) > readyLimit {
			return fmt.Errorf("pgvip does not listen after %v\n%s", readyLimit, p.log)
		}
	}
}

// pgvip starts one with settings of its own, for one test, on the cluster's
// n-th spare address; 0 is the shared one's.
func pgvip(t *testing.T, n int, change settings) *process {
	t.Helper()
	cluster(t) // and with it the binary
	return pgvipOf(t, world.binary(), n, change)
}

// pgvipOf is the same with a binary of the test's own.
func pgvipOf(t *testing.T, binary string, n int, change settings) *process {
	t.Helper()
	p, err := startProcess(cluster(t), binary, n, change)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of pgvip:\n%s", p.log.tail(logTail))
		}
	})
	return p
}

// ready waits until both ports answer a query.
func (p *process) ready(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyLimit)
	defer cancel()
	for _, addr := range []string{p.primary, p.replicas} {
		for {
			conn, err := pgx.Connect(ctx, url(addr))
			if err == nil {
				_, err = conn.Exec(ctx, "SELECT 1")
				conn.Close(ctx)
			}
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				t.Fatalf("%s is not ready: %v\n%s", addr, err, p.log)
			}
		}
	}
}

// stop ends pgvip as an operator would, and reports when that was not clean.
func (p *process) stop() error {
	select {
	case <-p.done:
		return nil // the test has ended it
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-time.After(stopLimit):
		p.cmd.Process.Signal(syscall.SIGQUIT)
		<-p.done
		return fmt.Errorf("pgvip did not stop within %v\n%s", stopLimit, p.log)
	}
	if p.err != nil {
		return fmt.Errorf("pgvip after SIGTERM: %w\n%s", p.err, p.log)
	}
	return nil
}

// keepsSecrets looks for what must not be in the log: passwords, verifiers and
// the text of queries.
func (p *process) keepsSecrets() error {
	for line := range strings.Lines(p.log.String()) {
		for _, secret := range []string{lab.AppPassword, lab.ProbePassword, "corpus secret", "SCRAM-SHA-256$", "SELECT ", "pg_sleep"} {
			if strings.Contains(line, secret) {
				return fmt.Errorf("the log says %q: %s", secret, line)
			}
		}
	}
	return nil
}

// url names the application user behind an address.
func url(addr string) string {
	return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", lab.AppUser, lab.AppPassword, addr, lab.AppDatabase)
}
