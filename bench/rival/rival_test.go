package rival

import (
	"context"
	"os"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/pgvip/pgvip/bench/load"
	"github.com/pgvip/pgvip/bench/null"
	"github.com/pgvip/pgvip/bench/proc"
	"github.com/pgvip/pgvip/internal/lab"
)

// terms are those of a test before a null backend of its own.
func terms(t *testing.T, programs ...string) Terms {
	t.Helper()
	lab.Require(t, func() error {
		for _, p := range programs {
			if _, err := find(p); err != nil {
				return lab.ErrMissing
			}
		}
		return nil
	})
	s, err := null.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	launcher := proc.NewLauncher()
	t.Cleanup(launcher.Close)
	// Not t.TempDir: PgBouncer runs as another user, who cannot pass its parents.
	dir, err := os.MkdirTemp("", "pgvip-rival-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	made := Terms{
		Launcher: launcher, Dir: dir, Backend: s.Addr().String(), SystemID: null.SystemID,
		Account: load.Account{User: "app", Database: "app"}, Mode: "session", PoolSize: 2,
	}
	if os.Geteuid() == 0 {
		made.UID, made.GID = 65534, 65534
	}
	return made
}

func TestRivalsPassQueriesAndSpendCPU(t *testing.T) {
	made := terms(t, "pgbouncer", "haproxy")
	ctx := t.Context()
	starters := []struct {
		name  string
		procs int
		start func() (*Contender, error)
	}{
		{Direct, 0, func() (*Contender, error) { return StartDirect(made), nil }},
		{PgBouncer, 1, func() (*Contender, error) { return StartPgBouncer(ctx, made, "pgbouncer") }},
		{HAProxy, 1, func() (*Contender, error) { return StartHAProxy(ctx, made) }},
		{Chain, 2, func() (*Contender, error) { return StartChain(ctx, made, "pgbouncer") }},
	}
	for _, s := range starters {
		c, err := s.start()
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
			continue
		}
		if c.Name != s.name || len(c.Procs) != s.procs || c.Version == "" {
			t.Errorf("%s: %+v, want %d processes and a version", s.name, c, s.procs)
		}
		if err := load.Ping(ctx, c.Addr, made.Account); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		cpu, err := c.CPU()
		if err != nil || (cpu > 0) != (s.procs > 0) {
			t.Errorf("%s: CPU %v, %v", s.name, cpu, err)
		}
		if err := c.Close(); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}

func TestBrokenRivalTellsWhy(t *testing.T) {
	made := terms(t, "pgbouncer")
	made.Mode = "sideways"
	_, err := StartPgBouncer(t.Context(), made, "pgbouncer")
	if err == nil || !strings.Contains(err.Error(), "sideways") {
		t.Errorf("error %v, want PgBouncer's own words", err)
	}
}

func TestEtcdHoldsAClusterOfOne(t *testing.T) {
	made := terms(t, "etcd")
	p, addr, err := made.startEtcd(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	got, err := client.Get(context.Background(), "/service/bench/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	for _, kv := range got.Kvs {
		keys[strings.TrimPrefix(string(kv.Key), "/service/bench/")] = string(kv.Value)
	}
	if keys["leader"] != "pg1" || keys["initialize"] != null.SystemID {
		t.Errorf("keys %v: want leader pg1 of system %s", keys, null.SystemID)
	}
	if member := keys["members/pg1"]; !strings.Contains(member, "postgres://"+made.Backend+"/") {
		t.Errorf("member %s: want the address %s", member, made.Backend)
	}
}
