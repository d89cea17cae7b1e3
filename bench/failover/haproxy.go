package failover

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pgvip/pgvip/bench/proc"
)

// newHAProxy starts HAProxy with the settings of Patroni's own sample,
// haproxy.cfg of its repository, on the lab's n-th spare address. That sample has
// one port; the second is made after its pattern.
func (r *Rig) newHAProxy(ctx context.Context, n int) (*front, error) {
	program, err := exec.LookPath("haproxy")
	if err != nil {
		program = "/usr/sbin/haproxy"
	}
	host := r.lab.Host(n)
	f := &front{mode: HAProxy}
	f.name, f.primary, f.replicas = HAProxy, host+":5000", host+":5001"
	f.spawn = func(ctx context.Context) (*proc.Process, error) {
		path := filepath.Join(r.dir, "haproxy.cfg")
		text := r.haproxyConfig(f)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return nil, fmt.Errorf("configuration of HAProxy: %w", err)
		}
		return r.launcher.Start(ctx, proc.Spec{
			Name: HAProxy, Dir: r.dir, Args: []string{program, "-db", "-f", path}, Ready: f.listens,
		})
	}
	return f, f.start(ctx)
}

func (r *Rig) haproxyConfig(f *front) string {
	var text strings.Builder
	text.WriteString(`global
    maxconn 1000
defaults
    mode tcp
    retries 2
    timeout client 30m
    timeout connect 4s
    timeout server 30m
    timeout check 5s
`)
	for _, port := range []struct{ name, addr, check string }{
		{"primary", f.primary, "/primary"}, {"replicas", f.replicas, "/replica"},
	} {
		fmt.Fprintf(&text, `listen %s
    bind %s
    option httpchk OPTIONS %s
    http-check expect status 200
    default-server inter 3s fall 3 rise 2 on-marked-down shutdown-sessions
`, port.name, port.addr, port.check)
		for _, n := range r.lab.Nodes {
			_, rest, _ := strings.Cut(n.RESTAddr, ":")
			fmt.Fprintf(&text, "    server %s %s maxconn 100 check port %s\n", n.Name, n.Postgres.Addr, rest)
		}
	}
	return text.String()
}
