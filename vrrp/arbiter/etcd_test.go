package arbiter

import (
	"context"
	"crypto/tls"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/pgvip/pgvip/internal/freeport"
	"github.com/pgvip/pgvip/internal/lab"
)

// server is a real member of etcd on loopback.
type server struct {
	t            *testing.T
	name         string
	client, peer string // addresses
	members      string // --initial-cluster
	dir          string
	more         []string    // arguments
	tls          *tls.Config // of a client, nil for http
	cmd          *exec.Cmd
}

func newServer(t *testing.T) *server {
	t.Helper()
	lab.Require(t, lab.CheckInstalled)
	s := &server{t: t, name: "e1", client: freeAddr(t), peer: freeAddr(t), dir: t.TempDir()}
	s.members = "e1=http://" + s.peer
	t.Cleanup(s.stop)
	return s
}

func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// newServers starts a cluster of three.
func newServers(t *testing.T) []*server {
	t.Helper()
	var all []*server
	var peers []string
	for i := range 3 {
		s := newServer(t)
		s.name = fmt.Sprint("e", i+1)
		peers = append(peers, s.name+"=http://"+s.peer)
		all = append(all, s)
	}
	for _, s := range all {
		s.members = strings.Join(peers, ",")
		s.launch()
	}
	for _, s := range all {
		s.answers()
	}
	return all
}

func (s *server) start() {
	s.t.Helper()
	s.launch()
	s.answers()
}

func (s *server) launch() {
	s.t.Helper()
	scheme := "http://"
	if s.tls != nil {
		scheme = "https://"
	}
	s.cmd = exec.Command("etcd", append([]string{"--name", s.name, "--data-dir", s.dir,
		"--listen-client-urls", scheme + s.client, "--advertise-client-urls", scheme + s.client,
		"--listen-peer-urls", "http://" + s.peer, "--initial-advertise-peer-urls", "http://" + s.peer,
		"--initial-cluster", s.members, "--logger", "zap", "--log-level", "error"}, s.more...)...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// answers waits until the member reads, which needs a quorum.
func (s *server) answers() {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		err := s.try(func(ctx context.Context, c *clientv3.Client) error {
			_, err := c.Get(ctx, "x")
			return err
		})
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *server) signal(sig syscall.Signal) {
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Error(err)
	}
}

// stop kills etcd, which is all it deserves.
func (s *server) stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // gone already is as good
	_ = s.cmd.Wait()         // it says "killed"
	s.cmd = nil
}

// do runs f on a client of its own.
func (s *server) do(f func(context.Context, *clientv3.Client) error) {
	s.t.Helper()
	if err := s.try(f); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) try(f func(context.Context, *clientv3.Client) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{s.client}, Logger: zap.NewNop(), TLS: s.tls, DialTimeout: 5 * time.Second,
	})
	if err != nil {
		return err
	}
	defer c.Close()
	return f(ctx, c)
}

func (s *server) put(key, value string) {
	s.t.Helper()
	s.do(func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Put(ctx, key, value)
		return err
	})
}
