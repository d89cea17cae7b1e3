//go:build linux

package dial_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/internal/certs"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/tlsconf"
	"github.com/pgvip/pgvip/wire"
)

// TestTLS runs everything that needs a real server with TLS on one of them.
func TestTLS(t *testing.T) {
	pg := lab.StartPostgresT(t, lab.PostgresOptions{TLS: true, HBA: []string{
		"hostnossl all app_plain 127.0.0.0/8 reject",
		"hostssl all app_md5 127.0.0.0/8 cert",
	}})
	for name, test := range map[string]func(*testing.T, *lab.Postgres){
		"Modes":             testModes,
		"Verify":            testVerify,
		"AllowTriesAgain":   testAllowTriesAgain,
		"ClientCertificate": testClientCertificate,
		"ChannelBinding":    testChannelBinding,
		"CancelIsHidden":    testCancelIsHidden,
		"UnixIsPlain":       testUnixIsPlain,
		"ProperEnd":         testProperEnd,
	} {
		t.Run(name, func(t *testing.T) { test(t, pg) })
	}
}

func connecting(t *testing.T, o tlsconf.Options, direct bool) *tlsconf.Connector {
	t.Helper()
	c, err := tlsconf.Connecting(o, direct)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const isEncrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"

func testModes(t *testing.T, pg *lab.Postgres) {
	for mode, want := range map[tlsconf.Mode]string{
		tlsconf.Disable: "f", tlsconf.Allow: "f", tlsconf.Prefer: "t", tlsconf.Require: "t",
		tlsconf.VerifyCA: "t", tlsconf.VerifyFull: "t",
	} {
		cfg := config(pg, lab.AppUser, password(lab.AppPassword))
		cfg.TLS = connecting(t, tlsconf.Options{Mode: mode, CAFile: pg.CAFile}, false)
		conn := dialed(t, cfg)
		if got := ask(t, conn, isEncrypted); got != want {
			t.Errorf("%s: ssl = %s, want %s", mode, got, want)
		}
		if (conn.TLS() != nil) != (want == "t") {
			t.Errorf("%s: TLS() = %v", mode, conn.TLS())
		}
	}
}

// To verify is to refuse.
func testVerify(t *testing.T, pg *lab.Postgres) {
	other := certs.Write(t, "x")
	for _, tt := range []struct {
		name, host, ca string
		mode           tlsconf.Mode
		ok             bool
	}{
		{"require asks for nothing", "db.example", other.CA, tlsconf.Require, true},
		{"verify-ca, another authority", pg.Host, other.CA, tlsconf.VerifyCA, false},
		{"verify-ca, another name", "db.example", pg.CAFile, tlsconf.VerifyCA, true},
		{"verify-full, another authority", pg.Host, other.CA, tlsconf.VerifyFull, false},
		{"verify-full, another name", "db.example", pg.CAFile, tlsconf.VerifyFull, false},
		{"verify-full, its name", "localhost", pg.CAFile, tlsconf.VerifyFull, true},
		{"verify-full, its address", pg.Host, pg.CAFile, tlsconf.VerifyFull, true},
	} {
		cfg := config(pg, lab.TrustUser, auth.Credential{})
		cfg.TLS = connecting(t, tlsconf.Options{Mode: tt.mode, CAFile: tt.ca}, false)
		cfg.Address = net.JoinHostPort(tt.host, "5432")
		cfg.DialFunc = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, pg.Addr)
		}
		conn, err := dial.Login(within(t, 10*time.Second), cfg)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
		if conn != nil {
			conn.Close()
		}
	}
}

// Where pg_hba.conf lets nobody in without TLS, allow goes on with it.
func testAllowTriesAgain(t *testing.T, pg *lab.Postgres) {
	cfg := config(pg, lab.PlainUser, password(lab.AppPassword))
	cfg.TLS = connecting(t, tlsconf.Options{Mode: tlsconf.Allow}, false)
	if got := ask(t, dialed(t, cfg), isEncrypted); got != "t" {
		t.Errorf("ssl = %s, want t", got)
	}
	cfg.TLS = nil
	_, err := dial.Login(within(t, 10*time.Second), cfg)
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != wire.CodeInvalidAuthorization {
		t.Errorf("without TLS: %v, want 28000", err)
	}
}

