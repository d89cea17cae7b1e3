package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/corpus"
	"github.com/pgvip/pgvip/internal/lab"
)

// startTimeout bounds the start of the cluster on a busy machine.
const startTimeout = 3 * time.Minute

// world is what the tests of this package share. There is one, because a test
// function cannot be given arguments; TestMain ends it.
var world = &shared{pgvips: map[string]*process{}}

// shared starts its parts when a test first asks for them.
type shared struct {
	// Guarded by mu.
	mu      sync.Mutex
	dir     string // of the built binary
	cluster *lab.Cluster
	pgvips  map[string]*process // by the name of their way
	broken  error               // of an earlier start: it would only fail again
}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := world.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// corpusTarget logs in to a node directly; Addr is missing.
func corpusTarget(addr string) corpus.Target {
	return corpus.Target{Addr: addr, User: "corpus", Password: "corpus secret", Database: "corpus"}
}

// cluster returns the shared cluster, whole.
func cluster(t *testing.T) *lab.Cluster {
	t.Helper()
	lab.Require(t, lab.CheckInstalled)
	world.mu.Lock()
	defer world.mu.Unlock()
	if err := world.startCluster(); err != nil {
		t.Fatal(err)
	}
	return world.cluster
}

// sharedPgvip returns the pgvip that all tests may use that change no setting.
func sharedPgvip(t *testing.T) *process {
	t.Helper()
	return pgvipIn(t, sessions())
}

// pgvipIn returns the pgvip of a way, for all tests that change no setting.
func pgvipIn(t *testing.T, w way) *process {
	t.Helper()
	c := cluster(t)
	world.mu.Lock()
	defer world.mu.Unlock()
	if p := world.pgvips[w.name]; p != nil {
		return p
	}
	p, err := startProcess(c, world.binary(), w.host, w.change)
	if err != nil {
		t.Fatal(err)
	}
	world.pgvips[w.name] = p
	p.ready(t)
	p.open = len(descriptors(t, p.cmd.Process.Pid))
	return p
}

func (w *shared) startCluster() error {
	if w.cluster != nil || w.broken != nil {
		return w.broken
	}
	w.broken = w.start()
	return w.broken
}

func (w *shared) start() (err error) {
	if err := lookAtSources(); err != nil {
		return err
	}
	if w.dir, err = os.MkdirTemp("", "pgvip-e2e"); err != nil {
		return err
	}
	if prebuilt := os.Getenv("PGVIP_BINARY"); prebuilt != "" {
		return w.startLab(os.Symlink(prebuilt, w.binary()))
	}
	build := exec.Command("go", "build", "-o", w.binary(), "github.com/pgvip/pgvip/cmd/pgvip")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return w.startLab(nil)
}

// raceBinary is pgvip with the race detector.
func raceBinary(t *testing.T) string {
	t.Helper()
	cluster(t)
	binary := world.binary() + "-race"
	build := exec.Command("go", "build", "-race", "-o", binary, "github.com/pgvip/pgvip/cmd/pgvip")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// lookAtSources makes the sources of pgvip files that this test has looked at.
// Without that, go test would answer from its cache when only they have changed:
// it does not know what a test builds.
func lookAtSources() error {
	return filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".go" {
			_, err = os.Stat(path)
		}
		return err
	})
}

func (w *shared) startLab(err error) error {
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if w.cluster, err = lab.Start(ctx, lab.Options{Nodes: 3, TLS: true, Parameters: map[string]string{"max_connections": "120"}}); err != nil {
		return err
	}
	return prepare(ctx, w.cluster)
}

// prepare makes the roles and databases of the tests, and waits for the replicas
// to have them.
func prepare(ctx context.Context, c *lab.Cluster) error {
	leader, err := c.Leader(ctx)
	if err != nil {
		return err
	}
	target := corpusTarget(leader.Postgres.Addr)
	cluster, database := corpus.Setup(target)
	for _, sql := range cluster {
		if _, err := leader.Postgres.SQL(ctx, "postgres", sql); err != nil {
			return err
		}
	}
	for _, sql := range database {
		if _, err := leader.Postgres.SQL(ctx, target.Database, sql); err != nil {
			return err
		}
	}
	// Written to by random conversations, never read.
	if _, err := leader.Postgres.SQL(ctx, target.Database, "CREATE TABLE corpus.sink (a int, b text); GRANT INSERT, SELECT ON corpus.sink TO corpus"); err != nil {
		return err
	}
	return replayed(ctx, c, leader)
}

// replayed waits until all replicas have what the leader has written by now.
func replayed(ctx context.Context, c *lab.Cluster, leader *lab.Node) error {
	lsn, err := leader.Postgres.SQL(ctx, "postgres", "SELECT pg_current_wal_lsn()")
	if err != nil {
		return err
	}
	for _, n := range c.Nodes {
		for done := ""; n != leader && done != "t"; {
			// Each question starts a psql, which is pause enough.
			if done, err = n.Postgres.SQL(ctx, "postgres", "SELECT pg_last_wal_replay_lsn() >= '"+lsn+"'"); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *shared) binary() string {
	return filepath.Join(w.dir, "pgvip")
}

// stop ends everything and says what the shared pgvip left behind.
func (w *shared) stop() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var err error
	for _, p := range w.pgvips {
		err = errors.Join(err, p.settled(), p.stop(), p.keepsSecrets())
	}
	if w.cluster != nil {
		err = errors.Join(err, w.cluster.Stop())
	}
	if w.dir != "" {
		os.RemoveAll(w.dir)
	}
	return err
}

// settled waits until a shared pgvip has let go of all that the tests did to it:
// its server connections idle out after two seconds.
func (p *process) settled() error {
	for start := time.Now(); ; <-time.After(50 * time.Millisecond) {
		entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "fd"))
		switch {
		case err != nil:
			return err
		case len(entries) <= p.open:
			return nil
		case time.Since(start) > settleLimit:
			return fmt.Errorf("after all tests pgvip has %d descriptors, %d at first", len(entries), p.open)
		}
	}
}
