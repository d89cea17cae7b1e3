package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/csv"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/internal/certs"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/tlsconf"
)

// TestPortChecksInTLS: who only looks whether there is TLS leaves no trace either,
// however it goes.
func TestPortChecksInTLS(t *testing.T) {
	s := newSite(t, secured(t, certs.Write(t, "x"), tlsconf.Prefer))
	asks := func() *client {
		c := dialTo(t, s.primary)
		c.send(sslRequest)
		c.wants(t, 'S')
		return c
	}
	directly := func() *client {
		c := dialTo(t, s.primary)
		if err := c.encrypt(&tls.Config{NextProtos: []string{tlsconf.Protocol}}); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for name, reaches := range map[string]func() *client{
		"before the handshake":        asks,
		"after the handshake":         func() *client { return dialTLS(t, s.primary, new(tls.Config)) },
		"after a handshake at once":   directly,
		"in front of authentication":  func() *client { c := directly(); c.send(trusted()); return c },
		"in the middle of its record": func() *client { c := asks(); c.send([]byte{recordHandshake, 3}); return c },
	} {
		t.Run(name, func(t *testing.T) {
			reaches().reset()
			if name != "in the middle of its record" { // that end is an error, as inside any message
				reaches().socket.Close()
				reaches().conn.Close()
			}
			eventually(t, "checks have been served", func() bool { return s.proxy.Clients() == 0 })
			for _, entry := range s.logs.All() {
				if entry.Message != "session ended" && entry.Message != "login" {
					t.Errorf("log: %s %v", entry.Message, entry.ContextMap())
				}
			}
			if n := s.proxy.counters.LoginsFailed.Load(); n != 0 {
				t.Errorf("failed logins = %d, want 0", n)
			}
		})
	}
}

// TestPgIsReady: pg_isready is content, and leaves no trace where it is asked for a
// password, which it has none of; where it is let in, that of a login.
func TestPgIsReady(t *testing.T) {
	for name, method := range map[string]auth.Method{"scram": auth.SCRAM, "md5": auth.MD5, "password": auth.Password, "trust": auth.Trust} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, plan{users: passThrough(t) + "\n\"app_trust\" \"\"", proxy: func(set *Settings) { set.AuthMethod = method }})
			users := []string{lab.TrustUser}
			if method != auth.Trust {
				users = []string{lab.AppUser, "nobody"}
			}
			for _, user := range users {
				host, port, _ := net.SplitHostPort(s.primary)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				out, err := exec.CommandContext(ctx, "pg_isready", "-h", host, "-p", port, "-d", lab.AppDatabase, "-U", user).CombinedOutput()
				if err != nil || !strings.Contains(string(out), "accepting connections") {
					t.Errorf("user %s: %q, %v", user, out, err)
				}
			}
			s.untroubled(method == auth.Trust)
		})
	}
}

// TestHAProxyCheck: HAProxy's "option pgsql-check" sends a startup packet, looks at
// the first answer and resets the connection.
func TestHAProxyCheck(t *testing.T) {
	for name, method := range map[string]auth.Method{"md5": auth.MD5, "password": auth.Password, "trust": auth.Trust} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, plan{users: `"app" "` + lab.AppPassword + `"`, proxy: func(set *Settings) { set.AuthMethod = method }})
			l := &countingListener{Listener: listen(t)}
			s.proxy.Serve(l, route.Primary)
			dir := t.TempDir()
			config := "global\n stats socket " + dir + "/stats\n" +
				"defaults\n mode tcp\n timeout connect 10s\n timeout client 10s\n timeout server 10s\n timeout check 10s\n" +
				"backend pgvip\n option pgsql-check user " + lab.AppUser + "\n server one " + l.Addr().String() + " check inter 20ms fall 1 rise 1\n"
			if err := os.WriteFile(dir+"/haproxy.cfg", []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("haproxy", "-db", "-f", dir+"/haproxy.cfg")
			var said strings.Builder
			cmd.Stdout, cmd.Stderr = &said, &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "some checks have been made", func() bool { return checked(dir+"/stats") == "L7OK" && l.accepted.Load() > 5 })
			cmd.Process.Kill()
			cmd.Wait()
			if strings.Contains(said.String(), "DOWN") {
				t.Errorf("HAProxy says %s", said.String())
			}
			s.untroubled(method == auth.Trust)
		})
	}
}

