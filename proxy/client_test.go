package proxy

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/wire"
)

// client is a PostgreSQL client that knows only the protocol.
type client struct {
	t      testing.TB
	socket net.Conn
	conn   net.Conn // socket, or TLS on it
	in     *pgproto3.Frontend

	pid     uint32
	key     []byte
	welcome []string // "name=value" of each ParameterStatus at login
}

// reply is what came up to a ReadyForQuery.
type reply struct {
	rows   []string // columns joined by "|"
	tags   []string
	status []string // "name=value" of each ParameterStatus
	notes  []string // payloads of notifications
	err    *pgproto3.ErrorResponse
	ready  byte
	types  string // of all messages, in order
}

// dialTo connects to an address. The connection is closed when the test ends.
func dialTo(t testing.TB, addr string) *client {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &client{t: t, socket: conn, conn: conn, in: pgproto3.NewFrontend(conn, conn)}
}

// reach connects as the clients of this run do, see inTLS.
func reach(t testing.TB, addr string) *client {
	t.Helper()
	if inTLS() {
		return dialTLS(t, addr, new(tls.Config))
	}
	return dialTo(t, addr)
}

// sslmode is reach for clients that go by a conninfo.
func sslmode() string {
	if inTLS() {
		return "require"
	}
	return "disable"
}

// dialTLS connects, asks for TLS and shakes hands. The server's certificate is not
// looked at.
func dialTLS(t testing.TB, addr string, config *tls.Config) *client {
	t.Helper()
	c := dialTo(t, addr)
	c.send((&wire.Startup{Code: wire.SSLRequestCode}).Append(nil))
	var answer [1]byte
	if _, err := c.conn.Read(answer[:]); err != nil || answer[0] != 'S' {
		t.Fatalf("answer to SSLRequest: %q, %v", answer, err)
	}
	if err := c.encrypt(config); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	return c
}

// encrypt goes on with TLS.
func (c *client) encrypt(config *tls.Config) error {
	config.InsecureSkipVerify = true
	conn := tls.Client(c.socket, config)
	c.conn, c.in = conn, pgproto3.NewFrontend(conn, conn)
	return conn.Handshake()
}

// login logs in as the trusted user; more are names and values of parameters.
func login(t testing.TB, addr string, more ...string) *client {
	t.Helper()
	c, err := tryLogin(t, addr, more...)
	if err != nil {
		t.Fatalf("login: %v", err)
	}
	return c
}

// tryLogin is login for those who expect an error of the server's.
func tryLogin(t testing.TB, addr string, more ...string) (*client, error) {
	t.Helper()
	c := reach(t, addr)
	params := more
	for _, p := range []struct{ name, value string }{{"database", lab.AppDatabase}, {"user", lab.TrustUser}} {
		if !slices.Contains(names(more), p.name) {
			params = append([]string{p.name, p.value}, params...)
		}
	}
	c.send(pgscript.Startup(params...))
	return c, c.welcomed()
}

// names are every other word.
func names(pairs []string) []string {
	var list []string
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, pairs[i])
	}
	return list
}

// welcomed reads up to the first ReadyForQuery, or the server's refusal.
func (c *client) welcomed() error {
	c.t.Helper()
	for {
		switch m := c.receive().(type) {
		case *pgproto3.AuthenticationOk, *pgproto3.NegotiateProtocolVersion, *pgproto3.NoticeResponse:
		case *pgproto3.ParameterStatus:
			c.welcome = append(c.welcome, m.Name+"="+m.Value)
		case *pgproto3.BackendKeyData:
			c.pid, c.key = m.ProcessID, slices.Clone(m.SecretKey)
		case *pgproto3.ReadyForQuery:
			return nil
		case *pgproto3.ErrorResponse:
			return refusal(m)
		default:
			c.t.Fatalf("login: unexpected %T", m)
		}
	}
}

// serverError is an ErrorResponse as a Go error.
type serverError struct{ pgproto3.ErrorResponse }

func refusal(m *pgproto3.ErrorResponse) *serverError { return &serverError{*m} }

func (e *serverError) Error() string {
	return strings.TrimSpace(e.Severity + " " + e.Code + " " + e.Message + " " + e.Hint)
}

