package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgvip/pgvip/internal/lab"
)

// settleLimit is how long pgvip may take to let go of what clients have left:
// its server_idle_timeout here is one second.
const settleLimit = 15 * time.Second

// receiveQueue is the number of bytes that wait in a socket to be read.
func receiveQueue(t *testing.T, conn net.Conn) int {
	t.Helper()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if e := raw.Control(func(fd uintptr) { n, err = ioctlInq(int(fd)) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	return n
}

// descriptors are the open files of a process.
func descriptors(t *testing.T, pid int) map[string]string {
	t.Helper()
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	open := map[string]string{}
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			open[e.Name()] = target
		}
	}
	return open
}

// goroutines asks a process for its goroutines by SIGQUIT, which ends it, and
// counts them by the function each runs.
func (p *process) goroutines(t *testing.T) map[string]int {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	<-p.done
	_, dump, ok := strings.Cut(p.log.String(), "SIGQUIT: quit")
	if !ok {
		t.Fatalf("no dump of goroutines:\n%s", p.log)
	}
	count := map[string]int{}
	for stack := range strings.SplitSeq(dump, "\n\n") {
		if name, ok := started(stack); ok {
			count[name]++
		}
	}
	if len(count) == 0 {
		t.Fatalf("no goroutine in the dump:\n%s", dump)
	}
	return count
}

// started names the function that a goroutine of the dump began with, and where
// it was created. The runtime's own do not count.
func started(stack string) (name string, ok bool) {
	function := ""
	for line := range strings.Lines(strings.TrimSpace(stack)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "created by runtime."), strings.HasPrefix(line, "created by runtime/"):
			return "", false
		case strings.HasPrefix(line, "created by "):
			by, _, _ := strings.Cut(strings.TrimPrefix(line, "created by "), " in goroutine")
			return function + ", created by " + by, true
		case strings.HasPrefix(line, "runtime.goexit"), strings.HasPrefix(line, "sync.(*WaitGroup).Go"):
		case !strings.HasPrefix(line, "\t"):
			function, _, _ = strings.Cut(line, "({")
			function, _, _ = strings.Cut(function, "(0x")
		}
	}
	return "", false
}

// TestNothingLeaks treats one pgvip badly in every way there is, and then holds
// its descriptors to what they were before and its goroutines to those of a
// pgvip that was left in peace.
func TestNothingLeaks(t *testing.T) {
	peaceful := pgvip(t, 10, settings{"server_idle_timeout": "1s"})
	peaceful.ready(t)
	p := pgvip(t, 11, settings{"server_idle_timeout": "1s", "client_login_timeout": "2s", "default_pool_size": "5"})
	p.ready(t)
	settled := settle(t, p)
	t.Logf("%d descriptors before", settled)
	for name, abuse := range map[string]func(context.Context, *testing.T, string){
		"connects and leaves":         connectAndLeave,
		"sends garbage":               sendGarbage,
		"leaves during login":         leaveDuringLogin,
		"wrong passwords":             wrongPasswords,
		"dies in a query":             dieInAQuery,
		"dies while queued":           dieWhileQueued,
		"dies with a half-read reply": dieWithUnreadReply,
		"cancels at random":           cancelAtRandom,
	} {
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { abuse(t.Context(), t, p.primary) })
		}
		wg.Wait()
		if now := descriptorsDownTo(t, p, settled); now > settled {
			t.Errorf("%s: %d descriptors, %d before; open are %v", name, now, settled, descriptors(t, p.cmd.Process.Pid))
		}
	}
	if err := connectError(t, url(p.primary)); err != nil {
		t.Errorf("after all this: %v", err)
	}
	settle(t, p)
	settle(t, peaceful)
	want, got := peaceful.goroutines(t), p.goroutines(t)
	for name, n := range got {
		if n > want[name] {
			t.Errorf("%d goroutines run %s, %d where nothing happened", n, name, want[name])
		}
	}
}

// descriptorsDownTo waits until a process has at most limit descriptors, and
// returns their number, which is higher when that takes too long.
func descriptorsDownTo(t *testing.T, p *process, limit int) int {
	t.Helper()
	for start := time.Now(); ; <-time.After(20 * time.Millisecond) {
		n := len(descriptors(t, p.cmd.Process.Pid))
		if n <= limit || time.Since(start) > settleLimit {
			return n
		}
	}
}

