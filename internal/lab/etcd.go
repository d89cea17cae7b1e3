package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
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