func testClientCertificate(t *testing.T, pg *lab.Postgres) {
	pair, err := pg.Authority.Client(lab.MD5User)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o := tlsconf.Options{Mode: tlsconf.Require, CertFile: filepath.Join(dir, "crt"), KeyFile: filepath.Join(dir, "key")}
	if err := errors.Join(os.WriteFile(o.CertFile, pair.Cert, 0o600), os.WriteFile(o.KeyFile, pair.Key, 0o600)); err != nil {
		t.Fatal(err)
	}
	cfg := config(pg, lab.MD5User, auth.Credential{})
	cfg.TLS = connecting(t, o, false)
	if got := ask(t, dialed(t, cfg), "SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"); got != "/CN="+lab.MD5User {
		t.Errorf("client_dn = %q", got)
	}
}

// Who ends TLS in between and passes all on cannot log in as somebody else: the
// proof is bound to the certificate that we have seen. It also shows that bound it
// is, with a real server, from a password and from keys.
func testChannelBinding(t *testing.T, pg *lab.Postgres) {
	cfg := config(pg, lab.AppUser, password(lab.AppPassword))
	cfg.TLS = connecting(t, tlsconf.Options{Mode: tlsconf.Require}, false)
	dialed(t, cfg)

	cfg.Address = middleman(t, pg)
	_, err := dial.Login(within(t, 10*time.Second), cfg)
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != wire.CodeInvalidAuthorization || !strings.Contains(e.Message, "channel binding check failed") {
		t.Errorf("through somebody in between: %v, want 28000", err)
	}
}

// middleman serves one connection with TLS of its own and passes it on to pg in
// another one. It gives its address.
func middleman(t *testing.T, pg *lab.Postgres) string {
	t.Helper()
	files := certs.Write(t, "x")
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	return serveRaw(t, func(near net.Conn) error {
		far, err := net.Dial("tcp", pg.Addr)
		if err != nil {
			return err
		}
		defer far.Close()
		request := make([]byte, 8)
		if _, err := io.ReadFull(near, request); err != nil {
			return err
		}
		far.Write(request)
		io.ReadFull(far, request[:1])
		near.Write(request[:1])
		client := tls.Server(near, &tls.Config{Certificates: []tls.Certificate{pair}})
		server := tls.Client(far, &tls.Config{InsecureSkipVerify: true})
		go func() {
			io.Copy(server, client)
			far.Close()
		}()
		_, err = io.Copy(client, server)
		return err
	})
}

