package lab

import (
	"io"
	"net"
	"testing"

	"github.com/pgvip/pgvip/internal/freeport"
)

// TestLink: what goes in comes out at the target; a cut ends it and refuses
// more, until the link is restored.
func TestLink(t *testing.T) {
	t.Parallel()
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	go echo(target)
	free, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLink(free, target.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()

	conn, err := net.Dial("tcp", l.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers(t, conn)
	l.Cut()
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes through a cut link", n)
	}
	if c, err := net.Dial("tcp", l.Addr); err == nil {
		c.Close()
		t.Error("a cut link takes a connection")
	}
	if err := l.Restore(); err != nil {
		t.Fatal(err)
	}
	again, err := net.Dial("tcp", l.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	answers(t, again)
}

// answers sends something and wants it back.
func answers(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := conn.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "ping" {
		t.Errorf("got %q, %v, want ping", got, err)
	}
}

// echo ends with its listener.
func echo(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			io.Copy(conn, conn)
		}()
	}
}
