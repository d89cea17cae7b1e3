package proxy

import (
	"crypto/tls"
	"testing"

	"github.com/pgvip/pgvip/internal/certs"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
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

// TestErrorsWithoutSQLSTATE: a server's error that says nothing is its client's as any
// other, at the login too; where we have asked it costs the server (CVE-2026-6666).
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
			if err == nil || code(err) != "" {
				t.Errorf("login: %v, want the bare error", err)
			}
			c.gone()
		})
	}
}
