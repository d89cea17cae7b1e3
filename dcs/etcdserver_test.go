package dcs

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/pgvip/pgvip/internal/freeport"
	"github.com/pgvip/pgvip/internal/lab"
)

// etcdServer is a real member of etcd on loopback, alone unless newEtcdCluster
// made it.
type etcdServer struct {
	t            *testing.T
	name         string
	client, peer string // addresses
	members      string // --initial-cluster
	dir          string
	more         []string    // arguments
	tls          *tls.Config // of a client, nil for http
	user         string      // of a client, with ":password"; empty without
	cmd          *exec.Cmd
	wg           sync.WaitGroup
}

// newEtcdServer reserves addresses; start starts it.
func newEtcdServer(t *testing.T) *etcdServer {
	t.Helper()
	lab.Require(t, lab.CheckInstalled)
	s := &etcdServer{t: t, name: "e1", client: freeAddr(t), peer: freeAddr(t), dir: t.TempDir()}
	s.members = "e1=http://" + s.peer
	t.Cleanup(func() {
		s.wg.Wait()
		s.stop()
	})
	return s
}

// newEtcdCluster starts three members.
func newEtcdCluster(t *testing.T) []*etcdServer {
	t.Helper()
	var all []*etcdServer
	var peers []string
	for i := range 3 {
		s := newEtcdServer(t)
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

// signal sends one to the process.
func (s *etcdServer) signal(sig syscall.Signal) {
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Error(err)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// start starts etcd and waits until it answers.
func (s *etcdServer) start() {
	s.t.Helper()
	s.launch()
	s.answers()
}

func (s *etcdServer) launch() {
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
		s.t.Error(err)
	}
}

// answers waits until the member reads, which needs a quorum. A login fails at
// once while nobody listens, and is tried until somebody does.
func (s *etcdServer) answers() {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		err := s.try(func(ctx context.Context, c *clientv3.Client) error {
			_, err := c.Get(ctx, "x")
			return err
		})
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Error(err)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// stop kills etcd, which is all it deserves.
func (s *etcdServer) stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // gone already is as good
	_ = s.cmd.Wait()         // it says "killed"
	s.cmd = nil
}

// background runs f while the test looks on; the test's end waits for it.
func (s *etcdServer) background(f func()) { s.wg.Go(f) }

// do runs f on a client of its own, for at most ten seconds.
func (s *etcdServer) do(f func(context.Context, *clientv3.Client) error) {
	s.t.Helper()
	if err := s.try(f); err != nil {
		s.t.Error(err)
	}
}

func (s *etcdServer) try(f func(context.Context, *clientv3.Client) error) error {
	// Not the test's context: what runs in the background may end after it.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	user, password, _ := strings.Cut(s.user, ":")
	c, err := clientv3.New(clientv3.Config{
		Endpoints: []string{s.client}, Logger: zap.NewNop(), TLS: s.tls, Username: user, Password: password,
		DialTimeout: 5 * time.Second,
	})
	if err != nil {
		return err
	}
	defer c.Close()
	return f(ctx, c)
}

// put writes keys, each in a revision of its own.
func (s *etcdServer) put(pairs ...string) {
	s.t.Helper()
	s.do(func(ctx context.Context, c *clientv3.Client) error {
		for i := 0; i < len(pairs); i += 2 {
			if _, err := c.Put(ctx, "/service/demo/"+pairs[i], pairs[i+1]); err != nil {
				return err
			}
		}
		return nil
	})
}

// txn carries out all operations in one revision.
func (s *etcdServer) txn(ops ...clientv3.Op) {
	s.t.Helper()
	s.do(func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Txn(ctx).Then(ops...).Commit()
		return err
	})
}

// relay is a TCP relay to an etcd that can be cut and can be frozen.
type relay struct {
	ln     net.Listener
	target string
	wg     sync.WaitGroup
	frozen chan struct{} // closed by freeze: nothing is passed on any more

	mu    sync.Mutex
	conns map[net.Conn]bool // guarded by mu
	cut   bool              // guarded by mu; close what is accepted
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{ln: ln, target: target, conns: map[net.Conn]bool{}, frozen: make(chan struct{})}
	r.wg.Go(r.accept)
	t.Cleanup(func() {
		ln.Close()
		r.setCut(true)
		r.wg.Wait()
	})
	return r
}

func (r *relay) addr() string { return r.ln.Addr().String() }

func (r *relay) freeze() { close(r.frozen) }

// setCut closes all connections and every new one, or lets them be again.
func (r *relay) setCut(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
	for c := range r.conns {
		if cut {
			c.Close()
		}
	}
}

func (r *relay) accept() {
	for {
		in, err := r.ln.Accept()
		if err != nil {
			return
		}
		r.wg.Go(func() { r.serve(in) })
	}
}

func (r *relay) serve(in net.Conn) {
	r.keep(in)
	defer r.drop(in)
	out, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	r.keep(out)
	defer r.drop(out)
	var wg sync.WaitGroup
	wg.Go(func() { defer in.Close(); r.pass(in, out) })
	r.pass(out, in)
	out.Close()
	wg.Wait()
}

// pass copies until an end, or swallows once frozen.
func (r *relay) pass(to io.Writer, from io.Reader) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		select {
		case <-r.frozen:
		default:
			_, _ = to.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

func (r *relay) keep(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut {
		c.Close()
	}
	r.conns[c] = true
}

func (r *relay) drop(c net.Conn) {
	c.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}
