package proxy

import (
	"cmp"
	"errors"
	"io"
	"net"
	"os"

	"github.com/pgvip/pgvip/wire"
)

// errQuiet ends a login without a word: the peer has said nothing, as port
// checks do, or has gone.
var errQuiet = errors.New("client left")

// reader reads what a client sends before its session begins. It may read
// ahead; unread gives back what belongs to the session.
type reader struct {
	conn net.Conn
	buf  []byte // as read, not consumed
	some bool   // anything was read at all
}

// next returns the next n bytes, which are valid until the following call.
func (r *reader) next(n int) ([]byte, error) {
	if err := r.fill(n); err != nil {
		return nil, err
	}
	b := r.buf[:n:n]
	r.buf = r.buf[n:]
	return b, nil
}

// fill reads until there are n bytes. What a client announces costs memory only
// as it arrives.
func (r *reader) fill(n int) error {
	for len(r.buf) < n {
		var chunk [1024]byte
		got, err := r.conn.Read(chunk[:])
		r.buf = append(r.buf, chunk[:got]...)
		r.some = r.some || got > 0
		if err != nil && len(r.buf) < n {
			return err
		}
	}
	return nil
}

func (r *reader) unread() []byte { return r.buf }

// readStartup reads startup packets until one is more than a request for
// encryption, each of which may come once, and none inside TLS.
func (a *attempt) readStartup() (*wire.Startup, error) {
	if err := a.directTLS(); err != nil {
		return nil, err
	}
	seen := make(map[uint32]bool, 2)
	for {
		s, err := readStartupPacket(&a.reader)
		if err != nil {
			return nil, err
		}
		if s.Code != wire.SSLRequestCode && s.Code != wire.GSSENCRequestCode {
			return s, nil
		}
		if seen[s.Code] || a.tlsState != nil {
			return nil, wire.UnsupportedProtocol(s.Code)
		}
		seen[s.Code] = true
		if err := a.answerEncryption(s.Code); err != nil {
			return nil, err
		}
	}
}

// answerEncryption grants TLS where there is any.
func (a *attempt) answerEncryption(code uint32) error {
	// CVE-2021-3935: bytes behind the request were meant to look as if they
	// had come through the encrypted channel.
	if len(a.reader.unread()) > 0 {
		return wire.Fatal(wire.CodeProtocolViolation, "received unencrypted data after encryption request",
			"This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.")
	}
	answer := byte('N')
	granted := code == wire.SSLRequestCode && a.offersTLS()
	if granted {
		answer = 'S'
	}
	if _, err := a.conn.Write([]byte{answer}); err != nil {
		return errQuiet
	}
	if granted {
		return a.startTLS()
	}
	return nil
}

func readStartupPacket(r *reader) (*wire.Startup, error) {
	head, err := r.next(4)
	if err != nil {
		return nil, readError(r, err, len(r.buf) > 0)
	}
	n, err := wire.StartupLength(head)
	if err != nil {
		return nil, cmp.Or(unexpectedProxyHeader(head), err)
	}
	body, err := r.next(n)
	if err != nil {
		return nil, readError(r, err, true)
	}
	return wire.ParseStartup(body)
}

// readError says what a failed read before the session means to the client. Who
// closes between two messages has just left: libpq does so to ask its user for
// a password, or when it does not like the answer to its SSLRequest.
func readError(r *reader, err error, inside bool) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && r.some {
		return wire.Fatal(wire.CodeCannotConnectNow, "login took longer than client_login_timeout", "")
	}
	if errors.Is(err, io.EOF) && inside {
		return wire.Fatal(wire.CodeProtocolViolation, "the connection ended inside a message", "")
	}
	return errQuiet
}

// readPassword reads the body of one 'p' message of at most limit bytes.
func readPassword(r *reader, limit int) ([]byte, error) {
	head, err := r.next(wire.HeaderSize)
	if err != nil {
		return nil, readError(r, err, len(r.buf) > 0)
	}
	if head[0] != 'p' {
		return nil, wire.Fatal(wire.CodeProtocolViolation, "expected a password message", "")
	}
	n := int(uint32(head[1])<<24|uint32(head[2])<<16|uint32(head[3])<<8|uint32(head[4])) - 4
	if n < 0 || n > limit {
		return nil, wire.Fatal(wire.CodeProtocolViolation, "invalid length of password message", "")
	}
	body, err := r.next(n)
	if err != nil {
		return nil, readError(r, err, true)
	}
	return body, nil
}
