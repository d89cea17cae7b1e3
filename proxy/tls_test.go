package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/internal/certs"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/tlsconf"
	"github.com/pgvip/pgvip/wire"
)

func accepting(t testing.TB, f certs.Files, mode tlsconf.Mode) *tlsconf.Acceptor {
	t.Helper()
	a, err := tlsconf.Accepting(tlsconf.Options{Mode: mode, CertFile: f.Cert, KeyFile: f.Key, CAFile: f.CA})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func connecting(t testing.TB, o tlsconf.Options) *tlsconf.Connector {
	t.Helper()
	c, err := tlsconf.Connecting(o, false)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// secured is a plan with TLS for clients.
func secured(t testing.TB, f certs.Files, mode tlsconf.Mode) plan {
	a := accepting(t, f, mode)
	return plan{proxy: func(set *Settings) { set.TLS = a }}
}

var (
	sslRequest = (&wire.Startup{Code: wire.SSLRequestCode}).Append(nil)
	gssRequest = (&wire.Startup{Code: wire.GSSENCRequestCode}).Append(nil)
)

func trusted() []byte { return pgscript.Startup("user", lab.TrustUser, "database", lab.AppDatabase) }

// What is asked for once more inside TLS is refused there, and nothing comes in
// from in front of it (CVE-2021-3935).
func TestEncryptionRequestsAndTLS(t *testing.T) {
	s := newSite(t, secured(t, certs.Write(t, "x"), tlsconf.Prefer))
	t.Run("ssl again", func(t *testing.T) {
		c := dialTLS(t, s.primary, new(tls.Config))
		c.send(sslRequest)
		if got := c.fatal(); got != "0A000" {
			t.Errorf("SQLSTATE %s, want 0A000", got)
		}
	})
	t.Run("gss inside", func(t *testing.T) {
		c := dialTLS(t, s.primary, new(tls.Config))
		c.send(gssRequest)
		if got := c.fatal(); got != "0A000" {
			t.Errorf("SQLSTATE %s, want 0A000", got)
		}
	})
	t.Run("gss before", func(t *testing.T) {
		c := dialTo(t, s.primary)
		c.send(gssRequest)
		c.wants(t, 'N')
		c.send(sslRequest)
		c.wants(t, 'S')
		if err := c.encrypt(new(tls.Config)); err != nil {
			t.Fatal(err)
		}
		c.send(trusted())
		if err := c.welcomed(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("bytes behind", func(t *testing.T) {
		c := dialTo(t, s.primary)
		c.send(sslRequest, trusted())
		if got := c.fatal(); got != "08P01" {
			t.Errorf("SQLSTATE %s, want 08P01", got)
		}
	})
	t.Run("no handshake", func(t *testing.T) {
		c := dialTo(t, s.primary)
		c.send(sslRequest)
		c.wants(t, 'S')
		c.send(trusted())
		c.gone()
	})
}

func (c *client) wants(t *testing.T, answer byte) {
	t.Helper()
	var got [1]byte
	if _, err := c.conn.Read(got[:]); err != nil || got[0] != answer {
		t.Fatalf("answer %q, %v; want %q", got, err, answer)
	}
}

// Direct TLS has to agree on the protocol.
func TestDirectTLS(t *testing.T) {
	ours := []string{"postgresql"}
	s := newSite(t, secured(t, certs.Write(t, "x"), tlsconf.Prefer))
	c := dialTo(t, s.primary)
	if err := c.encrypt(&tls.Config{NextProtos: ours}); err != nil {
		t.Fatal(err)
	}
	c.send(trusted(), pgscript.Query("SELECT 1")) // both before the welcome
	if err := c.welcomed(); err != nil {
		t.Fatal(err)
	}
	if r := c.answer(); r.err != nil || !slices.Equal(r.rows, []string{"1"}) {
		t.Errorf("got %+v", r)
	}

	without := dialTo(t, s.primary)
	if err := without.encrypt(new(tls.Config)); err != nil {
		t.Fatal(err)
	}
	if got := without.fatal(); got != "08P01" {
		t.Errorf("without ALPN: SQLSTATE %s, want 08P01", got)
	}
	if err := dialTo(t, s.primary).encrypt(&tls.Config{NextProtos: []string{"h2"}}); err == nil || !strings.Contains(err.Error(), "no application protocol") {
		t.Errorf("a client of another protocol: %v, want that alert", err)
	}
	if err := dialTo(t, s.primary).encrypt(&tls.Config{NextProtos: []string{"h2", "postgresql"}}); err != nil {
		t.Errorf("a client of two protocols: %v", err)
	}
	for name, request := range map[string][]byte{"SSLRequest": sslRequest, "GSSENCRequest": gssRequest} {
		inside := dialTo(t, s.primary)
		if err := inside.encrypt(&tls.Config{NextProtos: ours}); err != nil {
			t.Fatal(err)
		}
		inside.send(request)
		if got := inside.fatal(); got != "0A000" {
			t.Errorf("%s inside: SQLSTATE %s, want 0A000", name, got)
		}
	}
}

func TestDirectTLSWhereThereIsNone(t *testing.T) {
	s := newSite(t, plan{proxy: func(set *Settings) { set.TLS = nil }})
	if err := dialTo(t, s.primary).encrypt(&tls.Config{NextProtos: []string{"postgresql"}}); !errors.Is(err, io.EOF) {
		t.Errorf("handshake: %v, want a clean end", err)
	}
}

// psql, that is libpq, against each client_tls_sslmode. The second word of psql's
// \conninfo says whether it has TLS.
func TestPsqlModes(t *testing.T) {
	files := certs.Write(t, lab.TrustUser)
	cert := " sslcert=" + files.ClientCert + " sslkey=" + files.ClientKey
	const plain, encrypted, refused = "plain", "TLS", "refused"
	for mode, want := range map[tlsconf.Mode]map[string]string{
		tlsconf.Disable: {"disable": plain, "allow": plain, "prefer": plain, "require": refused, "verify-full": refused},
		tlsconf.Allow:   {"disable": plain, "allow": plain, "prefer": encrypted, "require": encrypted, "verify-ca": encrypted, "verify-full": encrypted},
		tlsconf.Require: {"disable": refused, "allow": encrypted, "prefer": encrypted, "verify-full": encrypted},
		// Without its certificate psql is refused, with it is let in.
		tlsconf.VerifyCA:   {"disable": refused, "require": refused, "require" + cert: encrypted, "verify-full" + cert: encrypted},
		tlsconf.VerifyFull: {"prefer": refused, "verify-full" + cert: encrypted},
	} {
		t.Run(mode.String(), func(t *testing.T) {
			s := newSite(t, secured(t, files, mode))
			for client, want := range want {
				if got := psql(t, s.primary, "user="+lab.TrustUser+" sslmode="+client+" sslrootcert="+files.CA); got != want {
					t.Errorf("sslmode=%s: %s, want %s", client, got, want)
				}
			}
		})
	}
}

// psql connects with what conninfo says, runs a query and says how that went.
func psql(t *testing.T, addr, conninfo string) string {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "psql", "-XAtw", "-c", `\conninfo`, "-c", "SELECT 'query ' || 'done'",
		"host="+host+" port="+port+" dbname="+lab.AppDatabase+" "+conninfo)
	cmd.Env = append(cmd.Environ(), "PGPASSWORD="+lab.AppPassword)
	out, err := cmd.CombinedOutput()
	switch text := string(out); {
	case err != nil:
		t.Logf("psql %s: %s", conninfo, text)
		return "refused"
	case strings.Contains(text, "SSL connection"):
		return "TLS"
	}
	return "plain"
}

// SCRAM-SHA-256-PLUS on both legs: psql insists on it, and what it has proved to
// pgvip opens the server, where the proof is bound to another certificate.
func TestChannelBindingOnBothSides(t *testing.T) {
	pg := lab.StartPostgresT(t, lab.PostgresOptions{TLS: true, HBA: []string{"hostnossl all " + lab.AppUser + " 0.0.0.0/0 reject"}})
	verifier, err := pg.SQL(t.Context(), "postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = '"+lab.AppUser+"'")
	if err != nil {
		t.Fatal(err)
	}
	p := secured(t, certs.Write(t, "x"), tlsconf.Prefer)
	tlsOnly := p.proxy
	p.proxy = func(set *Settings) { tlsOnly(set); set.AuthMethod = auth.SCRAM }
	p.users = `"` + lab.AppUser + `" "` + verifier + `"`
	p.table = table(node("n1", pg.Addr))
	servers := connecting(t, tlsconf.Options{Mode: tlsconf.VerifyFull, CAFile: pg.CAFile})
	p.pool = func(set *pool.Settings) { set.TLS = servers }
	s := newSite(t, p)
	for conninfo, want := range map[string]string{
		"channel_binding=require sslmode=require": "TLS",
		"channel_binding=prefer sslmode=require":  "TLS",
		"channel_binding=disable sslmode=require": "TLS",
		"channel_binding=prefer sslmode=disable":  "plain",
	} {
		if got := psql(t, s.primary, "user="+lab.AppUser+" "+conninfo); got != want {
			t.Errorf("%s: %s, want %s", conninfo, got, want)
		}
	}
}

// A certificate whose signature has no hash has no channel binding either.
func TestNoChannelBinding(t *testing.T) {
	authority, err := certs.Ed25519("CA without a hash")
	if err != nil {
		t.Fatal(err)
	}
	files := certs.WriteOf(t, authority, "x")
	p := secured(t, files, tlsconf.Prefer)
	tlsOnly := p.proxy
	p.proxy = func(set *Settings) { tlsOnly(set); set.AuthMethod = auth.SCRAM }
	p.users = passThrough(t)
	s := newSite(t, p)
	if got := psql(t, s.primary, "user="+lab.AppUser+" sslmode=require channel_binding=disable"); got != "TLS" {
		t.Errorf("channel_binding=disable: %s, want TLS", got)
	}
	if got := psql(t, s.primary, "user="+lab.AppUser+" sslmode=require channel_binding=require"); got != "refused" {
		t.Errorf("channel_binding=require: %s", got)
	}
}

// A cancel request is taken in either form, whatever its session has.
func TestCancelInTLSAndPlain(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, secured(t, certs.Write(t, "x"), tlsconf.Require))
	c := dialTLS(t, s.primary, new(tls.Config))
	c.send(trusted())
	if err := c.welcomed(); err != nil {
		t.Fatal(err)
	}
	for name, connect := range map[string]func() *client{
		"TLS":   func() *client { return dialTLS(t, s.primary, new(tls.Config)) },
		"plain": func() *client { return dialTo(t, s.primary) },
	} {
		c.send(pgscript.Query("SELECT pg_sleep(60)"))
		pg.sleeping(t, 1)
		other := connect()
		other.send((&wire.Startup{Code: wire.CancelRequestCode, ProcessID: c.pid, SecretKey: c.key}).Append(nil))
		if raw, err := io.ReadAll(other.socket); err != nil || len(raw) > 0 != (name == "TLS") {
			t.Errorf("%s: the cancel request ends with %x, %v, want close_notify with TLS", name, raw, err)
		}
		if r := c.answer(); r.state() != "57014" {
			t.Errorf("%s: got %+v, want 57014", name, r)
		}
	}
}

// A reload gives new clients the new certificate, and leaves those be that are
// there.
func TestCertificateIsReplaced(t *testing.T) {
	first, second := certs.Write(t, "x"), certs.Write(t, "x")
	p := secured(t, first, tlsconf.Prefer)
	var settings Settings
	before := p.proxy
	p.proxy = func(set *Settings) { before(set); settings = *set }
	s := newSite(t, p)
	seen := func(c *client) string {
		return string(c.conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw)
	}
	old := dialTLS(t, s.primary, new(tls.Config))
	old.send(trusted())
	if err := old.welcomed(); err != nil {
		t.Fatal(err)
	}
	settings.TLS = accepting(t, second, tlsconf.Prefer)
	s.proxy.Apply(settings)
	if seen(dialTLS(t, s.primary, new(tls.Config))) == seen(old) {
		t.Error("the old certificate is still shown")
	}
	if got := old.value("SELECT 1"); got != "1" {
		t.Errorf("the old session: %q", got)
	}
}

// What goes on while a client takes its time with the handshake: others log in,
// though only one handshake may compute at a time.
func TestSlowHandshakeHoldsNobodyUp(t *testing.T) {
	s := newSite(t, secured(t, certs.Write(t, "x"), tlsconf.Prefer))
	for range 3 {
		slow := dialTo(t, s.primary)
		slow.send(sslRequest)
		slow.wants(t, 'S')
		slow.send([]byte{recordHandshake, 3, 1, 2})
	}
	c := dialTLS(t, s.primary, new(tls.Config))
	c.send(trusted())
	if err := c.welcomed(); err != nil {
		t.Fatal(err)
	}
}

// TestServersEndProperlyForEachReason: at each end of a server connection in TLS that
// is pgvip's own doing, those of auth_query and of the welcome included.
func TestServersEndProperlyForEachReason(t *testing.T) {
	pg := lab.StartPostgresT(t, lab.PostgresOptions{TLS: true, Parameters: map[string]string{"log_min_messages": "debug1"}})
	monitor, err := dial.Login(t.Context(), &dial.Config{Network: "tcp", Address: pg.Addr, User: lab.Superuser, Database: lab.AppDatabase})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { monitor.Close() })
	database := &database{Postgres: pg, monitor: monitor}
	for name, change := range map[string]func(*pool.Settings){
		"server_lifetime 0":   func(set *pool.Settings) { set.ServerLifetime = 0 },
		"server_lifetime":     func(set *pool.Settings) { set.ServerLifetime = 20 * time.Millisecond },
		"server_idle_timeout": func(set *pool.Settings) { set.ServerIdleTimeout = 20 * time.Millisecond },
	} {
		p := asking(auth.SCRAM, functionQuery())
		p.table = table(node("n1", pg.Addr))
		p.pool = func(set *pool.Settings) {
			set.TLS = connecting(t, tlsconf.Options{Mode: tlsconf.Require})
			change(set)
		}
		s := newSite(t, p)
		if got := whoami(t, passwordOf(s, lab.AppUser, lab.AppPassword)+" work_mem=5MB"); got != lab.AppUser {
			t.Errorf("%s: %s", name, got)
		}
		eventually(t, name+" closes the server", func() bool {
			return database.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE usename = '"+lab.AppUser+"'") == "0"
		})
		asker := database.ask(t, "SELECT bool_and(ssl) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE usename = '"+lab.AuthUser+"'")
		if asker != "t" {
			t.Errorf("%s: the connection of auth_query: ssl = %q, want t", name, asker)
		}
		s.stop()
		eventually(t, "the backends end", func() bool { return database.backends(t) == "0" })
	}
	undisturbed(t, pg)
}

// undisturbed reports what PostgreSQL has logged of connections that broke.
func undisturbed(t *testing.T, pg *lab.Postgres) {
	t.Helper()
	for line := range strings.Lines(pg.Log(10000)) {
		for _, trouble := range []string{"EOF", "SSL error", "SSL connection", "could not receive", "could not send", "reset by peer"} {
			if strings.Contains(line, trouble) {
				t.Errorf("the server logs %q", line)
			}
		}
	}
}

// Servers are left with Terminate and close_notify, so that PostgreSQL has nothing
// to log.
func TestServersEndProperly(t *testing.T) {
	pg := lab.StartPostgresT(t, lab.PostgresOptions{TLS: true})
	p := secured(t, certs.Write(t, "x"), tlsconf.Prefer)
	p.table = table(node("n1", pg.Addr))
	servers := connecting(t, tlsconf.Options{Mode: tlsconf.Require})
	p.pool = func(set *pool.Settings) { set.TLS = servers }
	s := newSite(t, p)
	c := dialTLS(t, s.primary, new(tls.Config))
	c.send(trusted())
	if err := c.welcomed(); err != nil {
		t.Fatal(err)
	}
	if got := c.value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"); got != "t" {
		t.Errorf("ssl = %s, want t", got)
	}
	pid := c.value("SELECT pg_backend_pid()")
	c.leave()
	s.stop()
	eventually(t, "the backend ends", func() bool {
		n, err := pg.SQL(t.Context(), "postgres", "SELECT count(*) FROM pg_stat_activity WHERE pid = "+pid)
		return err == nil && n == "0"
	})
	undisturbed(t, pg)
}
