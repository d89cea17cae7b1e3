package proxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/pgvip/pgvip/wire"
)

// The PROXY protocol: a load balancer in front of pgvip says, before anything
// else, who its client is. Such a header is believed from proxy_protocol_networks
// only, and there it is demanded of every connection: the specification forbids
// to guess, and a client behind a load balancer that sends none could send its
// own. https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt
const (
	// proxyLineLimit is the longest header of version 1 that there can be.
	proxyLineLimit = 107
	// proxyBodyLimit is more than addresses and what a load balancer knows of its
	// client's TLS need in version 2.
	proxyBodyLimit = 2048
	// proxyHeaderTimeout is plenty: it is the first thing sent, in one piece.
	proxyHeaderTimeout = 5 * time.Second
)

// identify finds out whom the client's socket belongs to: its peer, or whom a
// load balancer says.
func (a *attempt) identify() error {
	a.client = a.conn.RemoteAddr()
	if !within(a.proxy.settings.Load().ProxyNetworks, a.client) {
		return nil
	}
	// The deadline of the login is set already, and is not to be touched.
	timer := time.AfterFunc(proxyHeaderTimeout, func() { a.conn.SetReadDeadline(time.Unix(1, 0)) })
	header, err := readProxyHeader(a.conn)
	if !timer.Stop() {
		return errQuiet // nothing can be read any more
	}
	if err != nil {
		return err
	}
	client, err := parseProxyHeader(header)
	if client != nil {
		a.client = client
	}
	return err
}

func within(networks []netip.Prefix, addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return false
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	for _, n := range networks {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

// readProxyHeader reads one header of either version, and not a byte of what
// follows: that may be TLS.
func readProxyHeader(conn io.Reader) ([]byte, error) {
	// No header of either version is shorter than the signature of the second.
	start := make([]byte, len(proxyproto.SIGV2))
	if n, err := io.ReadFull(conn, start); n == 0 && err != nil {
		return nil, errQuiet // a port check
	} else if err != nil {
		return nil, proxyReadError(err)
	}
	switch {
	case bytes.Equal(start, proxyproto.SIGV2):
		return readProxyV2(conn, start)
	case bytes.HasPrefix(start, proxyproto.SIGV1):
		return readProxyV1(conn, start)
	}
	return nil, errProxyHeader("expected a PROXY protocol header")
}

// readProxyV1 reads on to the end of the line.
func readProxyV1(conn io.Reader, line []byte) ([]byte, error) {
	var next [1]byte
	for len(line) < proxyLineLimit {
		if _, err := io.ReadFull(conn, next[:]); err != nil {
			return nil, proxyReadError(err)
		}
		if line = append(line, next[0]); next[0] == '\n' {
			return line, nil
		}
	}
	return nil, errProxyHeader("PROXY protocol header is too long")
}

// readProxyV2 reads version, family and length, and as much as that says.
func readProxyV2(conn io.Reader, start []byte) ([]byte, error) {
	header := append(start, 0, 0, 0, 0)
	if _, err := io.ReadFull(conn, header[len(start):]); err != nil {
		return nil, proxyReadError(err)
	}
	length := int(binary.BigEndian.Uint16(header[len(start)+2:]))
	if length > proxyBodyLimit {
		return nil, errProxyHeader("PROXY protocol header is too long")
	}
	at := len(header)
	header = append(header, make([]byte, length)...)
	if _, err := io.ReadFull(conn, header[at:]); err != nil {
		return nil, proxyReadError(err)
	}
	return header, nil
}

// proxyReadError tells a header that was cut short from a client that took too
// long.
func proxyReadError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errProxyHeader("the connection ended inside the PROXY protocol header")
	}
	return errQuiet
}

// parseProxyHeader gives the client's address, nil where the header has none:
// the load balancer speaks for itself, or will not say.
func parseProxyHeader(b []byte) (net.Addr, error) {
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b), len(b)))
	if err != nil {
		return nil, errProxyHeader("invalid PROXY protocol header")
	}
	if client, ok := h.SourceAddr.(*net.TCPAddr); ok && !h.Command.IsLocal() {
		return client, nil
	}
	return nil, nil
}

func errProxyHeader(message string) *wire.Error {
	return wire.Fatal(wire.CodeProtocolViolation, message,
		"Every connection from proxy_protocol_networks of pgvip begins with one.")
}

// unexpectedProxyHeader explains a startup packet that is none.
func unexpectedProxyHeader(start []byte) error {
	if bytes.HasPrefix(start, proxyproto.SIGV1[:4]) || bytes.HasPrefix(start, proxyproto.SIGV2[:4]) {
		return wire.Fatal(wire.CodeProtocolViolation, "received a PROXY protocol header that was not expected",
			"Name its network in proxy_protocol_networks of pgvip, or turn it off at the load balancer.")
	}
	return nil
}
