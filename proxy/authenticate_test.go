package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/internal/certs"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/tlsconf"
)

// hbaOf parses rules and maps for a test.
func hbaOf(t testing.TB, rules, idents string) *auth.HBA {
	t.Helper()
	maps, err := auth.ParseIdent([]byte(idents))
	if err != nil {
		t.Fatal(err)
	}
	none := func(string) ([]byte, error) { return nil, fs.ErrNotExist }
	hba, err := auth.ParseHBA("hba", []byte(rules), maps, none)
	if err != nil {
		t.Fatal(err)
	}
	return hba
}

// whoami logs in with pgconn and asks who it is; a refusal gives SQLSTATE and
// message.
func whoami(t testing.TB, conninfo string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := pgconn.Connect(ctx, conninfo)
	if err != nil {
		return said(err)
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, "SELECT current_user").ReadAll()
	if err != nil {
		return said(err)
	}
	return string(results[0].Rows[0][0])
}

// said is what a server said, SQLSTATE and message.
func said(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code + " " + refused.Message
	}
	return err.Error()
}

// tcp is how a client gets to the port.
func tcp(addr, more string) string {
	host, port, _ := strings.Cut(addr, ":")
	return "host=" + host + " port=" + port + " dbname=app " + more
}

// socketOf serves a Unix socket and gives the way there.
func (s *site) socketOf(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5000"))
	if err != nil {
		t.Fatal(err)
	}
	s.proxy.Serve(l, route.Primary)
	return "host=" + dir + " port=5000 sslmode=disable dbname=app "
}

