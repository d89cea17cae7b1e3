package loop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/pgvip/pgvip/tlsconf"
)

// maxRecord is the most plain text in one record of TLS (RFC 8446 section 5.1).
const maxRecord = 16 << 10

// recordOverhead is more than a record adds to its plain text in any version:
// header, explicit nonce or padding, and checksum.
const recordOverhead = 64

// secure is the TLS of a connection. A tls.Conn wants a connection below that
// blocks; this one says EAGAIN instead, which crypto/tls knows as a temporary
// error that it can go on after, and never blocks or fails in writing. It belongs
// to the loop of its Conn.
//
//	handler <- Data <- tls.Conn.Read <- secure.Read <- socket
//	handler -> Write -> tls.Conn.Write -> secure.Write -> transmit -> socket, queue
type secure struct {
	c   *Conn
	tls *tls.Conn
	// dry: the socket had nothing left when it was last read. Epoll tells when
	// there is more.
	dry bool
	// more: tls may hold plain text or whole records, of which epoll knows
	// nothing. So it is from the beginning: the handshake has read ahead.
	more bool
	// gather: records of one Write are collected, to leave in one piece.
	gather bool
}

var errTransport = errors.New("tls.Conn does not lie on a tlsconf.Socket")

// secure puts conn, if there is one, on top of c.
func (c *Conn) secure(conn *tls.Conn) error {
	if conn == nil {
		return nil
	}
	socket, ok := conn.NetConn().(*tlsconf.Socket)
	if !ok {
		return errTransport
	}
	c.tls = &secure{c: c, tls: conn, more: true}
	socket.Conn = c.tls
	return nil
}

// TLS is the connection's TLS, for questions such as its version; nil without.
// It must not be used to read, write or close.
func (c *Conn) TLS() *tls.Conn {
	if c.tls == nil {
		return nil
	}
	return c.tls.tls
}

// moreTLS reports whether c can be read without an event.
func (c *Conn) moreTLS() bool {
	return c.tls != nil && c.tls.more && c.paused == 0 && !c.eof
}

// readTLS is read for a connection with TLS. What it leaves behind when the quota
// is used up or the handler wants no more may be in the tls.Conn, so it comes back
// without an event.
func (c *Conn) readTLS() {
	l, gen, s := c.loop, c.gen, c.tls
	s.dry = false
	for quota := turnQuota; quota > 0; {
		start, room := c.room()
		if len(room) == 0 {
			c.Pause(PauseFull)
			return
		}
		n, err := s.fill(room)
		s.more = err != syscall.EAGAIN
		if n > 0 {
			// An error that is no dry socket comes again.
			c.deliver(l.buf[start : keepMax+n])
			if !c.belongs(l, gen) || c.tls != s || c.paused != 0 || !s.more {
				return
			}
			quota -= n
			continue
		}
		switch {
		case err == syscall.EAGAIN:
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			// With or without close_notify: PostgreSQL's messages say themselves
			// how long they are, and nobody acts on half a message.
			c.finished()
		default:
			c.fail(err)
		}
		return
	}
	c.serveLater()
}

// fill reads plain text until room is full or there is no more.
func (s *secure) fill(room []byte) (n int, err error) {
	for n < len(room) && err == nil {
		var got int
		got, err = s.tls.Read(room[n:])
		n += got
	}
	return n, err
}

// send encrypts b and sends it, as Conn.Write.
func (s *secure) send(b []byte) bool {
	c := s.c
	if s.gather = len(b) > maxRecord; s.gather {
		records := (len(b) + maxRecord - 1) / maxRecord
		c.makeRoom(len(b) + records*recordOverhead)
	}
	if _, err := s.tls.Write(b); err != nil && c.broken == 0 {
		// A record could not be made: the other side has broken the protocol.
		c.broken = syscall.EPIPE
		c.ProcessLater()
	}
	if s.gather {
		s.gather = false
		c.push()
	}
	return len(c.out) == 0
}

// Read implements net.Conn for the tls.Conn.
func (s *secure) Read(b []byte) (int, error) {
	if s.dry {
		return 0, syscall.EAGAIN
	}
	n, errno := rawRead(int(s.c.fd), b)
	switch {
	case errno == syscall.EAGAIN || errno == syscall.EINTR:
		return 0, syscall.EAGAIN
	case errno != 0:
		return 0, errno
	case n == 0:
		return 0, io.EOF
	}
	// Half a buffer is all there was: the next question can be spared.
	s.dry = n < len(b)
	return n, nil
}

// Write implements net.Conn for the tls.Conn, which takes what it wrote for sent.
func (s *secure) Write(b []byte) (int, error) {
	switch {
	case s.c.broken != 0:
	case s.gather:
		s.c.out = append(s.c.out, b...)
	default:
		s.c.transmit(b)
	}
	return len(b), nil
}

// Close, the addresses and the deadlines are for goroutines that block.

func (s *secure) Close() error                     { return nil }
func (s *secure) LocalAddr() net.Addr              { return nil }
func (s *secure) RemoteAddr() net.Addr             { return nil }
func (s *secure) SetDeadline(time.Time) error      { return nil }
func (s *secure) SetReadDeadline(time.Time) error  { return nil }
func (s *secure) SetWriteDeadline(time.Time) error { return nil }

// closeNotify ends TLS on our side: what is sent after it is dropped, what still
// comes is not decrypted.
func (c *Conn) closeNotify() {
	if c.tls == nil {
		return
	}
	_ = c.tls.tls.CloseWrite() // fails where there is nothing left to say
	c.tls = nil
}
