package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	etcdClientPort = "2379"
	etcdPeerPort   = "2380"
)

// EtcdEndpoints are the client addresses of all members: "127.64.0.1:2379".
func (c *Cluster) EtcdEndpoints() []string {
	var all []string
	for n := range c.opt.EtcdMembers {
		all = append(all, net.JoinHostPort(c.slot.host(n+1), etcdClientPort))
	}
	return all
}

// etcd describes member n.
func (c *Cluster) etcd(n int) *Process {
	name := fmt.Sprintf("etcd%d", n)
	client := "http://" + net.JoinHostPort(c.slot.host(n), etcdClientPort)
	peer := "http://" + net.JoinHostPort(c.slot.host(n), etcdPeerPort)
	return &Process{
		Name:    name,
		logPath: filepath.Join(c.slot.dir, name+".log"),
		command: func() *exec.Cmd {
			return c.slot.command("etcd",
				"--name", name,
				"--data-dir", filepath.Join(c.slot.dir, name+"-data"),
				"--listen-client-urls", client, "--advertise-client-urls", client,
				"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
				"--initial-cluster", c.etcdPeers(), "--initial-cluster-state", "new",
				"--logger", "zap", "--log-level", "warn",
			)
		},
		ready: func(ctx context.Context) error { return etcdHealthy(ctx, client) },
	}
}

// etcdPeers lists all members in the form of --initial-cluster.
func (c *Cluster) etcdPeers() string {
	var all []string
	for n := range c.opt.EtcdMembers {
		peer := net.JoinHostPort(c.slot.host(n+1), etcdPeerPort)
		all = append(all, fmt.Sprintf("etcd%d=http://%s", n+1, peer))
	}
	return strings.Join(all, ",")
}

// etcdHealthy returns nil when a member has a leader and answers a linearizable
// read, which is what /health asks it.
func etcdHealthy(ctx context.Context, client string) error {
	status, body, err := request(ctx, http.MethodGet, client+"/health", nil)
	if err != nil {
		return err
	}
	if status != http.StatusOK || !strings.Contains(string(body), `"true"`) {
		return fmt.Errorf("health: %d %s", status, body)
	}
	return nil
}

// request asks an HTTP server of the lab and returns status and body.
func request(ctx context.Context, method, url string, body io.Reader) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, nil, err
	}
	// No proxy of the environment, and no idle connection that a killed server
	// would break.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// SnapshotEtcd writes a backup of etcd and returns its file.
func (c *Cluster) SnapshotEtcd(ctx context.Context) (string, error) {
	path := filepath.Join(c.slot.dir, "etcd-snapshot.db")
	err := c.etcdctl(ctx, "--endpoints", c.EtcdEndpoints()[0], "snapshot", "save", path)
	return path, err
}

// RestoreEtcd kills all members, gives them the data of a backup, as a new
// cluster, and starts them.
func (c *Cluster) RestoreEtcd(ctx context.Context, snapshot string) error {
	for i, member := range c.Etcd {
		if err := member.Kill(); err != nil {
			return err
		}
		dir := filepath.Join(c.slot.dir, member.Name+"-data")
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
		err := c.etcdctl(ctx, "snapshot", "restore", snapshot, "--name", member.Name, "--data-dir", dir,
			"--initial-cluster", c.etcdPeers(), "--initial-cluster-token", "restored",
			"--initial-advertise-peer-urls", "http://"+net.JoinHostPort(c.slot.host(i+1), etcdPeerPort))
		if err != nil {
			return err
		}
	}
	return startAll(ctx, c.Etcd)
}

// etcdctl runs Debian's client.
func (c *Cluster) etcdctl(ctx context.Context, args ...string) error {
	cmd := c.slot.commandContext(ctx, "etcdctl", args...)
	cmd.Env = append(cmd.Env, "ETCDCTL_API=3")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("lab: etcdctl %s: %w: %s", args[len(args)-1], err, out)
	}
	return nil
}
