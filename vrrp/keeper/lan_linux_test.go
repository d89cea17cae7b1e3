package keeper

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/pgvip/pgvip/internal/lab"
)

// vip is the address of all tests.
var vip = netip.MustParsePrefix("10.77.0.100/32")

// lan is two bridges with nodes on both: one for the address and the nodes'
// heartbeats, and one to etcd. Each node is a network namespace.
type lan struct {
	t     *testing.T
	name  string // of the namespace of the bridges, and the beginning of the nodes'
	nodes []*netNode
}

// netNode is a node's namespace.
type netNode struct {
	lan    *lan
	i      int // from 1
	ns     string
	handle *netlink.Handle
	sock   netns.NsHandle
}

// etcdAddr is where the namespace of the bridges is on the second one.
const etcdAddr = "10.78.0.254"

func checkNetwork() error {
	if os.Getuid() != 0 {
		return fmt.Errorf("%w: network namespaces need root", lab.ErrMissing)
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return fmt.Errorf("%w: iproute2", lab.ErrMissing)
	}
	return nil
}

func newLAN(t *testing.T, nodes int) *lan {
	t.Helper()
	lab.Require(t, checkNetwork)
	l := &lan{t: t, name: fmt.Sprintf("pgvk%d", os.Getpid())}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", l.name).Run() }) // with all that is in it
	l.ip("netns", "add", l.name)
	for _, br := range []string{"br0", "br1"} {
		l.in(l.name, "ip", "link", "add", br, "type", "bridge", "forward_delay", "0")
		l.in(l.name, "ip", "link", "set", br, "up")
	}
	l.in(l.name, "ip", "addr", "add", etcdAddr+"/24", "dev", "br1")
	l.in(l.name, "ip", "link", "set", "lo", "up")
	for i := range nodes {
		l.add(i + 1)
	}
	return l
}

func (l *lan) add(i int) {
	l.t.Helper()
	n := &netNode{lan: l, i: i, ns: fmt.Sprintf("%sn%d", l.name, i)}
	l.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", n.ns).Run() })
	l.ip("netns", "add", n.ns)
	for b := range 2 {
		port, dev := fmt.Sprintf("p%d%d", b, i), fmt.Sprintf("eth%d", b)
		l.in(l.name, "ip", "link", "add", port, "type", "veth", "peer", "name", dev, "netns", n.ns)
		l.in(l.name, "ip", "link", "set", port, "master", fmt.Sprintf("br%d", b), "up")
		l.in(n.ns, "ip", "addr", "add", fmt.Sprintf("10.%d.0.%d/24", 77+b, i), "dev", dev)
		l.in(n.ns, "ip", "link", "set", dev, "up")
	}
	l.in(n.ns, "ip", "link", "set", "lo", "up")
	var err error
	if n.sock, err = netns.GetFromName(n.ns); err != nil {
		l.t.Fatal(err)
	}
	if n.handle, err = netlink.NewHandleAt(n.sock); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		n.handle.Close()
		n.sock.Close()
	})
	l.nodes = append(l.nodes, n)
}

func (l *lan) ip(args ...string) {
	l.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// in runs a command in a namespace.
func (l *lan) in(ns string, args ...string) {
	l.t.Helper()
	l.ip(append([]string{"netns", "exec", ns}, args...)...)
}

// port sets the bridge's end of a node's link: cut from others, or not.
func (n *netNode) port(bridge int, state string) {
	n.lan.t.Helper()
	n.lan.in(n.lan.name, "ip", "link", "set", fmt.Sprintf("p%d%d", bridge, n.i), state)
}

// unplug takes a node off a bridge, or puts it back; its link stays up.
func (n *netNode) unplug(bridge int, off bool) {
	n.lan.t.Helper()
	args := []string{"ip", "link", "set", fmt.Sprintf("p%d%d", bridge, n.i)}
	if off {
		args = append(args, "nomaster")
	} else {
		args = append(args, "master", fmt.Sprintf("br%d", bridge))
	}
	n.lan.in(n.lan.name, args...)
}

// isolate keeps the nodes from each other on the first bridge, or no longer.
func (l *lan) isolate(on bool) {
	l.t.Helper()
	state := map[bool]string{true: "on", false: "off"}[on]
	for _, n := range l.nodes {
		l.in(l.name, "bridge", "link", "set", "dev", fmt.Sprintf("p0%d", n.i), "isolated", state)
	}
}

// has reports whether the address is on the node.
func (n *netNode) has(t *testing.T) bool {
	t.Helper()
	list, err := n.handle.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		t.Error(err)
	}
	for _, a := range list {
		if a.IP.Equal(vip.Addr().AsSlice()) {
			return true
		}
	}
	return false
}

// sampler looks at who has the address, all the time.
type sampler struct {
	t     *testing.T
	lan   *lan
	stop  chan struct{} // closed by the test's end
	wg    sync.WaitGroup
	mu    sync.Mutex
	since []time.Time // guarded by mu; of each node, since when it has the address; zero: it has not
	lost  []time.Time // guarded by mu; when it had it last
	dual  int         // guarded by mu; moments with two owners
}

func (l *lan) watch() *sampler {
	s := &sampler{t: l.t, lan: l, stop: make(chan struct{}), since: make([]time.Time, len(l.nodes)), lost: make([]time.Time, len(l.nodes))}
	s.wg.Go(s.run)
	l.t.Cleanup(func() {
		close(s.stop)
		s.wg.Wait()
	})
	return s
}

func (s *sampler) run() {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		s.look()
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
	}
}

func (s *sampler) look() {
	have := make([]bool, len(s.lan.nodes))
	for i, n := range s.lan.nodes {
		have[i] = n.has(s.t)
	}
	dual := false
	for i := range have {
		for j := i + 1; j < len(have); j++ {
			// j had it after i was looked at; if i still has, both had at once.
			dual = dual || have[i] && have[j] && s.lan.nodes[i].has(s.t)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if dual {
		s.dual++
	}
	for i, h := range have {
		switch {
		case h && s.since[i].IsZero():
			s.since[i] = now
		case !h && !s.since[i].IsZero():
			s.since[i], s.lost[i] = time.Time{}, now
		}
	}
}

// owner waits until exactly this node has the address, and returns since when.
func (s *sampler) owner(n int) time.Time {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		s.mu.Lock()
		alone, since := true, s.since[n-1]
		for i, t := range s.since {
			alone = alone && (i == n-1) == !t.IsZero()
		}
		s.mu.Unlock()
		if alone {
			return since
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("node %d does not have the address alone: %v", n, s.since)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// left waits until a node does not have the address any more, and returns since when.
func (s *sampler) left(n int, after time.Time) time.Time {
	s.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		s.mu.Lock()
		lost := s.lost[n-1]
		s.mu.Unlock()
		if lost.After(after) {
			return lost
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("node %d still has the address", n)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// never checks that there were not two owners so far.
func (s *sampler) never() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dual > 0 {
		s.t.Errorf("two nodes had the address in %d samples", s.dual)
	}
}
