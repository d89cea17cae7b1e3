package rival

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgvip/pgvip/bench/proc"
	"github.com/pgvip/pgvip/internal/freeport"
)

// StartHAProxy starts HAProxy in TCP mode before PostgreSQL itself.
func StartHAProxy(ctx context.Context, t Terms) (*Contender, error) {
	p, addr, line, err := t.haproxy(ctx, "haproxy", t.Backend)
	if err != nil {
		return nil, err
	}
	return &Contender{Name: HAProxy, Addr: addr, Version: line, Procs: []*proc.Process{p}}, nil
}

// StartChain starts what pgvip replaces: HAProxy before a PgBouncer of its own.
func StartChain(ctx context.Context, t Terms, pgbouncer string) (*Contender, error) {
	behind, behindAddr, behindLine, err := t.pgbouncer(ctx, pgbouncer, "chain-pgbouncer", "")
	if err != nil {
		return nil, err
	}
	front, addr, line, err := t.haproxy(ctx, "chain-haproxy", behindAddr)
	if err != nil {
		return nil, errors.Join(err, behind.Close())
	}
	return &Contender{
		Name: Chain, Addr: addr, Version: line + " -> " + behindLine,
		Procs: []*proc.Process{front, behind},
	}, nil
}

// haproxy starts one instance before the given address.
func (t Terms) haproxy(ctx context.Context, name, backend string) (p *proc.Process, addr, line string, err error) {
	program, err := find("haproxy")
	if err != nil {
		return nil, "", "", err
	}
	if line, err = version(ctx, program, "-v"); err != nil {
		return nil, "", "", err
	}
	if addr, err = freeport.Addr(); err != nil {
		return nil, "", "", err
	}
	// -db stays in the foreground. The number of threads is left at its default,
	// one for each CPU, as in the field.
	spec := proc.Spec{Name: name, Args: []string{program, "-db", "-f"}}
	p, err = t.start(ctx, spec, name+".cfg", haproxyCFG(addr, backend), addr)
	return p, addr, line, err
}

// haproxyClients is enough for every case and needs no raised limit of files;
// idle clients are not HAProxy's test.
const haproxyClients = 2000

// haproxyCFG is Patroni's usual one without health checks: there is one server.
func haproxyCFG(addr, backend string) string {
	return fmt.Sprintf(`global
    maxconn %d
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen primary
    bind %s
    server postgresql %s
`, haproxyClients, addr, backend)
}
