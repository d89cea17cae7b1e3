package rival

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/pgvip/pgvip/bench/proc"
	"github.com/pgvip/pgvip/internal/freeport"
)

// scope is the name of the Patroni cluster that the benchmark pretends to have.
const scope = "bench"

// startEtcd starts an etcd that holds what Patroni would write for a cluster of
// one healthy primary: pgvip finds its servers nowhere else. The lone
// PostgreSQL behind it needs no Patroni to be measured.
func (t Terms) startEtcd(ctx context.Context) (p *proc.Process, addr string, err error) {
	program, err := find("etcd")
	if err != nil {
		return nil, "", err
	}
	if addr, err = freeport.Addr(); err != nil {
		return nil, "", err
	}
	peer, err := freeport.Addr()
	if err != nil {
		return nil, "", err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{addr}, DialTimeout: 2 * time.Second, Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, "", fmt.Errorf("start etcd: %w", err)
	}
	defer client.Close()

	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	p, err = t.Launcher.Start(ctx, proc.Spec{
		Name: "etcd", Dir: t.Dir,
		Args: []string{
			program, "--name", "bench", "--data-dir", filepath.Join(t.Dir, "etcd"),
			"--listen-client-urls", "http://" + addr, "--advertise-client-urls", "http://" + addr,
			"--listen-peer-urls", "http://" + peer, "--initial-advertise-peer-urls", "http://" + peer,
			"--initial-cluster", "bench=http://" + peer,
		},
		Ready: func(ctx context.Context) error { return alive(ctx, client) },
	})
	if err != nil {
		return nil, "", err
	}
	if err := t.putKeys(ctx, client); err != nil {
		return nil, "", errors.Join(err, p.Close())
	}
	return p, addr, nil
}

// alive asks for any key: a member without a leader does not answer that.
func alive(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := client.Get(ctx, "/")
	return err
}

// putKeys writes Patroni's keys in the form of version 3.
func (t Terms) putKeys(ctx context.Context, client *clientv3.Client) error {
	const name = "pg1"
	member := map[string]any{
		"conn_url": "postgres://" + t.Backend + "/postgres",
		// Nothing listens there: the discard port.
		"api_url": "http://127.0.0.1:9/patroni",
		"state":   "running", "role": "master", "version": "3.0.2", "timeline": 1,
	}
	config := map[string]any{"ttl": 30, "loop_wait": 10, "retry_timeout": 10}
	keys := []struct {
		key   string
		value any
	}{
		{"initialize", t.SystemID},
		{"config", config},
		{"members/" + name, member},
		{"leader", name},
	}
	for _, k := range keys {
		text, plain := k.value.(string)
		if !plain {
			b, err := json.Marshal(k.value)
			if err != nil {
				return fmt.Errorf("key %s: %w", k.key, err)
			}
			text = string(b)
		}
		if _, err := client.Put(ctx, "/service/"+scope+"/"+k.key, text); err != nil {
			return fmt.Errorf("put key %s: %w", k.key, err)
		}
	}
	return nil
}
