package dial

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/pgvip/pgvip/tlsconf"
	"github.com/pgvip/pgvip/wire"
)

var (
	errRefusedTLS = errors.New("server offers no TLS, which server_tls_sslmode demands")
	errNoALPN     = errors.New("server did not agree on ALPN protocol \"" + tlsconf.Protocol + "\"")
	// errInjected: see CVE-2021-3935 and CVE-2021-23222.
	errInjected = errors.New("received unencrypted data after the answer to SSLRequest")
)

// encrypted reports whether connections are to be asked for TLS from the beginning.
func (cfg *Config) encrypted() bool {
	return cfg.TLS.Mode() > tlsconf.Allow && cfg.Network != "unix"
}

// refusedPlain reports whether a login failed in the way that sslmode allow tries
// again with TLS after: as libpq does, where pg_hba.conf lets nobody in without.
func (cfg *Config) refusedPlain(err error) bool {
	var own *wire.Error
	return cfg.TLS.Mode() == tlsconf.Allow && cfg.Network != "unix" &&
		errors.As(err, &own) && own.Code == wire.CodeInvalidAuthorization
}

// encrypt puts TLS on conn. It returns nil where the server has none and that is
// good enough.
func encrypt(conn net.Conn, cfg *Config) (*tls.Conn, error) {
	if !cfg.TLS.Direct() {
		offered, err := requestTLS(conn)
		switch {
		case err != nil:
			return nil, err
		case !offered && cfg.TLS.Mode() >= tlsconf.Require:
			return nil, errRefusedTLS
		case !offered:
			return nil, nil
		}
	}
	host, _, err := net.SplitHostPort(cfg.Address)
	if err != nil {
		host = cfg.Address
	}
	secured := cfg.TLS.Client(conn, host)
	if err := secured.Handshake(); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	if cfg.TLS.Direct() && secured.ConnectionState().NegotiatedProtocol != tlsconf.Protocol {
		return nil, errNoALPN
	}
	return secured, nil
}

// requestTLS asks the server for TLS and reports whether it agrees. Before that
// nothing that it says can be believed, an error of its own included.
func requestTLS(conn net.Conn) (bool, error) {
	request := wire.Startup{Code: wire.SSLRequestCode}
	if _, err := conn.Write(request.Append(nil)); err != nil {
		return false, err
	}
	// More than one byte would have been sent without TLS, to be taken for what
	// came through it.
	var answer [2]byte
	n, err := conn.Read(answer[:])
	switch {
	case n > 1:
		return false, fmt.Errorf("%w: %w", ErrProtocol, errInjected)
	case n == 0:
		return false, err
	case answer[0] != 'S' && answer[0] != 'N':
		return false, fmt.Errorf("%w: server answers SSLRequest with %q", ErrProtocol, answer[0])
	}
	return answer[0] == 'S', nil
}

// secure puts TLS on c before anything else is said.
func (c *Conn) secure(cfg *Config) error {
	secured, err := encrypt(c.socket, cfg)
	if secured != nil {
		c.tls, c.stream.conn = secured, secured
	}
	return err
}

// TLS is the TLS of the connection, for those who take it over by Detach; nil
// without.
func (c *Conn) TLS() *tls.Conn { return c.tls }

// binding is what SCRAM can be bound by; nil without TLS.
func (c *Conn) binding() []byte {
	if c.tls == nil {
		return nil
	}
	return tlsconf.ServerEndPoint(c.tls.ConnectionState().PeerCertificates[0])
}
