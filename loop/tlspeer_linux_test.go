package loop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgvip/pgvip/tlsconf"
)

// fdConn is a connection of a test over a bare descriptor, blocking or not.
type fdConn struct {
	fd    int
	write func([]byte) (int, error) // nil is the socket itself
	ended bool                      // a read has met the end of the stream
}

func (c *fdConn) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(c.fd, b)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}, int(patience.Milliseconds())); err != nil && err != unix.EINTR {
				return 0, err
			}
		case err != nil:
			return 0, err
		case n == 0 && len(b) > 0:
			c.ended = true
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

func (c *fdConn) Write(b []byte) (int, error) {
	if c.write != nil {
		return c.write(b)
	}
	return peer{fd: c.fd}.Write(b)
}

func (*fdConn) Close() error                     { return nil }
func (*fdConn) LocalAddr() net.Addr              { return nil }
func (*fdConn) RemoteAddr() net.Addr             { return nil }
func (*fdConn) SetDeadline(time.Time) error      { return nil }
func (*fdConn) SetReadDeadline(time.Time) error  { return nil }
func (*fdConn) SetWriteDeadline(time.Time) error { return nil }

// certified makes the configuration of a server with a certificate of its own.
func certified(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		Certificates:                []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		DynamicRecordSizingDisabled: true,
		SessionTicketsDisabled:      true,
	}
}

// tlsPeer is the other end of a loop's socket, behind TLS.
type tlsPeer struct {
	peer
	tls *tls.Conn
	raw *fdConn
	log bytes.Buffer // the secrets, in the format of SSLKEYLOGFILE
}

// shaken makes a socket for a loop, the TLS on it after its handshake, and its
// peer. What the peer says in first comes in the same breath as the last message of
// its handshake.
func shaken(t testing.TB, pair func(testing.TB) (int, peer), version uint16, first string) (int, *tls.Conn, *tlsPeer) {
	t.Helper()
	fd, p := pair(t)
	config := certified(t)
	config.MinVersion, config.MaxVersion = version, version
	ours := &fdConn{fd: fd}
	server := tls.Server(&tlsconf.Socket{Conn: ours}, config)
	far := &tlsPeer{peer: p, raw: &fdConn{fd: p.fd}}
	far.tls = tls.Client(far.raw, &tls.Config{InsecureSkipVerify: true, KeyLogWriter: &far.log,
		DynamicRecordSizingDisabled: true})
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	var last []byte
	if first != "" { // and with TLS 1.3, where the client speaks last
		hello := true
		far.raw.write = func(b []byte) (int, error) {
			if hello {
				hello = false
				return p.Write(b)
			}
			last = append(last, b...)
			return len(b), nil
		}
	}
	err := far.tls.Handshake()
	if err == nil && first != "" {
		_, err = far.tls.Write([]byte(first))
		far.raw.write = nil
		p.send(string(last))
	}
	if err = errors.Join(err, <-done); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	return fd, server, far
}

// addTLS gives the loop a new connection with TLS 1.3.
func addTLS(t testing.TB, l *Loop, h Handler) (*Conn, *tlsPeer) {
	t.Helper()
	return addShaken(t, l, tcpPair, tls.VersionTLS13, h, "")
}

func addShaken(t testing.TB, l *Loop, pair func(testing.TB) (int, peer), version uint16, h Handler, first string) (*Conn, *tlsPeer) {
	t.Helper()
	fd, server, far := shaken(t, pair, version, first)
	c := new(Conn)
	if err := l.AddTLS(c, fd, ClassClient, h, server, nil); err != nil {
		unix.Close(fd)
		t.Fatalf("AddTLS: %v", err)
	}
	return c, far
}

func (p *tlsPeer) send(s string) {
	p.t.Helper()
	if _, err := p.tls.Write([]byte(s)); err != nil {
		p.t.Fatalf("peer sends: %v", err)
	}
}

func (p *tlsPeer) expect(want string) {
	p.t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(p.tls, got); err != nil || string(got) != want {
		p.t.Fatalf("peer read %q, %v, want %q", got[:n], err, want)
	}
}

// expectNotify reads to the end, which TLS itself must have announced.
func (p *tlsPeer) expectNotify() {
	p.t.Helper()
	if b, err := io.ReadAll(p.tls); err != nil || len(b) > 0 {
		p.t.Fatalf("peer read %d bytes, %v, want the end", len(b), err)
	}
	if p.raw.ended {
		p.t.Error("the stream ended without close_notify")
	}
}
