package main

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/certs"
)

// writePair puts a certificate and its key beside the configuration.
func writePair(t *testing.T, l lonely, a *certs.Authority, name string) {
	t.Helper()
	pair, err := a.Server(name, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	for file, data := range map[string][]byte{"server.crt": pair.Cert, "server.key": pair.Key} {
		if err := os.WriteFile(filepath.Join(filepath.Dir(l.file), file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// servedName is the name in the certificate that a client is shown.
func servedName(t *testing.T, address string) string {
	t.Helper()
	raw, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(childLimit))
	answer := make([]byte, 1)
	if _, err := raw.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}); err != nil { // SSLRequest
		t.Fatal(err)
	}
	if _, err := io.ReadFull(raw, answer); err != nil || answer[0] != 'S' {
		t.Fatalf("answer to an SSLRequest: %q, %v", answer, err)
	}
	conn := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}) // only the name is of interest
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestReloadReadsCertificates(t *testing.T) {
	l := writeLonely(t, "")
	l.appendTo(t, "\nclient_tls_sslmode: require\nclient_tls_cert_file: server.crt\nclient_tls_key_file: server.key\n")
	a, err := certs.New("pgvip test CA")
	if err != nil {
		t.Fatal(err)
	}
	writePair(t, l, a, "first")
	n := newTestNode(t, l)
	if got := servedName(t, l.address); got != "first" {
		t.Errorf("certificate of %q, want first", got)
	}
	writePair(t, l, a, "second")
	if got := servedName(t, l.address); got != "first" {
		t.Errorf("before the reload: certificate of %q, want first", got)
	}
	if err := n.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := servedName(t, l.address); got != "second" {
		t.Errorf("after the reload: certificate of %q, want second", got)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(l.file), "server.crt"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.Reload(); err == nil {
		t.Error("a reload with a broken certificate went through")
	}
	if got := servedName(t, l.address); got != "second" {
		t.Errorf("after a reload that failed: certificate of %q, want second", got)
	}
}