// code is the SQLSTATE in err, empty when it holds none.
func code(err error) string {
	var e *serverError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func (c *client) send(parts ...[]byte) {
	c.t.Helper()
	if _, err := c.conn.Write(slices.Concat(parts...)); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

// receive returns the next message, which is valid until the one after it.
func (c *client) receive() pgproto3.BackendMessage {
	c.t.Helper()
	m, err := c.tryReceive()
	if err != nil {
		c.t.Fatalf("receive: %v", err)
	}
	return m
}

func (c *client) tryReceive() (pgproto3.BackendMessage, error) {
	c.conn.SetReadDeadline(time.Now().Add(patience))
	return c.in.Receive()
}

// query runs a simple query and returns all that came of it.
func (c *client) query(sql string) reply {
	c.t.Helper()
	c.send(pgscript.Query(sql))
	return c.answer()
}

// value runs a query that gives one value.
func (c *client) value(sql string) string {
	c.t.Helper()
	r := c.query(sql)
	if r.err != nil || len(r.rows) != 1 {
		c.t.Fatalf("%s: %v %v, want one row", sql, r.rows, r.err)
	}
	return r.rows[0]
}

// exec runs a query that must succeed.
func (c *client) exec(sql string) reply {
	c.t.Helper()
	r := c.query(sql)
	if r.err != nil {
		c.t.Fatalf("%s: %v", sql, refusal(r.err))
	}
	return r
}

// answer reads up to a ReadyForQuery, or to a FATAL and the end.
func (c *client) answer() reply {
	c.t.Helper()
	var r reply
	for {
		m, err := c.tryReceive()
		if err != nil && r.err != nil && r.err.Severity == "FATAL" {
			return r
		}
		if err != nil {
			c.t.Fatalf("receive after %q: %v", r.types, err)
		}
		if r.note(m) {
			return r
		}
	}
}

// note adds a message and reports whether it is the last.
func (r *reply) note(m pgproto3.BackendMessage) bool {
	encoded, err := m.Encode(nil)
	if err != nil {
		panic(err)
	}
	r.types += string(encoded[0])
	switch m := m.(type) {
	case *pgproto3.DataRow:
		var row []string
		for _, v := range m.Values {
			row = append(row, string(v))
		}
		r.rows = append(r.rows, strings.Join(row, "|"))
	case *pgproto3.CommandComplete:
		r.tags = append(r.tags, string(m.CommandTag))
	case *pgproto3.ParameterStatus:
		r.status = append(r.status, m.Name+"="+m.Value)
	case *pgproto3.NotificationResponse:
		r.notes = append(r.notes, m.Payload)
	case *pgproto3.ErrorResponse:
		copied := *m
		r.err = &copied
	case *pgproto3.ReadyForQuery:
		r.ready = m.TxStatus
		return true
	}
	return false
}

// state is the SQLSTATE of the reply's error, empty without one.
func (r *reply) state() string {
	if r.err == nil {
		return ""
	}
	return r.err.Code
}

// fatal reads what is left, which must end with a FATAL and the end of the
// connection, and returns its SQLSTATE.
func (c *client) fatal() string {
	c.t.Helper()
	r := c.answer()
	if r.err == nil || r.err.Severity != "FATAL" {
		c.t.Fatalf("got %q %v, want a FATAL", r.types, r.err)
	}
	return r.err.Code
}

// gone waits for the end of the connection, whatever comes before.
func (c *client) gone() {
	c.t.Helper()
	for {
		if _, err := c.tryReceive(); err != nil {
			var slow net.Error
			if errors.As(err, &slow) && slow.Timeout() {
				c.t.Fatal("the connection was not closed")
			}
			return
		}
	}
}

// leave says Terminate and closes.
func (c *client) leave() {
	c.t.Helper()
	c.send(pgscript.Terminate())
	c.conn.Close()
}

// closeWrite sends FIN and goes on reading.
func (c *client) closeWrite() {
	if c.conn != c.socket {
		c.conn.(*tls.Conn).CloseWrite()
	}
	c.socket.(*net.TCPConn).CloseWrite()
}

// reset closes with RST, as the kernel does for a process that died with unread
// input.
func (c *client) reset() {
	c.socket.(*net.TCPConn).SetLinger(0)
	c.socket.Close()
}

// cancel asks to cancel what the client has running, and returns when the
// request has been taken.
func (c *client) cancel(addr string) {
	c.t.Helper()
	cancelWith(c.t, addr, c.pid, c.key)
}

func cancelWith(t testing.TB, addr string, pid uint32, key []byte) {
	t.Helper()
	other := reach(t, addr)
	other.send((&wire.Startup{Code: wire.CancelRequestCode, ProcessID: pid, SecretKey: key}).Append(nil))
	other.gone()
	other.conn.Close()
}

// int16s is a body of 16-bit numbers.
func int16s(numbers ...uint16) []byte {
	var b []byte
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return b
}
