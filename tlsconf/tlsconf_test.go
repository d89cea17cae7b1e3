package tlsconf

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/internal/certs"
)

func TestModeNames(t *testing.T) {
	for mode, want := range map[Mode]string{Disable: "disable", Prefer: "prefer", VerifyFull: "verify-full", 9: "tlsconf.Mode(9)"} {
		if got := mode.String(); got != want {
			t.Errorf("String = %q, want %q", got, want)
		}
	}
}

func accepting(t *testing.T, f certs.Files, mode Mode) *Acceptor {
	t.Helper()
	a, err := Accepting(Options{Mode: mode, CertFile: f.Cert, KeyFile: f.Key, CAFile: f.CA})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestDisableIsNobody(t *testing.T) {
	a, err := Accepting(Options{})
	if a != nil || err != nil || a.Offered() || a.Required() || a.Verified(nil) != nil {
		t.Errorf("Accepting = %v, %v", a, err)
	}
	c, err := Connecting(Options{}, false)
	if c != nil || err != nil || c.Mode() != Disable || c.Direct() {
		t.Errorf("Connecting = %v, %v", c, err)
	}
}

func TestOfferedAndRequired(t *testing.T) {
	f := certs.Write(t, "alice")
	for mode, required := range map[Mode]bool{Allow: false, Prefer: false, Require: true, VerifyCA: true, VerifyFull: true} {
		if a := accepting(t, f, mode); !a.Offered() || a.Required() != required {
			t.Errorf("%s: offered %t, required %t", mode, a.Offered(), a.Required())
		}
	}
}

func TestFilesThatAreWrong(t *testing.T) {
	f := certs.Write(t, "alice")
	nonsense := filepath.Join(t.TempDir(), "nonsense")
	if err := os.WriteFile(nonsense, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		o    Options
		want string
		is   error
	}{
		{"no certificate", Options{Mode: Prefer}, "", errNoCertificate},
		{"missing file", Options{Mode: Prefer, CertFile: f.Cert, KeyFile: "/nowhere"}, "/nowhere", fs.ErrNotExist},
		{"key of another", Options{Mode: Prefer, CertFile: f.Cert, KeyFile: f.ClientKey}, "private key does not match", nil},
		{"no PEM", Options{Mode: Prefer, CertFile: nonsense, KeyFile: f.Key}, nonsense, nil},
		{"authority is no certificate", Options{Mode: Prefer, CertFile: f.Cert, KeyFile: f.Key, CAFile: nonsense}, "holds no certificate", nil},
		{"authority is missing", Options{Mode: Prefer, CertFile: f.Cert, KeyFile: f.Key, CAFile: "/nowhere"}, "authority", fs.ErrNotExist},
		{"nobody to verify with", Options{Mode: VerifyCA, CertFile: f.Cert, KeyFile: f.Key}, "", errNoCA},
	} {
		_, err := Accepting(tt.o)
		if err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	if _, err := Connecting(Options{Mode: VerifyFull}, false); !errors.Is(err, errNoCA) {
		t.Errorf("Connecting without an authority: %v", err)
	}
}

// shake runs a handshake over a pipe and gives the server's side of it.
func shake(t *testing.T, a *Acceptor, client *tls.Config) (*tls.Conn, error) {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	server := a.Server(near)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c := tls.Client(far, client)
		if c.Handshake() == nil {
			c.Read(make([]byte, 1)) // with TLS 1.3 a refusal comes late
		}
	}()
	err := server.Handshake()
	if err == nil {
		server.Write([]byte("x"))
	}
	<-done
	return server, err
}

// Whose certificate counts in which mode, and who gets in without.
func TestClientCertificates(t *testing.T) {
	f, strangers := certs.Write(t, "alice"), certs.Write(t, "alice")
	pair := func(cert, key string) []tls.Certificate {
		p, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{p}
	}
	for _, tt := range []struct {
		name     string
		mode     Mode
		certs    []tls.Certificate
		in       bool
		verified string
	}{
		{"require, none", Require, nil, true, ""},
		{"require, good", Require, pair(f.ClientCert, f.ClientKey), true, "alice"},
		{"require, a stranger's", Require, pair(strangers.ClientCert, strangers.ClientKey), true, ""},
		{"require, a server's", Require, pair(f.Cert, f.Key), true, ""},
		{"verify-ca, none", VerifyCA, nil, false, ""},
		{"verify-ca, good", VerifyCA, pair(f.ClientCert, f.ClientKey), true, "alice"},
		{"verify-full, a stranger's", VerifyFull, pair(strangers.ClientCert, strangers.ClientKey), false, ""},
		{"verify-full, a server's", VerifyFull, pair(f.Cert, f.Key), false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := accepting(t, f, tt.mode)
			client := &tls.Config{InsecureSkipVerify: true}
			client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if tt.certs == nil {
					return new(tls.Certificate), nil
				}
				return &tt.certs[0], nil // whoever signed it
			}
			server, err := shake(t, a, client)
			if (err == nil) != tt.in {
				t.Fatalf("handshake: %v, want in: %t", err, tt.in)
			}
			state := server.ConnectionState()
			if got := name(a.Verified(&state)); err == nil && got != tt.verified {
				t.Errorf("verified %q, want %q", got, tt.verified)
			}
		})
	}
}