// serveRaw is serve without a startup packet read.
func serveRaw(t *testing.T, play script) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		if err := play(conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("client has not closed its connection")
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// tapped is a connection whose outgoing bytes are kept.
type tapped struct {
	*net.TCPConn
	sent *bytes.Buffer
}

func (c tapped) Write(b []byte) (int, error) {
	c.sent.Write(b)
	return c.TCPConn.Write(b)
}

// The key of a session with TLS is not shown to the network by a cancel request.
func testCancelIsHidden(t *testing.T, pg *lab.Postgres) {
	cfg := config(pg, lab.TrustUser, auth.Credential{})
	cfg.TLS = connecting(t, tlsconf.Options{Mode: tlsconf.Prefer}, false)
	conn := dialed(t, cfg)
	watcher := dialed(t, config(pg, lab.Superuser, auth.Credential{}))
	pid, key := conn.BackendKey()
	ctx := within(t, 20*time.Second)
	failed := make(chan error, 1)
	go func() {
		_, err := conn.Query(ctx, "SELECT pg_sleep(60)")
		failed <- err
	}()
	for ask(t, watcher, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "0" {
	}
	var sent bytes.Buffer
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return tapped{c.(*net.TCPConn), &sent}, nil
	}
	if err := dial.Cancel(ctx, cfg, pid, key); err != nil {
		t.Fatal(err)
	}
	var e *wire.Error
	if err := <-failed; !errors.As(err, &e) || e.Code != wire.CodeQueryCanceled {
		t.Errorf("Query = %v, want ERROR 57014", err)
	}
	ssl := wire.Startup{Code: wire.SSLRequestCode}
	if !bytes.HasPrefix(sent.Bytes(), ssl.Append(nil)) || bytes.Contains(sent.Bytes(), key) {
		t.Errorf("sent %q", sent.Bytes())
	}
}

func testUnixIsPlain(t *testing.T, pg *lab.Postgres) {
	cfg := config(pg, lab.Superuser, auth.Credential{})
	cfg.Network, cfg.Address = "unix", filepath.Join(pg.SocketDir, ".s.PGSQL.5432")
	cfg.TLS = connecting(t, tlsconf.Options{Mode: tlsconf.Require}, false)
	if got := ask(t, dialed(t, cfg), isEncrypted); got != "f" {
		t.Errorf("ssl = %s, want f", got)
	}
}

// Terminate and close_notify leave nothing for the server to complain about.
func testProperEnd(t *testing.T, pg *lab.Postgres) {
	cfg := config(pg, lab.TrustUser, auth.Credential{})
	cfg.TLS = connecting(t, tlsconf.Options{Mode: tlsconf.Require}, false)
	conn := dialed(t, cfg)
	pid := ask(t, conn, "SELECT pg_backend_pid()")
	conn.Close()
	watcher := dialed(t, config(pg, lab.Superuser, auth.Credential{}))
	for ask(t, watcher, "SELECT count(*) FROM pg_stat_activity WHERE pid = "+pid) != "0" {
	}
	for line := range strings.Lines(pg.Log(1000)) {
		if strings.Contains(line, "["+pid+"]") && (strings.Contains(line, "EOF") || strings.Contains(line, "SSL")) {
			t.Errorf("the server logs %q", line)
		}
	}
}

// What a server may answer to SSLRequest.
func TestAnswersToSSLRequest(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		mode         tlsconf.Mode
		want         error // nil is a login without TLS
		text         string
	}{
		{"no, and prefer", "N", tlsconf.Prefer, nil, ""},
		{"no, and require", "N", tlsconf.Require, nil, "offers no TLS"},
		{"bytes behind yes", "Sx", tlsconf.Prefer, dial.ErrProtocol, "unencrypted data"},
		{"bytes behind no", "Nx", tlsconf.Prefer, dial.ErrProtocol, "unencrypted data"},
		{"an error", "E", tlsconf.Prefer, dial.ErrProtocol, `'E'`},
		{"something else", "H", tlsconf.Prefer, dial.ErrProtocol, `'H'`},
		{"nothing", "", tlsconf.Prefer, io.ErrUnexpectedEOF, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			address := serveRaw(t, func(conn net.Conn) error {
				if _, err := io.ReadFull(conn, make([]byte, 8)); err != nil {
					return err
				}
				io.WriteString(conn, tt.answer)
				if tt.answer == "N" && tt.mode == tlsconf.Prefer {
					readStartup(conn)
					io.WriteString(conn, authOk+key+ready)
				}
				if tt.answer == "" {
					return nil
				}
				_, err := io.Copy(io.Discard, conn)
				return err
			})
			cfg := &dial.Config{Network: "tcp", Address: address, User: "u", TLS: connecting(t, tlsconf.Options{Mode: tt.mode}, false)}
			conn, err := dial.Login(within(t, 10*time.Second), cfg)
			if conn != nil {
				conn.Close()
			}
			if tt.want == nil && tt.text == "" {
				if err != nil || conn.TLS() != nil {
					t.Errorf("Login = %v, want one without TLS", err)
				}
				return
			}
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Login = %v, want %v that says %q", err, tt.want, tt.text)
			}
		})
	}
}

