package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// vipNode is a pgvip with a virtual IP in a namespace of its own.
type vipNode struct {
	*child
	lan      *lan
	ns       netns.NsHandle
	file     string
	notified string // what notify was called with
}

// vipSettings are what all nodes of these tests have. There is no PostgreSQL: a
// node is ready when it knows that.
const vipSettings = `scope: demo
auth_type: trust
auth_file: users.txt
probe: {user: x, password: y, downinter: 100ms}
drain_timeout: 5s
vip:
  interface: eth0
  addresses: [` + vipOfTest + `]
  startup_delay: 0s
  notify: %s
  priority: %d
  arbiter: %s
cluster:
  name: lb%d
  address: 10.99.0.%d:7946
  keys: MDEyMzQ1Njc4OWFiY2RlZg==
  peers: {lb%d: {address: "10.99.0.%d:7946"}}
`

// node starts number 1 here or number 2 there.
func (l *lan) node(n, priority int, arbiter, source string) *vipNode {
	l.t.Helper()
	v := &vipNode{lan: l, ns: []netns.NsHandle{l.here, l.there}[n-1]}
	other := 3 - n
	dir := l.t.TempDir()
	v.notified = filepath.Join(dir, "notified")
	v.file = filepath.Join(dir, "pgvip.yaml")
	// Programs run as root here, and have the group of the test's folders.
	notify := program(l.t, `echo "$3" >>`+v.notified)[0]
	text := fmt.Sprintf(vipSettings, notify, priority, arbiter, n, n, other, other) + source
	l.must(os.WriteFile(v.file, []byte(text), 0o600))
	l.must(os.WriteFile(filepath.Join(dir, "users.txt"), []byte("\"a\" \"b\"\n"), 0o600))
	l.within(v.ns, func() { v.child = startChild(l.t, v.file, "") })
	return v
}

// listSource makes a node ready as soon as its one server has refused.
const listSource = "source: static\nstatic: {servers: {pg1: {address: '127.0.0.1:1'}}}\n"

// has reports whether the virtual IP is on the node's interface.
func (v *vipNode) has() (has bool) {
	v.t.Helper()
	v.lan.within(v.ns, func() {
		nic, err := netlink.LinkByName("eth0")
		v.lan.must(err)
		list, err := netlink.AddrList(nic, netlink.FAMILY_V4)
		v.lan.must(err)
		for _, a := range list {
			has = has || a.IP.Equal(net.ParseIP(vipOfTest))
		}
	})
	return has
}

// until waits for a state of things.
func (v *vipNode) until(what string, done func() bool) {
	v.t.Helper()
	for end := time.Now().Add(childLimit); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			v.t.Fatalf("waiting for %s", what)
		}
	}
}

// keeper gives the process of the node's keeper, 0 without one.
func (v *vipNode) keeper() (pid int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", v.cmd.Process.Pid))
	for _, t := range tasks {
		children, _ := os.ReadFile(t)
		for _, c := range strings.Fields(string(children)) {
			line, _ := os.ReadFile("/proc/" + c + "/cmdline")
			if strings.HasSuffix(string(line), "\x00keeper\x00") {
				fmt.Sscan(c, &pid)
			}
		}
	}
	return pid
}

func newVIPPair(t *testing.T, arbiter, source string) (one, two *vipNode) {
	t.Helper()
	l := newLAN(t)
	l.address(ownOfTest + "/24")
	one = l.node(1, 150, arbiter, source)
	one.until("the first node to have the address", one.has)
	return one, l.node(2, 100, arbiter, source)
}

func TestVirtualIPIsForNodesThatAreReady(t *testing.T) {
	l := newLAN(t)
	l.address(ownOfTest + "/24")
	one := l.node(1, 150, "none", "etcd: {hosts: ['127.0.0.1:1']}\n")
	one.says("not ready: the cluster is not known yet")
	for range 50 { // several times as long as an election takes
		if one.has() {
			t.Fatal("a node that knows no cluster has the address")
		}
		time.Sleep(20 * time.Millisecond)
	}
	one.signal(syscall.SIGTERM)
	one.ends(codeFine)
}

func TestStopHandsTheVirtualIPOver(t *testing.T) {
	one, two := newVIPPair(t, "none", listSource)
	two.says("BACKUP")
	one.signal(syscall.SIGTERM)
	two.until("the second node to have the address", two.has)
	one.ends(codeFine)
	one.wants("virtual IP: handed over")
	if one.has() {
		t.Error("the node that has stopped has the address")
	}
	states, err := os.ReadFile(one.notified)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(string(states)); len(got) < 3 || got[len(got)-2] != "MASTER" || got[len(got)-1] != "STOP" {
		t.Errorf("notify was called for %q, want MASTER and STOP in the end", got)
	}
	two.signal(syscall.SIGTERM)
	two.ends(codeFine)
}

