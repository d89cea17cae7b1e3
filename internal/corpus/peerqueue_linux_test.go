package corpus

import (
	"io"
	"net"
	"testing"
	"time"
)

// TestPeerQueueSeesWhatIsUnread: without this a "split" could be no split.
func TestPeerQueueSeesWhatIsUnread(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	queue, err := newPeerQueue(client.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	defer queue.close()

	check := func(when string, want uint32) {
		t.Helper()
		if got, err := queue.unread(); err != nil || got != want {
			t.Errorf("%s: %d bytes unread, %v, want %d", when, got, err, want)
		}
	}
	check("at first", 0)
	if _, err := client.Write([]byte("seven b")); err != nil {
		t.Fatal(err)
	}
	check("after a write", 7)
	start := time.Now()
	if err := queue.awaitRead(); err != nil || time.Since(start) < awaitLimit {
		t.Errorf("awaitRead ended after %v with %v, though nobody has read", time.Since(start), err)
	}
	if _, err := io.ReadFull(peer, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	check("after a partial read", 3)
	peer.Close()
	check("after the peer's close", 0)
}
