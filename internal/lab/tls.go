package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"time"
)

// certificate is a key pair and its certificate.
type certificate struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// enableTLS makes a certificate authority and a certificate for all of the
// slot's nodes, and returns the authority's file and the server's parameters.
func (s *slot) enableTLS() (ca string, parameters map[string]string, err error) {
	authority, err := issue(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "pgvip lab CA"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}, nil)
	if err != nil {
		return "", nil, err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "pgvip lab"},
		DNSNames:    []string{"localhost"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		KeyUsage:    x509.KeyUsageDigitalSignature,
	}
	for n := range maxNodes {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(s.host(n+1)))
	}
	server, err := issue(template, authority)
	if err != nil {
		return "", nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(server.key)
	if err != nil {
		return "", nil, fmt.Errorf("lab: server key: %w", err)
	}
	ca = filepath.Join(s.dir, "ca.crt")
	parameters = map[string]string{
		"ssl":           "on",
		"ssl_ca_file":   ca,
		"ssl_cert_file": filepath.Join(s.dir, "server.crt"),
		"ssl_key_file":  filepath.Join(s.dir, "server.key"),
	}
	return ca, parameters, errors.Join(
		s.account.write(ca, encode("CERTIFICATE", authority.cert.Raw)),
		s.account.write(parameters["ssl_cert_file"], encode("CERTIFICATE", server.cert.Raw)),
		s.account.write(parameters["ssl_key_file"], encode("PRIVATE KEY", key)),
	)
}

// issue makes a key and a certificate of a day, signed by itself without an
// authority.
func issue(template *x509.Certificate, by *certificate) (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("lab: key: %w", err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(24 * time.Hour)
	if by == nil {
		by = &certificate{key: key, cert: template}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, &key.PublicKey, by.key)
	if err != nil {
		return nil, fmt.Errorf("lab: certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("lab: certificate: %w", err)
	}
	return &certificate{key: key, cert: cert}, nil
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