// A keeper that does not answer is replaced by one that can leave.
func TestStopWithAFrozenKeeperEnds(t *testing.T) {
	one, two := newVIPPair(t, "none", listSource)
	two.says("BACKUP")
	if err := syscall.Kill(one.keeper(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	one.signal(syscall.SIGTERM)
	one.ends(codeFine)
	if one.has() {
		t.Error("the node that has stopped has the address")
	}
	two.until("the second node to have the address", two.has)
}

// One of a machine, by its network namespace.
func TestOnePgvipHasAVirtualIP(t *testing.T) {
	one, _ := newVIPPair(t, "none", listSource)
	var out []byte
	one.lan.within(one.lan.here, func() {
		self, err := os.Executable()
		one.lan.must(err)
		release := exec.Command(self, "vip", "release", "-c", one.file)
		release.Env = append(os.Environ(), asPgvip+"=1")
		out, err = release.CombinedOutput()
		if err == nil {
			t.Error("release ends well beside a pgvip that runs")
		}
	})
	if !strings.Contains(string(out), "a pgvip runs on this machine") || !one.has() {
		t.Errorf("release says %q, and the address is there: %t", out, one.has())
	}
	// Killed with its keeper frozen, nobody removes the address but the kernel, later.
	keeper := one.keeper()
	one.lan.must(syscall.Kill(keeper, syscall.SIGSTOP))
	one.signal(syscall.SIGKILL)
	one.ends(-1)
	one.lan.within(one.lan.here, func() {
		self, err := os.Executable()
		one.lan.must(err)
		release := exec.Command(self, "vip", "release", "-c", one.file)
		release.Env = append(os.Environ(), asPgvip+"=1")
		if out, err := release.CombinedOutput(); err != nil {
			t.Errorf("release: %v: %s", err, out)
		}
	})
	if one.has() {
		t.Error("after release the address is there")
	}
	one.lan.must(syscall.Kill(keeper, syscall.SIGKILL))
}

// startEtcd runs one in the second namespace.
func (l *lan) startEtcd() (source string) {
	l.t.Helper()
	url := "http://" + farOfTest
	var cmd *exec.Cmd
	l.within(l.there, func() {
		cmd = exec.Command("etcd", "--data-dir", l.t.TempDir(), "--listen-client-urls", url+":2379",
			"--advertise-client-urls", url+":2379", "--listen-peer-urls", url+":2380", "--log-level", "error",
			"--initial-advertise-peer-urls", url+":2380", "--initial-cluster", "default="+url+":2380")
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		l.must(cmd.Start())
	})
	l.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return listSource + "etcd: {hosts: ['" + farOfTest + ":2379']}\n"
}

// The arbiter knows that the address is this process's, whichever keeper holds it.
func TestAnotherKeeperKeepsTheAddress(t *testing.T) {
	l := newLAN(t)
	l.address(ownOfTest + "/24")
	source := l.startEtcd()
	one := l.node(1, 150, "etcd", source)
	two := l.node(2, 100, "etcd", source)
	one.until("an owner", func() bool { return one.has() || two.has() })
	if two.has() {
		one, two = two, one
	}
	two.says("BACKUP")
	one.says("ACTIVE")
	changes := make(chan netlink.AddrUpdate, 100)
	done := make(chan struct{})
	defer close(done)
	l.within(one.ns, func() { l.must(netlink.AddrSubscribe(changes, done)) })

	first := one.keeper()
	l.must(syscall.Kill(first, syscall.SIGKILL))
	one.until("another keeper", func() bool { k := one.keeper(); return k != 0 && k != first })
	second := one.keeper()
	text, err := os.ReadFile(one.file)
	l.must(err)
	l.must(os.WriteFile(one.file, []byte(strings.Replace(string(text), "startup_delay: 0s", "startup_delay: 1s", 1)), 0o600))
	one.signal(syscall.SIGHUP)
	one.says("another configuration")
	one.until("a third keeper", func() bool { k := one.keeper(); return k != 0 && k != second })

	for range 150 { // longer than an address lives that nobody refreshes
		time.Sleep(25 * time.Millisecond)
		if two.has() {
			t.Fatal("the address has moved")
		}
	}
	for len(changes) > 0 {
		if c := <-changes; !c.NewAddr && c.LinkAddress.IP.Equal(net.ParseIP(vipOfTest)) {
			t.Error("the address was removed")
		}
	}
	if !one.has() {
		t.Error("the address is gone")
	}
	one.signal(syscall.SIGTERM)
	two.until("the second node to have the address", two.has)
	one.ends(codeFine)
}
