package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// Protocol is the ALPN name of PostgreSQL's protocol. A connection that begins
// with TLS has to agree on it: else somebody could have a browser's request, say,
// carried to a database (the ALPACA attack).
const Protocol = "postgresql"

// Options are the settings of one side. Empty names mean no file.
type Options struct {
	Mode     Mode
	CertFile string // our certificate, and those between it and its root
	KeyFile  string // of our certificate
	CAFile   string // what the other side's certificate is checked with

	// Versions of TLS; 0 leaves the choice to crypto/tls.
	MinVersion, MaxVersion uint16
	CipherSuites           []uint16      // for TLS 1.2 and older; nil for Go's choice
	Curves                 []tls.CurveID // for the key exchange; nil for Go's choice
}

// load reads the files and gives what both sides have in common.
func (o *Options) load() (*tls.Config, *x509.CertPool, error) {
	config := &tls.Config{
		MinVersion:       o.MinVersion,
		MaxVersion:       o.MaxVersion,
		CipherSuites:     o.CipherSuites,
		CurvePreferences: o.Curves,
		NextProtos:       []string{Protocol},
		// Whole records from the beginning: replies are read by programs that
		// wait for all of them, and each record costs a header and a checksum.
		DynamicRecordSizingDisabled: true,
	}
	if o.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, nil, fmt.Errorf("certificate %s with key %s: %w", o.CertFile, o.KeyFile, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if o.CAFile == "" {
		return config, nil, nil
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate authority: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, nil, fmt.Errorf("certificate authority: %s holds no certificate", o.CAFile)
	}
	return config, roots, nil
}

var (
	errNoCertificate = errors.New("no certificate")
	errNoCA          = errors.New("no certificate authority to verify the other side with")
)
