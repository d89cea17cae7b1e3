package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
)

// gateStart bounds how long the demo's pgvip may take until it serves.
const gateStart = 10 * time.Second

// gate is the demo's pgvip: a process of its own, run as a user would.
type gate struct {
	host string
	cmd  *exec.Cmd
	log  string
	exit chan error // carries the process's end; closed by its waiter
}

// startGate writes a configuration and runs "pgvip run" with it.
func startGate(ctx context.Context, cluster *lab.Cluster) (*gate, error) {
	verifier, err := cluster.Nodes[0].Postgres.Verifier(ctx, lab.AppUser)
	if err != nil {
		return nil, fmt.Errorf("verifier of %s: %w", lab.AppUser, err)
	}
	g := &gate{host: cluster.Host(0), exit: make(chan error, 1)}
	dir := cluster.Dir()
	g.log = filepath.Join(dir, "pgvip.log")
	file := filepath.Join(dir, "pgvip.yaml")
	users := filepath.Join(dir, "userlist.txt")
	text := fmt.Sprintf(gateConfig, cluster.Scope, cluster.Namespace, strings.Join(cluster.EtcdEndpoints(), ", "),
		g.writes(), g.reads(), g.admin(), users, lab.ProbeUser, lab.ProbePassword)
	if err := errors.Join(
		os.WriteFile(users, fmt.Appendf(nil, "%q %q\n", lab.AppUser, verifier), 0o600),
		os.WriteFile(file, []byte(text), 0o600),
	); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(g.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	g.cmd = exec.Command(self, "run", "-c", file)
	g.cmd.Stdout, g.cmd.Stderr = log, log
	// Its own process group, so that Ctrl-C reaches the demo first; in the lab's
	// directory, so that the lab's watchdog ends it when the demo is killed.
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	g.cmd.Dir = dir
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("pgvip run: %w", err)
	}
	go func() {
		g.exit <- g.cmd.Wait()
		close(g.exit)
	}()
	if err := g.waitReady(ctx); err != nil {
		g.stop()
		return nil, err
	}
	return g, nil
}

const gateConfig = `scope: %s
namespace: %s
etcd:
  hosts: [%s]
listen:
  primary: %s
  replicas: %s
  admin: %s
auth_type: scram-sha-256
auth_file: %s
probe:
  user: %s
  password: %s
`

func (g *gate) writes() string { return net.JoinHostPort(g.host, "5000") }
func (g *gate) reads() string  { return net.JoinHostPort(g.host, "5001") }
func (g *gate) admin() string  { return net.JoinHostPort(g.host, "7000") }

// waitReady waits until the write port accepts connections.
func (g *gate) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, gateStart)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if conn, err := net.Dial("tcp", g.writes()); err == nil {
			return conn.Close()
		}
		select {
		case err := <-g.exit:
			text, _ := os.ReadFile(g.log)
			return fmt.Errorf("pgvip run: %v\n%s", err, text)
		case <-ctx.Done():
			return fmt.Errorf("pgvip run: port 5000 does not answer: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// psql runs statements as an application would and returns what the last one
// printed.
func (g *gate) psql(ctx context.Context, out io.Writer, port int, statements ...string) (string, error) {
	args := []string{"-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", g.host, "-p", strconv.Itoa(port), "-U", lab.AppUser, "-d", lab.AppDatabase}
	for _, sql := range statements {
		fmt.Fprintf(out, "   $ psql -h %s -p %d -c %q\n", g.host, port, sql)
		args = append(args, "-c", sql)
	}
	cmd := exec.CommandContext(ctx, "psql", args...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+lab.AppPassword, "PGCONNECT_TIMEOUT=30", "PGOPTIONS=-c client_min_messages=warning")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	answer, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("psql: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	lines := strings.Fields(string(answer))
	if len(lines) == 0 {
		return "", nil
	}
	return lines[len(lines)-1], nil
}

// printLog shows pgvip's own log after a step that failed.
func (g *gate) printLog(out io.Writer) {
	text, err := os.ReadFile(g.log)
	if err == nil {
		fmt.Fprintf(out, "\nThe log of pgvip:\n%s", text)
	}
}

// stop ends pgvip as an operator would, and by force if it does not go.
func (g *gate) stop() {
	g.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-g.exit:
	case <-time.After(gateStart):
		g.cmd.Process.Kill()
		<-g.exit
	}
}