// settle waits until the number of descriptors has not changed for longer than
// server_idle_timeout, so that no server connection is left, and returns it.
func settle(t *testing.T, p *process) int {
	t.Helper()
	last, since := -1, time.Now()
	for start := time.Now(); time.Since(start) < settleLimit; <-time.After(50 * time.Millisecond) {
		n := len(descriptors(t, p.cmd.Process.Pid))
		if n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) > 1500*time.Millisecond {
			return n
		}
	}
	return last
}

func connectAndLeave(_ context.Context, t *testing.T, addr string) {
	for range 10 {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	}
}

func sendGarbage(_ context.Context, t *testing.T, addr string) {
	for _, garbage := range []string{
		"GET / HTTP/1.1\r\n\r\n",
		"\x00\x00\x00\x00",
		"\xff\xff\xff\xff\x00\x03\x00\x00",
		"\x00\x00\x00\x09\x00\x03\x00\x00\x00",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"\x00\x00\x00\x08\x04\xd2\x16\x2f\x00\x00\x00\x08\x04\xd2\x16\x30\x00\x00\x00\x08\x04\xd2\x16\x2f",
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		conn.Write([]byte(garbage))
		conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		conn.Read(make([]byte, 100))
		conn.Close()
	}
}

// leaveDuringLogin stops at some point of the SCRAM exchange; some wait for the
// login timeout instead of closing.
func leaveDuringLogin(_ context.Context, t *testing.T, addr string) {
	startup := fmt.Sprintf("\x00\x03\x00\x00user\x00%s\x00database\x00%s\x00\x00", lab.AppUser, lab.AppDatabase)
	packet := "\x00\x00\x00" + string(rune(len(startup)+4)) + startup
	for _, part := range []string{packet[:3], packet[:20], packet} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		conn.Write([]byte(part))
		conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		conn.Read(make([]byte, 1000))
		if len(part) == 20 {
			conn.SetReadDeadline(time.Now().Add(settleLimit))
			if _, err := conn.Read(make([]byte, 1)); os.IsTimeout(err) {
				t.Error("a client that never finishes its login is not closed")
			}
		}
		conn.Close()
	}
}

func wrongPasswords(ctx context.Context, t *testing.T, addr string) {
	for range 3 {
		if _, err := pgx.Connect(ctx, strings.Replace(url(addr), lab.AppPassword, "wrong", 1)); err == nil {
			t.Error("a wrong password is accepted")
		}
	}
}

// reset closes a connection so that the peer sees RST, as when a client crashes
// with data unread.
func reset(conn *pgx.Conn) {
	raw, err := conn.PgConn().Hijack()
	if err != nil {
		return
	}
	raw.Conn.(*net.TCPConn).SetLinger(0)
	raw.Conn.Close()
}

func dieInAQuery(ctx context.Context, t *testing.T, addr string) {
	for range 2 {
		conn, err := pgx.Connect(ctx, url(addr))
		if err != nil {
			t.Error(err)
			return
		}
		short, cancel := context.WithTimeout(ctx, 30*time.Millisecond)
		// pgx closes the socket when its context ends.
		conn.Exec(short, "SELECT pg_sleep(0.3)")
		cancel()
		conn.Close(ctx)
	}
}

func dieWhileQueued(ctx context.Context, t *testing.T, addr string) {
	var conns []*pgx.Conn
	for range 2 {
		conn, err := pgx.Connect(ctx, url(addr))
		if err != nil {
			t.Error(err)
			return
		}
		conns = append(conns, conn)
	}
	for _, conn := range conns { // 20 in all ask for 5 servers
		conn.PgConn().Conn().Write([]byte("Q\x00\x00\x00\x0dSELECT 1\x00"))
	}
	for _, conn := range conns {
		reset(conn)
	}
}

func dieWithUnreadReply(ctx context.Context, t *testing.T, addr string) {
	conn, err := pgx.Connect(ctx, url(addr))
	if err != nil {
		t.Error(err)
		return
	}
	query := "SELECT repeat('u', 10000000)"
	conn.PgConn().Conn().Write(append([]byte{'Q', 0, 0, 0, byte(len(query) + 5)}, query+"\x00"...))
	conn.PgConn().Conn().Read(make([]byte, 1000))
	reset(conn)
}

func cancelAtRandom(_ context.Context, t *testing.T, addr string) {
	for i := range uint32(10) {
		if err := cancelRequest(addr, i*7919, i); err != nil {
			t.Error(err)
		}
	}
}
