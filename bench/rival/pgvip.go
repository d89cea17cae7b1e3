package rival

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pgvip/pgvip/bench/proc"
	"github.com/pgvip/pgvip/internal/freeport"
)

// StartPgvip starts pgvip with an etcd of its own, whose CPU is not counted:
// in the field it is there anyway, for Patroni.
func StartPgvip(ctx context.Context, t Terms, program string) (*Contender, error) {
	program, err := find(program)
	if err != nil {
		return nil, err
	}
	line, err := version(ctx, program, "version")
	if err != nil {
		return nil, err
	}
	etcd, etcdAddr, err := t.startEtcd(ctx)
	if err != nil {
		return nil, err
	}
	p, addr, err := t.pgvip(ctx, program, etcdAddr)
	if err != nil {
		return nil, errors.Join(err, etcd.Close())
	}
	return &Contender{
		Name: Pgvip, Addr: addr, Version: line,
		Procs: []*proc.Process{p}, support: []*proc.Process{etcd},
	}, nil
}

// pgvip starts the program itself; it is ready when a query has passed, so when
// the primary is proven.
func (t Terms) pgvip(ctx context.Context, program, etcd string) (p *proc.Process, addr string, err error) {
	if addr, err = freeport.Addr(); err != nil {
		return nil, "", err
	}
	users := filepath.Join(t.Dir, "pgvip.users")
	if err := os.WriteFile(users, fmt.Appendf(nil, "%q \"\"\n", t.Account.User), 0o644); err != nil {
		return nil, "", fmt.Errorf("start pgvip: %w", err)
	}
	spec := proc.Spec{Name: "pgvip", Args: []string{program, "run", "-c"}}
	p, err = t.start(ctx, spec, "pgvip.yaml", t.pgvipYAML(addr, etcd, users), addr)
	return p, addr, err
}

// pgvipYAML, too, leaves at its default what the terms do not name.
func (t Terms) pgvipYAML(addr, etcd, users string) string {
	return fmt.Sprintf(`scope: %s
etcd:
  hosts: ["%s"]
probe:
  user: %s
  dbname: %s
listen:
  primary: ["%s"]
  replicas: []
  admin: []
auth_type: trust
auth_file: %s
pool_mode: %s
default_pool_size: %d
max_client_conn: %d
log:
  level: warn
`, scope, etcd, t.Account.User, t.Account.Database, addr, users, t.Mode, t.PoolSize, maxClients)
}
