package proxy

import (
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgvip/pgvip/internal/pgscript"
)

// exhaust takes all descriptors but n from the process until release is called.
func exhaust(t *testing.T, n int) (release func()) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	few := old
	few.Cur = uint64(descriptors(t) + 30) // they need not be numbered without gaps
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few); err != nil {
		t.Fatal(err)
	}
	var taken []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		taken = append(taken, f)
	}
	for range n {
		taken[0].Close()
		taken = taken[1:]
	}
	return func() {
		for _, f := range taken {
			f.Close()
		}
		taken = nil
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
			t.Fatal(err)
		}
	}
}

// dialPatiently connects as soon as there is a descriptor for it: those of the
// clients before come back when pgvip has seen that they have gone.
func dialPatiently(t *testing.T, addr string) *client {
	t.Helper()
	var conn net.Conn
	eventually(t, "a descriptor comes back", func() bool {
		var err error
		conn, err = net.Dial("tcp", addr)
		return err == nil
	})
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &client{t: t, conn: conn, in: pgproto3.NewFrontend(conn, conn)}
}

// TestNoDescriptorLeft: those who come are told so, those who are there go on, and
// afterwards all is as before (rule 15).
func TestNoDescriptorLeft(t *testing.T) {
	s := newSite(t, plan{})
	there := login(t, s.primary)
	there.exec("SELECT 1")
	// For the client's end of two connections, and pgvip's of the first.
	release := exhaust(t, 3)
	defer release()
	for range 2 { // the spare descriptor comes back
		first := dialPatiently(t, s.primary)
		eventually(t, "the first has been accepted", func() bool { return s.proxy.Clients() == 2 })
		second := dialPatiently(t, s.primary)
		second.send(pgscript.SSLRequest())
		if got := second.fatal(); got != "53300" {
			t.Errorf("SQLSTATE %s, want 53300", got)
		}
		second.conn.Close()
		first.conn.Close()
		eventually(t, "the first has gone", func() bool { return s.proxy.Clients() == 1 })
	}
	if got := there.value("SELECT 2"); got != "2" {
		t.Errorf("the client that was there gets %q", got)
	}
	if n := s.proxy.counters.TurnedAway.Load(); n == 0 {
		t.Error("nobody is counted")
	}
	release()
	login(t, s.primary).leave()
	n := 0
	for _, entry := range s.logs.All() {
		if entry.Message == "accept" {
			n++
		}
	}
	if n == 0 || n > 2 {
		t.Errorf("%d lines about it in the log, want one each time", n)
	}
}
