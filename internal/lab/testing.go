package lab

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
)

// startTimeout bounds a start on a busy machine; on a quiet one it is seconds.
const startTimeout = 2 * time.Minute

// StartPostgresT is StartPostgres for a test: it stops the server at the test's
// end and skips the test where PostgreSQL is not installed, see Require.
func StartPostgresT(t testing.TB, opt PostgresOptions) *Postgres {
	t.Helper()
	Require(t, opt.check)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	pg, err := StartPostgres(ctx, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(pg.Log(40))
		}
		if err := pg.Stop(); err != nil {
			t.Error(err)
		}
	})
	return pg
}

// StartT is Start for a test: it stops the cluster at the test's end and skips
// the test where a program is not installed, see Require.
func StartT(t testing.TB, opt Options) *Cluster {
	t.Helper()
	Require(t, CheckInstalled)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	c, err := Start(ctx, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			c.logTo(t)
		}
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (c *Cluster) logTo(t testing.TB) {
	for _, p := range append(agents(c.Nodes), c.Etcd...) {
		t.Log(p.Log(40))
	}
}

// Require skips a test when a check says that it cannot run here, and when
// PGVIP_LAB=off asks for it. With PGVIP_LAB=required, as in make test, or CI set
// it fails the test instead: a gate must not pass because its tests were skipped.
func Require(t testing.TB, check func() error) {
	t.Helper()
	if os.Getenv("PGVIP_LAB") == "off" {
		t.Skip("PGVIP_LAB=off")
	}
	err := check()
	if err == nil {
		return
	}
	if os.Getenv("PGVIP_LAB") == "required" || os.Getenv("CI") != "" || !errors.Is(err, ErrMissing) {
		t.Fatal(err)
	}
	t.Skip(err)
}
