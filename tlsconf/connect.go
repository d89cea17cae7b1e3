package tlsconf

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"reflect"
)

// Connector speaks TLS to servers. It is immutable; nil speaks none.
type Connector struct {
	options Options
	config  *tls.Config
	direct  bool
}

// Connecting reads what o names. direct begins with TLS instead of asking for it
// (libpq's sslnegotiation=direct, PostgreSQL 17). It returns nil when servers are
// spoken to without TLS.
func Connecting(o Options, direct bool) (*Connector, error) {
	if o.Mode == Disable {
		return nil, nil
	}
	config, roots, err := o.load()
	if err != nil {
		return nil, err
	}
	if roots == nil && o.Mode >= VerifyCA {
		return nil, errNoCA
	}
	config.RootCAs = roots
	if o.Mode < VerifyFull {
		// crypto/tls would check the name as well, so it is told to check nothing.
		config.InsecureSkipVerify = true
	}
	if o.Mode == VerifyCA {
		config.VerifyConnection = func(state tls.ConnectionState) error { return verifyServer(&state, roots) }
	}
	return &Connector{options: o, config: config, direct: direct}, nil
}

var errNoServerCertificate = errors.New("server has sent no certificate")

// verifyServer checks the server's certificate and not whose it is.
func verifyServer(state *tls.ConnectionState, roots *x509.CertPool) error {
	if len(state.PeerCertificates) == 0 {
		return errNoServerCertificate
	}
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return err
}

// Mode is how much TLS servers have to offer.
func (c *Connector) Mode() Mode {
	if c == nil {
		return Disable
	}
	return c.options.Mode
}

// Same reports whether c and other do the same in every case: a connection that
// one of them has made need not be made again by the other.
func (c *Connector) Same(other *Connector) bool {
	if c == nil || other == nil {
		return c == other
	}
	return c.direct == other.direct && reflect.DeepEqual(c.options, other.options) &&
		reflect.DeepEqual(chain(c.config), chain(other.config)) && c.config.RootCAs.Equal(other.config.RootCAs)
}

// chain is what of our certificate the other side sees; none without.
func chain(config *tls.Config) [][]byte {
	if len(config.Certificates) == 0 {
		return nil
	}
	return config.Certificates[0].Certificate
}

// Direct reports whether a connection begins with TLS.
func (c *Connector) Direct() bool { return c != nil && c.direct }

// Client begins TLS with the server at host, a name or an address, on conn, which
// stays the caller's to close.
func (c *Connector) Client(conn net.Conn, host string) *tls.Conn {
	config := c.config.Clone()
	config.ServerName = host // checked with VerifyFull, and sent where it is a name
	return tls.Client(&Socket{conn}, config)
}
