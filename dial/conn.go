package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgproto3/v2"

	"github.com/pgvip/pgvip/wire"
)

// errNoSocket says that a connection has no descriptor to hand over.
var errNoSocket = errors.New("connection is no socket")

// terminateTimeout bounds the sending of Terminate. Five bytes wait only when
// the peer is dead.
const terminateTimeout = time.Second

// maxParameters bounds how many parameters a server may report. PostgreSQL 18
// reports 15, extensions and Citus a few more.
const maxParameters = 256

// Conn is a logged-in connection. It belongs to one goroutine at a time, which
// must end it by Close or Detach. After an error other than the server's
// ERROR it is closed already.
type Conn struct {
	address string
	socket  net.Conn
	tls     *tls.Conn // on socket; nil without
	stream  stream    // of either
	closed  bool
	// status is that of the last ReadyForQuery: 'I', 'T' or 'E'.
	status byte

	// What the server said at login, parameters kept up to date since.
	parameters []wire.Param
	processID  uint32
	secretKey  []byte
}

// String names the connection's address.
func (c *Conn) String() string { return c.address }

// Parameters returns the server's parameters (ParameterStatus) in the order
// they were first reported. The slice is the caller's.
func (c *Conn) Parameters() []wire.Param {
	return append([]wire.Param(nil), c.parameters...)
}

// Parameter returns the value of one of the server's parameters.
func (c *Conn) Parameter(name string) (value string, ok bool) {
	for _, p := range c.parameters {
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}

// BackendKey returns what Cancel needs. key is nil where the server sent none:
// RDS Proxy does not, and its queries cannot be cancelled. The key is the
// connection's: not to be changed.
func (c *Conn) BackendKey() (pid uint32, key []byte) { return c.processID, c.secretKey }

// Detach hands the socket over, and TLS with it: fd is a descriptor of its own, non-blocking and
// closed on exec, which the caller must close; unread is what has arrived beyond
// the last reply (at most asynchronous messages), as plain text; TLS may hold more. The Conn is used up; no
// Terminate is sent. On an error the Conn is as before, except that it may have
// been closed already.
func (c *Conn) Detach() (fd int, unread []byte, err error) {
	switch {
	case c.closed:
		err = ErrClosed
	case c.status != 'I':
		err = fmt.Errorf("transaction is open (status %q)", c.status)
	default:
		fd, err = duplicate(c.socket)
	}
	if err != nil {
		return -1, nil, &Error{Op: OpDetach, Address: c.address, Err: err}
	}
	c.closed = true
	// The duplicate keeps the connection itself open, so this error, if any,
	// concerns nobody.
	_ = c.socket.Close()
	return fd, append([]byte(nil), c.stream.unread()...), nil
}

// Close says Terminate, so that the server logs no lost connection, and closes.
// Closing twice, or after Detach, does nothing.
func (c *Conn) Close() error {
	if c.closed {
		return nil
	}
	_ = c.stream.conn.SetWriteDeadline(time.Now().Add(terminateTimeout))
	if message, err := (&pgproto3.Terminate{}).Encode(nil); err == nil {
		// Polite only: a server that cannot be told finds out by the close.
		_, _ = c.stream.conn.Write(message)
	}
	if c.tls != nil {
		_ = c.tls.CloseWrite()
	}
	return c.drop()
}

// drop closes without a word.
func (c *Conn) drop() error {
	c.closed = true
	return c.socket.Close()
}

// run carries out one exchange with the server under ctx and a budget of bytes.
// Unless it ends well or with an ERROR of the server's, the connection is closed.
func (c *Conn) run(ctx context.Context, op Op, budget int, exchange func() error) error {
	if c.closed {
		return &Error{Op: op, Address: c.address, Err: ErrClosed}
	}
	c.stream.budget = budget
	release := interruptible(ctx, c.socket)
	err := exchange()
	release()
	if err == nil {
		return nil
	}
	var own *wire.Error
	if !errors.As(err, &own) || own.Fatal() || op == OpLogin {
		_ = c.drop()
	}
	return explain(ctx, op, c.address, err)
}

// send writes a message, if there is one. A server that has gone may have said
// why before: that is the better error.
func (c *Conn) send(message []byte) error {
	if len(message) == 0 {
		return nil
	}
	_, err := c.stream.conn.Write(message)
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	for {
		typ, body, readErr := c.stream.next()
		if readErr != nil {
			return err
		}
		if typ == 'E' {
			return wire.ParseError(body)
		}
	}
}

// asynchronous handles the messages that a server may send at any time and
// reports whether typ was one.
func (c *Conn) asynchronous(typ byte, body []byte) (bool, error) {
	switch typ {
	case 'S':
		return true, c.setParameter(body)
	case 'N', 'A':
		// Notices and notifications: nobody here has asked for any.
		return true, nil
	}
	return false, nil
}

func (c *Conn) setParameter(body []byte) error {
	name, rest, ok := strings.Cut(string(body), "\x00")
	value, rest, ok2 := strings.Cut(rest, "\x00")
	if !ok || !ok2 || rest != "" {
		return fmt.Errorf("%w: malformed ParameterStatus", ErrProtocol)
	}
	for i := range c.parameters {
		if c.parameters[i].Name == name {
			c.parameters[i].Value = value
			return nil
		}
	}
	if len(c.parameters) == maxParameters {
		return fmt.Errorf("%w: server reports more than %d parameters", ErrProtocol, maxParameters)
	}
	c.parameters = append(c.parameters, wire.Param{Name: name, Value: value})
	return nil
}

// setStatus reads ReadyForQuery.
func (c *Conn) setStatus(body []byte) error {
	if len(body) != 1 || body[0] != 'I' && body[0] != 'T' && body[0] != 'E' {
		return fmt.Errorf("%w: ReadyForQuery with %q", ErrProtocol, body)
	}
	c.status = body[0]
	return nil
}