// countingListener counts the connections that it has accepted.
type countingListener struct {
	net.Listener
	accepted atomic.Int64
}

// Accept implements net.Listener.
func (l *countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return conn, err
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// checked is what HAProxy's last check of its only server has found.
func checked(socket string) string {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err.Error() // it is starting
	}
	defer conn.Close()
	io.WriteString(conn, "show stat -1 4 -1\n")
	all, _ := io.ReadAll(conn)
	rows, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(bytes.TrimSpace(all), []byte("# ")))).ReadAll()
	if err != nil || len(rows) < 2 {
		return string(all)
	}
	return rows[1][slices.Index(rows[0], "check_status")]
}

// untroubled reports what checks of the port have left behind: nothing, or for those
// that have logged in the lines of sessions.
func (s *site) untroubled(sessions bool) {
	s.t.Helper()
	eventually(s.t, "checks have been served", func() bool { return s.proxy.Clients() == 0 })
	if n := s.proxy.counters.LoginsFailed.Load(); n != 0 {
		s.t.Errorf("failed logins = %d, want 0", n)
	}
	for _, entry := range s.logs.All() {
		if !sessions || entry.Message != "session ended" && entry.Message != "login" {
			s.t.Errorf("log: %s %v", entry.Message, entry.ContextMap())
		}
	}
}

// TestErrorsWithoutSQLSTATE: a server's error that says nothing is its client's as any
// other, and at a login it is given a code; where we have asked it costs the server
// (CVE-2026-6666).
func TestErrorsWithoutSQLSTATE(t *testing.T) {
	bare := pgscript.Message('E', []byte{0})
	ok := pgscript.Send(pgscript.Complete("SELECT 1"), pgscript.Ready('I'))
	t.Run("to a client", func(t *testing.T) {
		s := scripted(t, pgscript.Expect("Q"), pgscript.Send(bare, pgscript.Ready('I')), pgscript.Expect("Q"), ok, pgscript.ExpectGone())
		c := login(t, s.replica)
		if r := c.query("SELECT 1"); r.types != "EZ" || r.state() != "" {
			t.Errorf("got %q %v, want the bare error", r.types, r.err)
		}
		c.exec("SELECT 2")
	})
	t.Run("to the reset query", func(t *testing.T) {
		server := pgscript.ServeEach(t,
			pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("Q"), ok, pgscript.Expect("Q"), pgscript.ExpectBody("DISCARD ALL"),
				pgscript.Send(bare, pgscript.Ready('I')), pgscript.ExpectGone()),
			pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("Q"), pgscript.ExpectBody("SELECT 2"), ok, pgscript.ExpectGone()))
		s := newSite(t, plan{table: table(nil, node("n1", server.Addr))})
		first := login(t, s.replica)
		first.exec("SELECT 1")
		first.leave()
		login(t, s.replica).exec("SELECT 2")
	})
	for name, before := range map[string][]byte{"to a startup packet": nil, "behind AuthenticationOk": pgscript.AuthOK()} {
		t.Run(name, func(t *testing.T) {
			server := pgscript.Serve(t, pgscript.ExpectStartup(), pgscript.Send(before, bare), pgscript.ExpectGone())
			s := newSite(t, plan{table: table(nil, node("n1", server.Addr))})
			c, err := tryLogin(t, s.replica, "user", lab.TrustUser)
			if code(err) != "08P01" || err.(*serverError).Severity != "FATAL" || err.(*serverError).Message == "" {
				t.Errorf("login: %v, want a FATAL 08P01 with a message", err)
			}
			c.gone()
		})
	}
}