// TestHBA: the first line for a connection decides how its client has to prove
// itself, and whether it may at all.
func TestHBA(t *testing.T) {
	files := certs.Write(t, "someone")
	acceptor, err := tlsconf.Accepting(tlsconf.Options{Mode: tlsconf.Prefer,
		CertFile: files.Cert, KeyFile: files.Key, CAFile: files.CA})
	if err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	hba := hbaOf(t, `
local   all      app_trust                  peer  map=os
local   all      all                        peer
host    app      postgres   all             reject
hostssl app      app_trust  127.0.0.0/8     cert  map=cn
host    app      app_trust  127.0.0.2/32    trust
host    app      app        127.0.0.1/32    scram-sha-256
host    app      app_md5    127.0.0.1/32    md5
host    app      app_plain  127.0.0.1 255.255.255.255 password
host    app      nobody     127.0.0.1/32    scram-sha-256
`, "os "+me.Username+" app_trust\ncn /^some(.*)$ app_trust")
	s := newSite(t, plan{
		users: passThrough(t) + "\n\"app_trust\" \"\"\n\"postgres\" \"\"\n\"app_md5\" \"" + lab.AppPassword + "\"\n\"app_plain\" \"" + lab.AppPassword + `"`,
		proxy: func(set *Settings) { set.HBA, set.TLS, set.AuthMethod = hba, acceptor, 0 },
	})
	socket := s.socketOf(t)
	const plain, password = "sslmode=disable ", "password=" + lab.AppPassword
	cert := "sslmode=verify-ca sslrootcert=" + files.CA + " sslcert=" + files.ClientCert + " sslkey=" + files.ClientKey
	for _, test := range []struct{ name, conninfo, want string }{
		{"peer through a map", socket + "user=app_trust", "app_trust"},
		{"peer without a map", socket + "user=app", `28000 Peer authentication failed for user "app"`},
		{"rejected", tcp(s.primary, plain+"user=postgres"),
			`28000 pg_hba.conf rejects connection for host "127.0.0.1", user "postgres", database "app", no encryption`},
		{"rejected with TLS", tcp(s.primary, "sslmode=require user=postgres"),
			`28000 pg_hba.conf rejects connection for host "127.0.0.1", user "postgres", database "app", SSL encryption`},
		{"no line for the address", tcp(s.primary, plain+"user=app_trust"),
			`28000 no pg_hba.conf entry for host "127.0.0.1", user "app_trust", database "app", no encryption`},
		{"no line for the database", strings.Replace(tcp(s.primary, plain+"user=app "+password), "dbname=app", "dbname=postgres", 1),
			`28000 no pg_hba.conf entry for host "127.0.0.1", user "app", database "postgres", no encryption`},
		{"certificate", tcp(s.primary, cert+" user=app_trust"), "app_trust"},
		{"TLS without a certificate", tcp(s.primary, "sslmode=require user=app_trust"),
			`28000 certificate authentication failed for user "app_trust"`},
		{"scram", tcp(s.primary, plain+"user=app "+password), "app"},
		{"scram over TLS", tcp(s.primary, "sslmode=require user=app "+password), "app"},
		{"scram, wrong", tcp(s.primary, plain+"user=app password=wrong"), `28P01 password authentication failed for user "app"`},
		{"scram, unknown user", tcp(s.primary, plain+"user=nobody password=wrong"), `28P01 password authentication failed for user "nobody"`},
		{"md5", tcp(s.primary, plain+"user=app_md5 "+password), "app_md5"},
		{"password", tcp(s.primary, plain+"user=app_plain "+password), "app_plain"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := whoami(t, test.conninfo); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	reasons := map[any]bool{}
	for _, line := range s.logs.FilterMessage("login refused").All() {
		reasons[line.ContextMap()["reason"]] = true
	}
	for _, want := range []string{
		"line 4 of auth_hba_file",
		"wrong password (stored is a SCRAM verifier) (scram-sha-256 is asked for by line 7 of auth_hba_file)",
		"no such user (scram-sha-256 is asked for by line 10 of auth_hba_file)",
	} {
		if !reasons[want] {
			t.Errorf("no login was refused for the reason %q; %v", want, reasons)
		}
	}
}

// TestCertificates: with auth_type cert the name in the certificate is the user,
// who has to exist as well.
func TestCertificates(t *testing.T) {
	files := certs.Write(t, lab.TrustUser)
	stranger := certs.Write(t, lab.TrustUser) // signed by somebody else
	acceptor, err := tlsconf.Accepting(tlsconf.Options{Mode: tlsconf.Allow, CertFile: files.Cert, KeyFile: files.Key, CAFile: files.CA})
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, plan{
		users: `"app_trust" ""` + "\n" + `"app" ""`,
		proxy: func(set *Settings) { set.AuthMethod, set.TLS = auth.Cert, acceptor },
	})
	const failed = "28000 certificate authentication failed for user "
	for _, test := range []struct {
		name, user string
		files      *certs.Files
		want       string
	}{
		{"its owner", lab.TrustUser, &files, lab.TrustUser},
		{"another user", lab.AppUser, &files, failed + `"app"`},
		{"unknown user", "nobody", &files, failed + `"nobody"`},
		{"no certificate", lab.TrustUser, nil, failed + `"app_trust"`},
		{"another authority's", lab.TrustUser, &stranger, failed + `"app_trust"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			conninfo := tcp(s.primary, "sslmode=require user="+test.user)
			config, err := pgconn.ParseConfig(conninfo)
			if err != nil {
				t.Fatal(err)
			}
			if test.files != nil {
				pair, err := tls.LoadX509KeyPair(test.files.ClientCert, test.files.ClientKey)
				if err != nil {
					t.Fatal(err)
				}
				// Whatever the server asks for: Go would keep a certificate back
				// that no authority named there has signed.
				config.TLSConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
			}
			conn, err := pgconn.ConnectConfig(t.Context(), config)
			got := ""
			if err == nil {
				got = conn.ParameterStatus("session_authorization")
				conn.Close(t.Context())
			} else {
				got = said(err)
			}
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	t.Run("without TLS", func(t *testing.T) {
		if got := whoami(t, tcp(s.primary, "sslmode=disable user="+lab.TrustUser)); got != failed+`"app_trust"` {
			t.Errorf("got %s", got)
		}
	})
}

// TestPeer: the kernel says who is at the other end of a Unix socket.
func TestPeer(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, plan{
		table: table(nil),
		users: `"` + me.Username + `" ""` + "\n" + `"app_trust" ""`,
		proxy: func(set *Settings) { set.AuthMethod, set.FailoverWaitTimeout = auth.Peer, time.Millisecond },
	})
	socket := s.socketOf(t)
	// This user is no role there: that there is no server to ask is the next step.
	if got := whoami(t, socket+"user="+me.Username); !strings.HasPrefix(got, "57P03 ") {
		t.Errorf("namesake: %s, want to be let in", got)
	}
	if got := whoami(t, socket+"user=app_trust"); got != `28000 Peer authentication failed for user "app_trust"` {
		t.Errorf("another user: %s", got)
	}
	if got := whoami(t, tcp(s.primary, "sslmode=disable user="+me.Username)); got != `28000 Peer authentication failed for user "`+me.Username+`"` {
		t.Errorf("over TCP: %s", got)
	}
}

// TestAnyNeedsAUserOfTheDatabase: whoever comes gets the database's own user, and
// that user's password, which no client has brought.
func TestAnyNeedsAUserOfTheDatabase(t *testing.T) {
	s := newSite(t, plan{
		proxy: func(set *Settings) {
			set.AuthMethod = auth.Any
			set.ServerUser = func(database string) string { return map[string]string{lab.AppDatabase: lab.AppUser}[database] }
		},
		pool: func(set *pool.Settings) {
			rules := set.Rules
			set.RulesFor = func(_, user string) pool.Rules {
				if user != lab.AppUser {
					t.Errorf("a pool of user %q", user)
				}
				rules.Credential = auth.Credential{Password: lab.AppPassword}
				return rules
			}
		},
	})
	for _, name := range []string{"nobody", lab.TrustUser, lab.AppUser} {
		if got := whoami(t, tcp(s.primary, "sslmode=disable user="+name)); got != lab.AppUser {
			t.Errorf("%s: %s, want %s", name, got, lab.AppUser)
		}
	}
	got := whoami(t, strings.Replace(tcp(s.primary, "sslmode=disable user=app_trust"), "dbname=app", "dbname=postgres", 1))
	if want := `28000 database "postgres" has no user of its own, which auth_type any needs`; got != want {
		t.Errorf("another database: %s, want %s", got, want)
	}
}

// TestUserOfTheDatabase: with a user of its own the database's clients share a
// pool, whoever they are, and prove themselves as before.
func TestUserOfTheDatabase(t *testing.T) {
	s := newSite(t, plan{
		users: passThrough(t),
		proxy: func(set *Settings) {
			set.AuthMethod = auth.SCRAM
			set.ServerUser = func(string) string { return lab.PlainUser }
		},
		pool: func(set *pool.Settings) { set.Credential = auth.Credential{Password: lab.AppPassword} },
	})
	if got := whoami(t, tcp(s.primary, "sslmode=disable user=app password="+lab.AppPassword)); got != lab.PlainUser {
		t.Errorf("got %s, want the database's user", got)
	}
	if got := whoami(t, tcp(s.primary, "sslmode=disable user=app password=wrong")); got != `28P01 password authentication failed for user "app"` {
		t.Errorf("wrong password: %s", got)
	}
}

// TestTrustTakesNoKeysAway: who comes in by trust brings nothing to log in to
// servers with, and must not cost the others what they have brought.
func TestTrustTakesNoKeysAway(t *testing.T) {
	s := newSite(t, plan{
		users: passThrough(t),
		proxy: func(set *Settings) { set.AuthMethod = auth.Trust },
		pool:  func(set *pool.Settings) { set.ServerLifetime = 0 }, // a login to the server for each client
	})
	got := whoami(t, tcp(s.primary, "sslmode=disable user=app"))
	if want := `28000 pgvip cannot log in to the server as "app"`; got != want {
		t.Errorf("trust with a verifier: %s, want %s", got, want)
	}
	change := func(m auth.Method) {
		set := *s.proxy.settings.Load()
		set.AuthMethod = m
		s.proxy.Apply(set)
	}
	for _, m := range []auth.Method{auth.SCRAM, auth.Trust} {
		change(m)
		if got := whoami(t, tcp(s.primary, "sslmode=disable user=app password="+lab.AppPassword)); got != lab.AppUser {
			t.Errorf("%s: %s", m, got)
		}
	}
}

// TestMissingSecretIsNamed: what a client reads says which secret is not there.
func TestMissingSecretIsNamed(t *testing.T) {
	s := newSite(t, plan{users: passThrough(t)})
	_, err := tryLogin(t, s.primary, "user", lab.AppUser)
	refused, ok := err.(*serverError)
	if !ok {
		t.Fatalf("login: %v, want an error", err)
	}
	if refused.Detail != "The server asks for SCRAM-SHA-256; pgvip holds a SCRAM verifier, which opens no server before a client of the user has logged in by SCRAM." ||
		!strings.Contains(refused.Hint, "give the plain password") {
		t.Errorf("detail %q, hint %q", refused.Detail, refused.Hint)
	}
}

// TestAnyMakesAdministrators: where names mean nothing the lists of the console
// do not, either; PgBouncer does so.
func TestAnyMakesAdministrators(t *testing.T) {
	d := new(desk)
	s := newSite(t, plan{console: d.console(), table: table(nil), users: "; nobody",
		proxy: func(set *Settings) { set.AuthMethod = auth.Any }})
	d.leaves(t)
	c := dialTo(t, s.primary)
	c.send(pgscript.Startup("user", "whoever", "database", "pgbouncer"))
	if err := c.welcomed(); err != nil || !d.last().Admin {
		t.Errorf("login: %v, operator %+v, want an administrator", err, d.last())
	}
}
