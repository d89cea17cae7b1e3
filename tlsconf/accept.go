package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"net"
)

// Acceptor serves TLS to clients. It is immutable; nil serves none.
type Acceptor struct {
	mode   Mode
	config *tls.Config
	roots  *x509.CertPool
	// binding is the SCRAM channel binding of our certificate; nil without.
	binding []byte
}

// Accepting reads what o names. It returns nil when clients get no TLS.
func Accepting(o Options) (*Acceptor, error) {
	if o.Mode == Disable {
		return nil, nil
	}
	config, roots, err := o.load()
	switch {
	case err != nil:
		return nil, err
	case len(config.Certificates) == 0:
		return nil, errNoCertificate
	case roots == nil && o.Mode >= VerifyCA:
		return nil, errNoCA
	case o.Mode >= VerifyCA:
		config.ClientAuth = tls.RequireAndVerifyClientCert
		config.ClientCAs = roots
	case roots != nil:
		// Asked for, never insisted on: Verified looks at it, for those whom
		// their certificate is to let in.
		config.ClientAuth = tls.RequestClientCert
		config.ClientCAs = roots
	}
	// libpq resumes no session, and tickets would cost each login a message.
	config.SessionTicketsDisabled = true
	return &Acceptor{mode: o.Mode, config: config, roots: roots, binding: ServerEndPoint(config.Certificates[0].Leaf)}, nil
}

// Offered reports whether a client that asks for TLS gets it.
func (a *Acceptor) Offered() bool { return a != nil }

// Required reports whether a client has to use TLS.
func (a *Acceptor) Required() bool { return a != nil && a.mode >= Require }

// Binding is the tls-server-end-point channel binding of what Server makes; nil
// when its certificate has none.
func (a *Acceptor) Binding() []byte { return a.binding }

// Server begins TLS with a client on conn, which stays the caller's to close.
func (a *Acceptor) Server(conn net.Conn) *tls.Conn {
	return tls.Server(&Socket{conn}, a.config)
}

// Verified returns the client's certificate if the certificate authority has
// signed it for this use, and nil otherwise. The handshake has insisted on that
// only in the verify modes.
func (a *Acceptor) Verified(state *tls.ConnectionState) *x509.Certificate {
	if a == nil || a.roots == nil || state == nil || len(state.PeerCertificates) == 0 {
		return nil
	}
	leaf := state.PeerCertificates[0]
	if len(state.VerifiedChains) > 0 {
		return leaf
	}
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: a.roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil
	}
	return leaf
}
