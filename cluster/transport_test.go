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

// TestFailedWriteEndsAConnection: what memberlist loses does not pile up either.
func TestFailedWriteEndsAConnection(t *testing.T) {
	peer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	tr, err := newTransport(netip.MustParseAddrPort("127.0.0.1:0"), func(netip.Addr) bool { return true }, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Shutdown()
	conn, err := tr.DialAddressTimeout(memberlist.Address{Addr: peer.Addr().String()}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetWriteDeadline(time.Now().Add(-time.Second))
	if _, err := conn.Write([]byte("label")); err == nil {
		t.Fatal("written after its time")
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.open) != 0 {
		t.Errorf("%d connections are open", len(tr.open))
	}
}

// TestStreamsOfOnePeerAreBounded: what comes beyond the bound is closed unread, and
// there is room again when others end.
func TestStreamsOfOnePeerAreBounded(t *testing.T) {
	tr, err := newTransport(netip.MustParseAddrPort("127.0.0.1:0"), func(netip.Addr) bool { return true }, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Shutdown()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", tr.tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	var taken []net.Conn
	for range maxStreams {
		dial()
		taken = append(taken, <-tr.streams)
	}
	if _, err := dial().Read(make([]byte, 1)); err == nil || tr.crowded.Load() != 1 {
		t.Errorf("one too many: %v, %d counted", err, tr.crowded.Load())
	}
	taken[0].Close()
	dial()
	<-tr.streams
}
