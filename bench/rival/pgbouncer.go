package rival

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/pgvip/pgvip/bench/proc"
	"github.com/pgvip/pgvip/internal/freeport"
)

// StartPgBouncer starts PgBouncer; program is its path, or a name to find.
func StartPgBouncer(ctx context.Context, t Terms, program string) (*Contender, error) {
	p, addr, line, err := t.pgbouncer(ctx, program, "pgbouncer", "")
	if err != nil {
		return nil, err
	}
	return &Contender{Name: PgBouncer, Addr: addr, Version: line, Procs: []*proc.Process{p}}, nil
}

// StartWidePgBouncer starts PgBouncer with buffers of 64 KB instead of 4: a win
// on large results shall not be one over a default only.
func StartWidePgBouncer(ctx context.Context, t Terms, program string) (*Contender, error) {
	p, addr, line, err := t.pgbouncer(ctx, program, "wide-pgbouncer", "pkt_buf = 65536\n")
	if err != nil {
		return nil, err
	}
	return &Contender{Name: WidePgBouncer, Addr: addr, Version: line, Procs: []*proc.Process{p}}, nil
}

// pgbouncer starts one instance, whose files have the given name. more is added
// to its configuration.
func (t Terms) pgbouncer(ctx context.Context, program, name, more string) (p *proc.Process, addr, line string, err error) {
	if program, err = find(program); err != nil {
		return nil, "", "", err
	}
	if line, err = version(ctx, program, "--version"); err != nil {
		return nil, "", "", err
	}
	if addr, err = freeport.Addr(); err != nil {
		return nil, "", "", err
	}
	users := filepath.Join(t.Dir, name+".users")
	if err = os.WriteFile(users, fmt.Appendf(nil, "%q \"\"\n", t.Account.User), 0o644); err != nil {
		return nil, "", "", fmt.Errorf("start pgbouncer: %w", err)
	}
	config, err := t.pgbouncerINI(addr, users)
	if err != nil {
		return nil, "", "", err
	}
	spec := proc.Spec{Name: name, Args: []string{program}, UID: t.UID, GID: t.GID}
	p, err = t.start(ctx, spec, name+".ini", config+more, addr)
	return p, addr, line, err
}

// pgbouncerINI leaves everything at its default that the terms do not name.
func (t Terms) pgbouncerINI(addr, users string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	backendHost, backendPort, err := net.SplitHostPort(t.Backend)
	if err != nil {
		return "", fmt.Errorf("start pgbouncer: %w", err)
	}
	return fmt.Sprintf(`[databases]
* = host=%s port=%s
[pgbouncer]
listen_addr = %s
listen_port = %s
unix_socket_dir =
auth_type = trust
auth_file = %s
pool_mode = %s
default_pool_size = %d
max_client_conn = %d
log_connections = 0
log_disconnections = 0
log_stats = 0
`, backendHost, backendPort, host, port, users, t.Mode, t.PoolSize, maxClients), nil
}
