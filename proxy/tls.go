package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/pgvip/pgvip/tlsconf"
	"github.com/pgvip/pgvip/wire"
)

// recordHandshake is how a client that begins with TLS begins (RFC 8446 section
// 5.1). As the first byte of a startup packet it would announce 370 MB.
const recordHandshake = 0x16

// tlsState is what a client's TLS means to the steps of its login.
type tlsState struct {
	conn  *tls.Conn
	state tls.ConnectionState
	// certificate is the client's if it has been verified; nil otherwise.
	certificate *x509.Certificate
	// binding is the channel binding for SCRAM-SHA-256-PLUS; nil without.
	binding []byte
}

// offersTLS reports whether this client may have TLS. Like PostgreSQL, pgvip has
// none on Unix sockets.
func (a *attempt) offersTLS() bool {
	return a.proxy.settings.Load().TLS.Offered() && a.socket.LocalAddr().Network() != "unix"
}

// directTLS begins with TLS if the client has done so.
func (a *attempt) directTLS() error {
	if err := a.reader.fill(1); err != nil {
		return readError(&a.reader, err, false)
	}
	if a.reader.unread()[0] != recordHandshake {
		return nil
	}
	if !a.offersTLS() {
		// What could be said the client would take for a broken TLS.
		a.socket.SetDeadline(time.Now().Add(time.Second))
		lingerClose(a.socket)
		return errQuiet
	}
	if err := a.startTLS(); err != nil {
		return err
	}
	if a.tlsState.state.NegotiatedProtocol != tlsconf.Protocol {
		return wire.Fatal(wire.CodeProtocolViolation, "received direct TLS connection request without ALPN protocol negotiation extension",
			"The ALPN protocol is \""+tlsconf.Protocol+"\".")
	}
	return nil
}

// startTLS shakes hands with the client, whose first bytes may have been read.
func (a *attempt) startTLS() error {
	acceptor := a.proxy.settings.Load().TLS
	turn := a.proxy.compute
	paced := &pacedConn{Conn: a.socket, turn: turn, ahead: a.reader.unread()}
	conn := acceptor.Server(paced)
	turn <- struct{}{}
	err := conn.Handshake() // within the deadline of the login
	<-turn
	if err == nil && len(paced.ahead) > 0 {
		err = errAhead
	}
	if err != nil {
		// Who closes or resets has looked whether there is TLS, and left: no failure.
		if !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
			a.proxy.counters.LoginsFailed.Add(1)
			a.logRefusal(zap.String("cause", "TLS handshake: "+err.Error()))
		}
		return errQuiet // TLS has its own way to tell the client
	}
	conn.NetConn().(*tlsconf.Socket).Conn = a.socket
	state := conn.ConnectionState()
	a.tlsState = &tlsState{conn: conn, state: state, certificate: acceptor.Verified(&state), binding: acceptor.Binding()}
	a.conn = conn
	a.reader = reader{conn: conn, some: true}
	return nil
}

// errAhead cannot be: the client's last message answers one of ours.
var errAhead = errors.New("bytes of the handshake are left over")

// close ends an attempt that leads to no session.
func (a *attempt) close() {
	if a.tlsState != nil {
		// libpq takes an end without close_notify for a failed cancel request.
		a.tlsState.conn.CloseWrite()
	}
	a.proxy.flows.closed(a.flow)
	a.socket.Close()
}

// checkTLS refuses a client that has to use TLS and does not.
func (a *attempt) checkTLS() error {
	if a.tlsState == nil && a.offersTLS() && a.proxy.settings.Load().TLS.Required() {
		return wire.Fatal(wire.CodeInvalidAuthorization, "SSL required", "Connect with sslmode=require or stricter; the setting is client_tls_sslmode of pgvip.")
	}
	return nil
}

// pacedConn is a client's socket during its handshake, which is both network and
// computation: it holds a turn to compute except while it waits for the network.
type pacedConn struct {
	net.Conn
	turn  chan struct{}
	ahead []byte // read already
}

func (p *pacedConn) Read(b []byte) (int, error) {
	if len(p.ahead) > 0 {
		n := copy(b, p.ahead)
		p.ahead = p.ahead[n:]
		return n, nil
	}
	<-p.turn
	defer func() { p.turn <- struct{}{} }()
	return p.Conn.Read(b)
}

func (p *pacedConn) Write(b []byte) (int, error) {
	<-p.turn
	defer func() { p.turn <- struct{}{} }()
	return p.Conn.Write(b)
}
