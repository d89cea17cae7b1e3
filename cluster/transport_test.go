package cluster

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// memberlist v0.7.0 loses a connection to which it cannot write its label.
func TestShutdownEndsConnectionsThatAreLost(t *testing.T) {
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	tr, err := newTransport(netip.MustParseAddrPort("127.0.0.1:0"), func(netip.Addr) bool { return true }, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.DialAddressTimeout(memberlist.Address{Addr: peer.Addr().String()}, time.Minute); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- tr.Shutdown() }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("Shutdown waits for a connection that nobody has")
	}
}
