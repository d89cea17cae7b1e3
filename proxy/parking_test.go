package proxy

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
)

// TestTooManyWait: failover_wait_max_clients bounds those who wait for a primary,
// logged in or not; who waits goes on.
func TestTooManyWait(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{pool: poolSize(4), proxy: func(set *Settings) { set.FailoverWaitMaxClients = 2 }})
	first, second, third := login(t, s.primary), login(t, s.primary), login(t, s.primary)
	s.proxy.SetTable(table(nil))
	first.send(pgscript.Query("SELECT 1"))
	eventually(t, "parked", func() bool { return s.proxy.counters.Parked.Load() == 1 })

	// A login with parameters that nobody has used yet needs a server's welcome.
	stranger := make(chan error, 1)
	late := loginLater(t, s.primary, stranger, "search_path", "a")
	eventually(t, "the login waits", func() bool { return s.proxy.counters.LoginsParked.Load() == 1 })
	second.send(pgscript.Query("SELECT 1"))
	r := second.answer()
	if r.state() != "53300" || !strings.Contains(r.err.Hint, "failover_wait_max_clients") {
		t.Errorf("one client too many: %+v, want 53300 and the setting", r.err)
	}
	if _, err := tryLogin(t, s.primary, "search_path", "b"); code(err) != "53300" || !strings.Contains(err.Error(), "failover_wait_max_clients") {
		t.Errorf("one login too many: %v, want 53300 and the setting", err)
	}
	s.proxy.SetTable(table(node("n1", pg.Addr)))
	if r := first.answer(); r.err != nil || r.rows[0] != "1" {
		t.Errorf("who waited got %+v", r.err)
	}
	if err := <-stranger; err != nil {
		t.Errorf("the login that waited: %v", err)
	}
	late.exec("SELECT 1")
	third.exec("SELECT 1")
	if n := s.proxy.counters.ParkedRefused.Load(); n != 2 {
		t.Errorf("refused %d, want 2", n)
	}
}

// loginLater logs in on a goroutine; the outcome goes to done.
func loginLater(t *testing.T, addr string, done chan<- error, more ...string) *client {
	t.Helper()
	c := reach(t, addr)
	c.send(pgscript.Startup(append([]string{"user", lab.TrustUser, "database", lab.AppDatabase}, more...)...))
	go func() { done <- c.welcomed() }()
	return c
}

// TestTooMuchWaits: failover_wait_max_bytes counts what is held for clients that
// wait, and ends the one that goes beyond it.
func TestTooMuchWaits(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{pool: poolSize(4), proxy: func(set *Settings) { set.FailoverWaitMaxBytes = 20 << 10 }})
	small, large := login(t, s.primary), login(t, s.primary)
	s.proxy.SetTable(table(nil))
	small.send(pgscript.Query("SELECT 1"))
	eventually(t, "parked", func() bool { return s.proxy.counters.ParkedBytes.Load() > 0 })
	large.send(pgscript.Query("SELECT '" + strings.Repeat("x", 30<<10) + "'"))
	r := large.answer()
	if r.state() != "53200" || !strings.Contains(r.err.Hint, "failover_wait_max_bytes") {
		t.Errorf("too many bytes: %+v, want 53200 and the setting", r.err)
	}
	s.proxy.SetTable(table(node("n1", pg.Addr)))
	if r := small.answer(); r.err != nil || r.rows[0] != "1" {
		t.Errorf("who waited got %+v", r.err)
	}
}

// TestKernelsBytesCount: pgvip takes 64 kB of a waiting client, and the kernel more,
// by how much depends on the segments that they came in: 35 kB have been seen to fill it.
func TestKernelsBytesCount(t *testing.T) {
	s := newSite(t, plan{proxy: func(set *Settings) { set.FailoverWaitMaxBytes = 72 << 10 }})
	c := login(t, s.primary)
	s.proxy.SetTable(table(nil))
	c.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := c.conn.Write(pgscript.Query("SELECT '" + strings.Repeat("x", 8<<20) + "'"))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("the client was left to wait for ever")
	}
	eventually(t, "the client is told to go", func() bool { return s.proxy.counters.ParkedRefused.Load() == 1 })
	eventually(t, "nothing is held any more", func() bool {
		return s.proxy.counters.ParkedBytes.Load() == 0 && s.proxy.Clients() == 0
	})
}
