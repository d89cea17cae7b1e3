package failover

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/pgvip/pgvip/bench/proc"
	"github.com/pgvip/pgvip/internal/certs"
)

const (
	guardedHost = 60 // of the lab's addresses
	guardedUser = "pgvip"
	guardedPass = "etcd-secret"
	// tokenLife is how long a login to the guarded etcd lasts; etcd's default is
	// 300 s.
	tokenLife = 5 * time.Second
)

// guarded is an etcd of its own that wants TLS and a password and whose tokens
// expire soon. It has a copy of Patroni's keys, which follows the original; the
// cluster itself need not be set up anew for it.
type guarded struct {
	rig       *Rig
	dir, addr string
	authority *certs.Authority
	process   *proc.Process
	config    clientv3.Config
	client    *clientv3.Client
	born      time.Time // of client
	cancel    context.CancelFunc
	group     sync.WaitGroup
}

// credentials lets a pgvip's tokens expire and etcd's certificate be replaced,
// and then moves the primary.
func credentials(ctx context.Context, r *Rig, s *Scenario) ([]*Result, error) {
	g := &guarded{rig: r, addr: net.JoinHostPort(r.lab.Host(guardedHost), "2379")}
	defer g.close()
	if err := g.start(ctx); err != nil {
		return nil, err
	}
	f, err := r.newPgvip(ctx, "guarded", Transaction, spareHost, settings{
		"etcd.hosts": "[" + g.addr + "]", "etcd.protocol": "https", "etcd.cacert": filepath.Join(g.dir, "ca.crt"),
		"etcd.username": guardedUser, "etcd.password": guardedPass,
	})
	if err != nil {
		return nil, err
	}
	defer f.process.Close()
	if err := r.awaitServing(ctx, f); err != nil {
		return nil, err
	}
	s.Writes, s.Reads, s.Slack = announced, lostNode, 500*time.Millisecond
	s.Fault = func(ctx context.Context, run *run) error {
		if err := pause(ctx, 2*tokenLife+time.Second); err != nil {
			return err
		}
		// A new certificate, and every connection to be made again.
		if err := errors.Join(g.writeCertificate(), g.process.Close(), g.run(ctx)); err != nil {
			return err
		}
		if err := pause(ctx, 2*tokenLife); err != nil {
			return err
		}
		return switchover(ctx, run)
	}
	return r.alone(ctx, s, f)
}

// start makes the etcd, its users and the copy.
func (g *guarded) start(ctx context.Context) (err error) {
	g.dir = filepath.Join(g.rig.dir, fmt.Sprintf("guarded-%d", time.Now().UnixNano()))
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return err
	}
	if g.authority, err = certs.New("pgvip failover"); err != nil {
		return err
	}
	if err := errors.Join(g.writeCertificate(), g.writeTokenKey()); err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(g.authority.PEM())
	g.config = clientv3.Config{
		Endpoints: []string{"https://" + g.addr}, DialTimeout: 2 * time.Second, Logger: zap.NewNop(),
		TLS: &tls.Config{RootCAs: pool},
	}
	if err := g.run(ctx); err != nil {
		return err
	}
	plain, err := clientv3.New(g.config)
	if err != nil {
		return err
	}
	defer plain.Close()
	if err := g.enableAuth(ctx, plain); err != nil {
		return fmt.Errorf("etcd's users: %w", err)
	}
	g.config.Username, g.config.Password = "root", guardedPass
	if err := g.login(); err != nil {
		return err
	}
	return g.copy(ctx)
}

// login makes a new client of the copier's. With an expired token etcd 3.4 refuses
// even the request for a new one, and the client asks until its deadline.
func (g *guarded) login() error {
	client, err := clientv3.New(g.config)
	if err != nil {
		return err
	}
	if g.client != nil {
		g.client.Close()
	}
	g.client, g.born = client, time.Now()
	return nil
}

func (g *guarded) close() {
	if g.cancel != nil {
		g.cancel()
		g.group.Wait()
	}
	if g.client != nil {
		g.client.Close()
	}
	if g.process != nil {
		g.process.Close()
	}
}

// writeCertificate gives etcd a new certificate of the same authority.
func (g *guarded) writeCertificate() error {
	host, _, _ := net.SplitHostPort(g.addr)
	server, err := g.authority.Server("etcd", host)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(g.dir, "ca.crt"), g.authority.PEM(), 0o644),
		os.WriteFile(filepath.Join(g.dir, "server.crt"), server.Cert, 0o644),
		os.WriteFile(filepath.Join(g.dir, "server.key"), server.Key, 0o600),
	)
}

