package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/pgvip/pgvip/config"
)

// lan is two network namespaces on one wire. The test runs on a thread that is in
// the first one, here; what is opened there stays there.
type lan struct {
	t           *testing.T
	here, there netns.NsHandle
}

const (
	vipOfTest = "10.99.0.100"
	ownOfTest = "10.99.0.1"
	farOfTest = "10.99.0.2"
)

func newLAN(t *testing.T) *lan {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, for network namespaces")
	}
	runtime.LockOSThread() // for good: the thread ends with the test
	l := &lan{t: t}
	l.there = l.make()
	l.here = l.make()
	l.must(netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(l.there),
	}))
	l.within(l.there, func() { l.address(farOfTest + "/24") })
	return l
}

// make makes a namespace and enters it.
func (l *lan) make() netns.NsHandle {
	l.t.Helper()
	ns, err := netns.New()
	l.must(err)
	l.t.Cleanup(func() { ns.Close() })
	lo, err := netlink.LinkByName("lo")
	l.must(err)
	l.must(netlink.LinkSetUp(lo))
	return ns
}

func (l *lan) within(ns netns.NsHandle, f func()) {
	l.t.Helper()
	l.must(netns.Set(ns))
	f()
	l.must(netns.Set(l.here))
}

// address adds one, the first of which the kernel prefers.
func (l *lan) address(prefix string) {
	l.t.Helper()
	nic, err := netlink.LinkByName("eth0")
	l.must(err)
	l.must(netlink.LinkSetUp(nic))
	a, err := netlink.ParseAddr(prefix)
	l.must(err)
	l.must(netlink.AddrAdd(nic, a))
}

func (l *lan) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// A virtual address of the same network that came first is what the kernel takes.
func TestConnectionsNeverComeFromTheVirtualIP(t *testing.T) {
	l := newLAN(t)
	l.address(vipOfTest + "/24")
	l.address(ownOfTest + "/24")
	var server net.Listener
	l.within(l.there, func() {
		var err error
		server, err = net.Listen("tcp", farOfTest+":0")
		l.must(err)
	})
	defer server.Close()
	c := &config.Config{}
	c.VIP.Interface, c.VIP.Addresses = "eth0", []netip.Prefix{netip.MustParsePrefix(vipOfTest + "/24")}
	for name, open := range map[string]func(context.Context, string, string) (net.Conn, error){
		vipOfTest: (&net.Dialer{}).DialContext, // or this would be no test
		ownOfTest: newOwnDialer(c).DialContext,
	} {
		conn, err := open(t.Context(), "tcp", server.Addr().String())
		l.must(err)
		defer conn.Close()
		if from := conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr().String(); from != name {
			t.Errorf("connected from %s, want %s", from, name)
		}
	}
}

func TestOwnAddressIsBoundBeforeTheVirtualIPArrives(t *testing.T) {
	l := newLAN(t)
	l.address(ownOfTest + "/24")
	c := &config.Config{}
	c.VIP.Interface, c.VIP.Addresses = "eth0", []netip.Prefix{netip.MustParsePrefix(vipOfTest + "/32")}
	d := newOwnDialer(c)
	if from := d.source(netip.MustParseAddrPort(farOfTest + ":5432")); from.String() != ownOfTest {
		t.Errorf("source is %s, want %s", from, ownOfTest)
	}
	if from := d.source(netip.MustParseAddrPort("127.0.0.1:5432")); from.String() != "127.0.0.1" {
		t.Errorf("source for the loopback is %s", from)
	}
	if from := d.source(netip.MustParseAddrPort("192.0.2.1:5432")); from.IsValid() {
		t.Errorf("source for what no route leads to is %s", from)
	}
}

func TestConfiguredAddressComesFirst(t *testing.T) {
	l := newLAN(t)
	for _, a := range []string{vipOfTest, ownOfTest, "10.99.0.7"} {
		l.address(a + "/24")
	}
	c := &config.Config{}
	c.VIP.Interface, c.VIP.Addresses = "eth0", []netip.Prefix{netip.MustParsePrefix(vipOfTest + "/24")}
	c.Cluster.Address = config.Address{Host: "10.99.0.7", Port: 7946}
	if from := newOwnDialer(c).source(netip.MustParseAddrPort(farOfTest + ":5432")); from.String() != "10.99.0.7" {
		t.Errorf("source is %s, want that of cluster.address", from)
	}
}

// The node that stands by listens on the virtual IP too.
func TestListensOnTheVirtualIPBeforeItIsHere(t *testing.T) {
	l := newLAN(t)
	l.address(ownOfTest + "/24")
	c := config.Default()
	if _, err := listenTCP(c, vipOfTest+":5000"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Fatalf("without a virtual IP: %v, want %v", err, syscall.EADDRNOTAVAIL)
	}
	c.VIP.Interface, c.VIP.Addresses = "eth0", []netip.Prefix{netip.MustParsePrefix(vipOfTest + "/32")}
	listener, err := listenTCP(c, vipOfTest+":5000")
	l.must(err)
	defer listener.Close()
	l.address(vipOfTest + "/32")
	conn, err := net.Dial("tcp", vipOfTest+":5000")
	l.must(err)
	conn.Close()
}