func name(c *x509.Certificate) string {
	if c == nil {
		return ""
	}
	return c.Subject.CommonName
}

// A client that speaks of other protocols is no client of ours; one that says
// nothing may be.
func TestALPN(t *testing.T) {
	a := accepting(t, certs.Write(t, "alice"), Require)
	for _, tt := range []struct {
		protocols []string
		want      string
		ok        bool
	}{{nil, "", true}, {[]string{"postgresql"}, "postgresql", true}, {[]string{"h2", "postgresql"}, "postgresql", true}, {[]string{"http/1.1"}, "", false}} {
		server, err := shake(t, a, &tls.Config{InsecureSkipVerify: true, NextProtos: tt.protocols})
		if got := server.ConnectionState().NegotiatedProtocol; (err == nil) != tt.ok || got != tt.want {
			t.Errorf("%q: %q, %v", tt.protocols, got, err)
		}
	}
}

// RFC 5929 section 4.1.
func TestServerEndPoint(t *testing.T) {
	raw := []byte("certificate")
	sum256, sum384, sum512 := sha256.Sum256(raw), sha512.Sum384(raw), sha512.Sum512(raw)
	for algorithm, want := range map[x509.SignatureAlgorithm][]byte{
		x509.MD5WithRSA: sum256[:], x509.SHA1WithRSA: sum256[:], x509.SHA256WithRSA: sum256[:], x509.ECDSAWithSHA256: sum256[:],
		x509.SHA256WithRSAPSS: sum256[:], x509.SHA384WithRSA: sum384[:], x509.ECDSAWithSHA384: sum384[:],
		x509.SHA512WithRSAPSS: sum512[:], x509.ECDSAWithSHA512: sum512[:], x509.PureEd25519: nil, x509.UnknownSignatureAlgorithm: nil,
	} {
		if got := ServerEndPoint(&x509.Certificate{Raw: raw, SignatureAlgorithm: algorithm}); !bytes.Equal(got, want) {
			t.Errorf("%s: %x, want %x", algorithm, got, want)
		}
	}
	if ServerEndPoint(nil) != nil {
		t.Error("no certificate has a binding")
	}
}

// A reload that changes nothing costs no connection.
func TestSame(t *testing.T) {
	f, other := certs.Write(t, "alice"), certs.Write(t, "alice")
	make := func(o Options, direct bool) *Connector {
		c, err := Connecting(o, direct)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	o := Options{Mode: VerifyCA, CertFile: f.ClientCert, KeyFile: f.ClientKey, CAFile: f.CA, Curves: []tls.CurveID{tls.X25519}}
	first := make(o, false)
	if !first.Same(make(o, false)) || !(*Connector)(nil).Same(nil) {
		t.Error("the same is not the same")
	}
	stricter := o
	stricter.Mode = VerifyFull
	for name, c := range map[string]*Connector{"none": nil, "mode": make(stricter, false), "direct": make(o, true)} {
		if first.Same(c) || c.Same(first) {
			t.Errorf("%s: taken for the same", name)
		}
	}
	for old, now := range map[string]string{f.CA: other.CA, f.ClientCert: other.ClientCert, f.ClientKey: other.ClientKey} {
		b, err := os.ReadFile(now)
		if err != nil {
			t.Fatal(err)
		}
		os.WriteFile(old, b, 0o600)
	}
	if first.Same(make(o, false)) {
		t.Error("files with other contents are taken for the same")
	}
}

func TestDescribe(t *testing.T) {
	server, err := shake(t, accepting(t, certs.Write(t, "x"), Require), &tls.Config{InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}})
	if err != nil {
		t.Fatal(err)
	}
	if got := Describe(server); Describe(nil) != "" || !strings.HasPrefix(got, "TLSv1.3/TLS_") || !strings.HasSuffix(got, "/ECDH=X25519") {
		t.Errorf("Describe = %q", got)
	}
}
