// Package certs makes certificate authorities and certificates of a day for tests
// and the demo.
package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/freeport"
)

// Authority signs certificates.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// Pair is a certificate and its key, PEM-encoded.
type Pair struct{ Cert, Key []byte }

// New makes an authority.
func New(name string) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certs: key: %w", err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	a := &Authority{cert: template, key: key}
	a.cert, err = a.sign(template, key.Public())
	return a, err
}

// PEM is the authority's own certificate.
func (a *Authority) PEM() []byte { return encode("CERTIFICATE", a.cert.Raw) }

// Server makes a certificate for a server with these names and addresses.
func (a *Authority) Server(name string, hosts ...string) (*Pair, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certs: key: %w", err)
	}
	return a.pair(template, key)
}

// Client makes a certificate for the user of this name.
func (a *Authority) Client(name string) (*Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certs: key: %w", err)
	}
	return a.pair(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, key)
}

// Ed25519 makes an authority that signs without a hash, so that what it signs has
// no channel binding.
func Ed25519(name string) (*Authority, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("certs: key: %w", err)
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true}
	a := &Authority{cert: template, key: key}
	a.cert, err = a.sign(template, key.Public())
	return a, err
}

func (a *Authority) pair(template *x509.Certificate, key *ecdsa.PrivateKey) (*Pair, error) {
	template.KeyUsage = x509.KeyUsageDigitalSignature
	cert, err := a.sign(template, key.Public())
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("certs: key: %w", err)
	}
	return &Pair{Cert: encode("CERTIFICATE", cert.Raw), Key: encode("PRIVATE KEY", der)}, nil
}

// sign makes a certificate of a day.
func (a *Authority) sign(template *x509.Certificate, key crypto.PublicKey) (*x509.Certificate, error) {
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(24 * time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key, a.key)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	return cert, nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// Files are the files of a test.
type Files struct {
	CA         string // the authority's certificate
	Cert, Key  string // of a server at 127.0.0.1, localhost and freeport.Host
	ClientCert string // of the client
	ClientKey  string
}

// Write makes an authority, a server at 127.0.0.1, localhost and freeport.Host, and
// a client, in the test's own folder.
func Write(t testing.TB, client string) Files {
	t.Helper()
	a, err := New("pgvip test CA")
	if err != nil {
		t.Fatal(err)
	}
	return WriteOf(t, a, client)
}

// WriteOf is Write with an authority that is there.
func WriteOf(t testing.TB, a *Authority, client string) Files {
	t.Helper()
	server, err := a.Server("pgvip test server", "127.0.0.1", "localhost", freeport.Host())
	if err != nil {
		t.Fatal(err)
	}
	user, err := a.Client(client)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f := Files{CA: filepath.Join(dir, "ca.crt"), Cert: filepath.Join(dir, "server.crt"), Key: filepath.Join(dir, "server.key"),
		ClientCert: filepath.Join(dir, "client.crt"), ClientKey: filepath.Join(dir, "client.key")}
	err = errors.Join(
		os.WriteFile(f.CA, a.PEM(), 0o600),
		os.WriteFile(f.Cert, server.Cert, 0o600), os.WriteFile(f.Key, server.Key, 0o600),
		os.WriteFile(f.ClientCert, user.Cert, 0o600), os.WriteFile(f.ClientKey, user.Key, 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