// writeTokenKey makes the key that signs etcd's tokens.
func (g *guarded) writeTokenKey() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	return errors.Join(
		os.WriteFile(filepath.Join(g.dir, "token.key"), private, 0o600),
		os.WriteFile(filepath.Join(g.dir, "token.pub"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o644),
	)
}

// run starts the etcd, with the data that it had.
func (g *guarded) run(ctx context.Context) (err error) {
	program, err := exec.LookPath("etcd")
	if err != nil {
		return err
	}
	host, _, _ := net.SplitHostPort(g.addr)
	peer := "http://" + net.JoinHostPort(host, "2380")
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	g.process, err = g.rig.launcher.Start(ctx, proc.Spec{
		Name: "guarded-etcd", Dir: g.rig.dir,
		Args: []string{
			program, "--name", "guarded", "--data-dir", filepath.Join(g.dir, "data"),
			"--listen-client-urls", "https://" + g.addr, "--advertise-client-urls", "https://" + g.addr,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "guarded=" + peer,
			"--cert-file", filepath.Join(g.dir, "server.crt"), "--key-file", filepath.Join(g.dir, "server.key"),
			"--auth-token", fmt.Sprintf("jwt,pub-key=%s,priv-key=%s,sign-method=RS256,ttl=%s",
				filepath.Join(g.dir, "token.pub"), filepath.Join(g.dir, "token.key"), tokenLife),
			"--bcrypt-cost", "4", // logins are frequent here, and none of them guards anything
			"--logger", "zap", "--log-level", "error",
		},
		Ready: func(context.Context) error {
			conn, err := net.Dial("tcp", g.addr)
			if err == nil {
				conn.Close()
			}
			return err
		},
	})
	return err
}

// enableAuth makes the least role that pgvip needs.
func (g *guarded) enableAuth(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	prefix := g.rig.watcher.prefix
	steps := []func() error{
		func() error { _, err := client.RoleAdd(ctx, "root"); return err },
		func() error { _, err := client.UserAdd(ctx, "root", guardedPass); return err },
		func() error { _, err := client.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := client.RoleAdd(ctx, "reader"); return err },
		func() error {
			_, err := client.RoleGrantPermission(ctx, "reader", prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermRead))
			return err
		},
		func() error { _, err := client.UserAdd(ctx, guardedUser, guardedPass); return err },
		func() error { _, err := client.UserGrantRole(ctx, guardedUser, "reader"); return err },
		func() error { _, err := client.AuthEnable(ctx); return err },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// copy copies Patroni's keys, and goes on with each change in a transaction of
// its own, as in the original.
func (g *guarded) copy(ctx context.Context) error {
	w := g.rig.watcher
	all, err := w.client.Get(ctx, w.prefix, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	var ops []clientv3.Op
	for _, kv := range all.Kvs {
		ops = append(ops, clientv3.OpPut(string(kv.Key), string(kv.Value)))
	}
	if _, err := g.client.Txn(ctx).Then(ops...).Commit(); err != nil {
		return fmt.Errorf("copy keys: %w", err)
	}
	var inner context.Context
	inner, g.cancel = context.WithCancel(context.Background())
	g.group.Go(func() { g.follow(inner, all.Header.Revision+1) })
	return nil
}

// follow ends with ctx.
func (g *guarded) follow(ctx context.Context, revision int64) {
	w := g.rig.watcher
	for r := range w.client.Watch(ctx, w.prefix, clientv3.WithPrefix(), clientv3.WithRev(revision)) {
		var ops []clientv3.Op
		last := int64(0)
		for i, e := range r.Events {
			if e.Type == clientv3.EventTypeDelete {
				ops = append(ops, clientv3.OpDelete(string(e.Kv.Key)))
			} else {
				ops = append(ops, clientv3.OpPut(string(e.Kv.Key), string(e.Kv.Value)))
			}
			last = e.Kv.ModRevision
			if i+1 == len(r.Events) || r.Events[i+1].Kv.ModRevision != last {
				g.commit(ctx, ops)
				ops = nil
			}
		}
	}
}

// commit tries until it is done: the copy's etcd is restarted at times.
func (g *guarded) commit(ctx context.Context, ops []clientv3.Op) {
	for ctx.Err() == nil {
		if time.Since(g.born) > tokenLife/2 && g.login() != nil {
			pause(ctx, 50*time.Millisecond)
			continue
		}
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := g.client.Txn(try).Then(ops...).Commit()
		cancel()
		if err == nil {
			return
		}
		pause(ctx, 50*time.Millisecond)
	}
}
