package proxy

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/sys/unix"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/route"
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

// TestNothingSpinsWithoutDescriptors: without a descriptor pgvip costs next to no
// processor time, whether nobody comes or many do, and no node is blamed for a
// server that could not be connected to: its client waits until there is one.
func TestNothingSpinsWithoutDescriptors(t *testing.T) {
	var seen atomic.Int64
	s := newSite(t, plan{pool: poolSize(2), observe: func(o route.Observation) {
		if o.Err != nil {
			seen.Add(1)
		}
	}})
	holder, waiter := login(t, s.primary), login(t, s.primary)
	holder.exec("BEGIN")
	knocking := sockets(t, 20) // they need none later
	release := exhaust(t, 0)
	defer release()
	waiter.send(pgscript.Query("SELECT 'there was one'"))
	eventually(t, "a server cannot be connected to", func() bool { return s.pools.Counters().LoginFailures.Load() > 0 })
	const watch, most = 2 * time.Second, 0.1
	runtime.GC()
	idle := processorTime(t, watch, func() {})
	busy := processorTime(t, watch, func() {
		for _, fd := range knocking {
			unix.Connect(fd, sockaddr(t, s.primary)) // EINPROGRESS
		}
	})
	t.Logf("of a processor: %.4f while nobody comes, %.4f while %d do", idle, busy, len(knocking))
	if idle > most || busy > most {
		t.Errorf("%.3f and %.3f of a processor are used, want less than %.2f", idle, busy, most)
	}
	if s.proxy.counters.TurnedAway.Load() == 0 {
		t.Error("nobody was turned away: this tests nothing")
	}
	holder.exec("SELECT 1")
	release()
	if r := waiter.answer(); r.err != nil || len(r.rows) != 1 {
		t.Errorf("who had to wait gets %q %v", r.types, r.err)
	}
	if n := seen.Load(); n != 0 {
		t.Errorf("%d observations against a node", n)
	}
	holder.exec("COMMIT")
}

// sockets makes sockets that can be connected without a further descriptor.
func sockets(t *testing.T, n int) []int {
	t.Helper()
	var list []int
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		list = append(list, fd)
	}
	return list
}

func sockaddr(t *testing.T, addr string) unix.Sockaddr {
	t.Helper()
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

// processorTime is the share of one processor that this process uses for a while
// after do.
func processorTime(t *testing.T, d time.Duration, do func()) float64 {
	t.Helper()
	used := func() time.Duration {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before, start := used(), time.Now()
	do()
	<-time.After(d)
	return float64(used()-before) / float64(time.Since(start))
}