// Direct TLS begins with TLS, and only somebody who speaks PostgreSQL's protocol
// in it will do.
func TestDirectTLS(t *testing.T) {
	files := certs.Write(t, "x")
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	for name, protocols := range map[string][]string{"PostgreSQL": {tlsconf.Protocol}, "somebody else": nil} {
		t.Run(name, func(t *testing.T) {
			address := serveRaw(t, func(conn net.Conn) error {
				server := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: protocols})
				if err := server.Handshake(); err != nil {
					return err
				}
				if protocols != nil {
					readStartup(server)
					io.WriteString(server, authOk+key+ready)
				}
				_, err := io.Copy(io.Discard, server)
				return err
			})
			cfg := &dial.Config{Network: "tcp", Address: address, User: "u",
				TLS: connecting(t, tlsconf.Options{Mode: tlsconf.VerifyFull, CAFile: files.CA}, true)}
			conn, err := dial.Login(within(t, 10*time.Second), cfg)
			if conn != nil {
				conn.Close()
			}
			if protocols == nil {
				if err == nil || !strings.Contains(err.Error(), "ALPN") {
					t.Errorf("Login = %v, want a refusal for ALPN", err)
				}
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// A server that never answers, at any point, is left when the time is up.
func TestTLSInterrupted(t *testing.T) {
	for name, answer := range map[string]string{"before the answer": "", "in the handshake": "S"} {
		t.Run(name, func(t *testing.T) {
			address := serveRaw(t, func(conn net.Conn) error {
				io.WriteString(conn, answer)
				_, err := io.Copy(io.Discard, conn)
				return err
			})
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err := dial.Login(ctx, &dial.Config{Network: "tcp", Address: address, User: "u",
				TLS: connecting(t, tlsconf.Options{Mode: tlsconf.Require}, false)})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Login = %v, want deadline exceeded", err)
			}
		})
	}
}

// Detach leaves the socket open and says nothing on it: the loop goes on.
func TestDetachKeepsTLS(t *testing.T) {
	files := certs.Write(t, "x")
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	address := serveRaw(t, func(conn net.Conn) error {
		io.ReadFull(conn, make([]byte, 8))
		io.WriteString(conn, "S")
		server := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{pair}})
		readStartup(server)
		io.WriteString(server, authOk+key+ready)
		b, err := io.ReadAll(server)
		if len(b) > 0 {
			t.Errorf("the server reads %q after Detach", b)
		}
		return err
	})
	conn, err := dial.Login(within(t, 10*time.Second), &dial.Config{Network: "tcp", Address: address, User: "u",
		TLS: connecting(t, tlsconf.Options{Mode: tlsconf.Require}, false)})
	if err != nil {
		t.Fatal(err)
	}
	fd, _, err := conn.Detach()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := conn.TLS().NetConn().(*tlsconf.Socket); !ok {
		t.Error("TLS does not lie on a socket that a loop can take over")
	}
	unix.Close(fd)
}

// PostgreSQL 17 and later take TLS from the first byte.
func TestDirectTLSToPostgreSQL(t *testing.T) {
	pg := lab.StartPostgresT(t, lab.PostgresOptions{Version: 18, TLS: true})
	cfg := config(pg, lab.AppUser, password(lab.AppPassword))
	cfg.TLS = connecting(t, tlsconf.Options{Mode: tlsconf.VerifyFull, CAFile: pg.CAFile}, true)
	var sent bytes.Buffer
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return tapped{c.(*net.TCPConn), &sent}, nil
	}
	if got := ask(t, dialed(t, cfg), isEncrypted); got != "t" || sent.Bytes()[0] != 0x16 {
		t.Errorf("ssl = %s, first byte %#x", got, sent.Bytes()[0])
	}
}
