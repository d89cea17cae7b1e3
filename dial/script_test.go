package dial_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/internal/freeport"
	"github.com/pgvip/pgvip/tlsconf"
	"github.com/pgvip/pgvip/wire"
)

// message builds a server's message from its type and body.
func message(typ byte, body string) string {
	return string(binary.BigEndian.AppendUint32([]byte{typ}, uint32(len(body)+4))) + body
}

var (
	authOk = message('R', "\x00\x00\x00\x00")
	ready  = message('Z', "I")
	key    = message('K', "\x00\x00\x00\x07four")
)

// script is what a server does after it has read the startup packet.
type script func(net.Conn) error

// serve is a scripted server for one connection, which it closes at the end of
// the script; it is through when the test ends. A client that keeps its
// connection open makes the test fail.
func serve(t *testing.T, play script) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}) // closed when the server is through
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		readStartup(conn)
		if err := play(conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("client has not closed its connection")
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	return listener.Addr().String()
}

func readStartup(conn net.Conn) {
	var length [4]byte
	if _, err := io.ReadFull(conn, length[:]); err == nil {
		io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(length[:]))-4)
	}
}

// say is a script that sends bytes and waits for the client to close.
func say(parts ...string) script {
	return func(conn net.Conn) error {
		io.WriteString(conn, strings.Join(parts, ""))
		_, err := io.Copy(io.Discard, conn)
		return err
	}
}

// hangUp is a script that sends bytes and closes at once.
func hangUp(parts ...string) script {
	return func(conn net.Conn) error {
		_, err := io.WriteString(conn, strings.Join(parts, ""))
		return err
	}
}

func loginTo(t *testing.T, address string) (*dial.Conn, error) {
	t.Helper()
	// A time-out here is a hang: no case waits for it.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return dial.Login(ctx, &dial.Config{Network: "tcp", Address: address, User: "alice",
		Credential: auth.Credential{Password: "pencil"}})
}

func TestLoginRefusesRubbish(t *testing.T) {
	notice := message('N', "SNOTICE\x00Mhello\x00\x00")
	tests := []struct {
		name   string
		script script
		want   error // errors.Is
		text   string
	}{
		{"closes at once", hangUp(), io.ErrUnexpectedEOF, "server closed the connection"},
		{"closes in a header", hangUp("R\x00\x00"), io.ErrUnexpectedEOF, "server closed the connection"},
		{"closes in a body", hangUp(message('R', "\x00\x00\x00\x00")[:7]), io.ErrUnexpectedEOF, "server closed"},
		{"closes after authentication", hangUp(authOk), io.ErrUnexpectedEOF, "server closed the connection"},
		{"closes before ready", hangUp(authOk, key), io.ErrUnexpectedEOF, "server closed the connection"},
		{"speaks HTTP", say("HTTP/1.1 400 Bad Request\r\n\r\n"), dial.ErrProtocol, `begins with "HTTP/1.1 400 Bad`},
		{"speaks SSH", say("SSH-2.0-OpenSSH_9.2\r\n"), dial.ErrProtocol, `begins with "SSH-2.0-`},
		{"length 3", say("R\x00\x00\x00\x03"), dial.ErrProtocol, "no PostgreSQL server"},
		{"length 0 later", say(authOk, "S\x00\x00\x00\x00"), dial.ErrProtocol, "of length 0"},
		{"2 GB announced", say(authOk, "S\x7f\xff\xff\xff"), dial.ErrProtocol, "of length 2147483647"},
		{"negative length", say(authOk, "S\xff\xff\xff\xff"), dial.ErrProtocol, "of length 4294967295"},
		{"ready at once", say(ready), dial.ErrProtocol, "no PostgreSQL server"},
		{"key before authentication", say(notice, key), dial.ErrProtocol, "'K' during authentication"},
		{"short Authentication", say(message('R', "\x00\x00")), auth.ErrExchange, "2 bytes"},
		{"GSSAPI", say(message('R', "\x00\x00\x00\x07")), auth.ErrExchange, "GSSAPI"},
		{"unknown request", say(message('R', "\x00\x00\x00\x63")), auth.ErrExchange, "unknown request 99"},
		{"SASL mechanisms we lack", say(message('R', "\x00\x00\x00\x0aSCRAM-SHA-256-PLUS\x00\x00")), auth.ErrExchange, "PLUS"},
		{"Ok amid SASL", say(message('R', "\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00"), authOk), auth.ErrExchange, "out of turn"},
		{"protocol 3.2 for 3.0", say(message('v', "\x00\x03\x00\x02\x00\x00\x00\x00")), dial.ErrProtocol, "in answer to 3.0"},
		{"row in the greeting", say(authOk, message('D', "\x00\x00")), dial.ErrProtocol, "'D' before ReadyForQuery"},
		{"second authentication", say(authOk, authOk), dial.ErrProtocol, "'R' before ReadyForQuery"},
		{"short key", say(authOk, message('K', "\x00\x00\x00\x07abc")), dial.ErrProtocol, "BackendKeyData of 7 bytes"},
		{"two keys", say(authOk, key, key), dial.ErrProtocol, "BackendKeyData"},
		{"parameter without value", say(authOk, message('S', "name\x00")), dial.ErrProtocol, "malformed ParameterStatus"},
		{"parameter with a tail", say(authOk, message('S', "a\x00b\x00c")), dial.ErrProtocol, "malformed ParameterStatus"},
		{"ready in a transaction", say(authOk, message('Z', "T")), dial.ErrProtocol, `status 'T' after login`},
		{"ready with rubbish", say(authOk, message('Z', "Q")), dial.ErrProtocol, `ReadyForQuery with "Q"`},
		{"ready with nothing", say(authOk, message('Z', "")), dial.ErrProtocol, `ReadyForQuery with ""`},
		{"endless notices", say(strings.Repeat(notice, 64<<10/len(notice)+1)), dial.ErrProtocol, "bytes are allowed here"},
		{"endless parameters", say(authOk, manyParameters(257)), dial.ErrProtocol, "more than 256 parameters"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := loginTo(t, serve(t, tt.script))
			if conn != nil || !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Login = %v, %v, want an error that is %v and says %q", conn, err, tt.want, tt.text)
			}
			var e *dial.Error
			if !errors.As(err, &e) || e.Op != dial.OpLogin {
				t.Errorf("error %v is not a *dial.Error of the login", err)
			}
		})
	}
}

func manyParameters(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(message('S', string(rune('A'+i))+"\x00\x00"))
	}
	return b.String()
}

func TestLoginPassesServerErrorOnVerbatim(t *testing.T) {
	const body = "SFATAL\x00VFATAL\x00C53300\x00Msorry, too many clients already\x00Zodd\x00\x00"
	const mild = "SERROR\x00VERROR\x00C53300\x00Msorry\x00\x00"
	scripts := map[string]script{
		"before authentication": say(message('E', body)),
		"after authentication":  say(authOk, message('E', body)),
		"and closes":            hangUp(message('E', body)),
		// No login goes on after an error, though its severity may say so.
		"mild": say(authOk, message('E', mild)),
	}
	for name, script := range scripts {
		_, err := loginTo(t, serve(t, script))
		var e *wire.Error
		if !errors.As(err, &e) || e.Code != wire.CodeTooManyConnections || string(e.Raw) != body && string(e.Raw) != mild {
			t.Errorf("%s: %v, want the server's 53300 with its body", name, err)
		}
	}
}

// A postmaster that cannot fork answers in protocol 2: 'E', text, NUL.
func TestLoginReadsErrorOfProtocol2(t *testing.T) {
	const text = "could not fork new process for connection: Cannot allocate memory"
	scripts := map[string]script{
		"terminated": say("E" + text + "\n\x00"),
		"cut off":    hangUp("E" + text + "\n"),
	}
	for name, script := range scripts {
		_, err := loginTo(t, serve(t, script))
		var e *wire.Error
		if !errors.As(err, &e) || e.Message != text || e.Code != wire.CodeCannotConnectNow {
			t.Errorf("%s: %v, want FATAL: %s", name, err, text)
		}
	}
}

// RDS Proxy sends no BackendKeyData.
func TestLoginWithoutBackendKey(t *testing.T) {
	conn, err := loginTo(t, serve(t, say(authOk, message('S', "a\x001\x00"), message('A', "\x00\x00\x00\x01c\x00\x00"),
		message('S', "b\x002\x00"), message('S', "a\x003\x00"), ready, message('N', "late"))))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if pid, k := conn.BackendKey(); pid != 0 || k != nil {
		t.Errorf("BackendKey() = %d, %q, want none", pid, k)
	}
	if got := conn.Parameters(); len(got) != 2 || got[0] != (wire.Param{Name: "a", Value: "3"}) {
		t.Errorf("Parameters() = %q, want a=3 and b=2", got)
	}
}

// The server may list protocol extensions that it does not know.
func TestLoginTakesNegotiateProtocolVersion(t *testing.T) {
	conn, err := loginTo(t, serve(t, say(message('v', "\x00\x03\x00\x00\x00\x00\x00\x01_pq_.x\x00"), authOk, ready)))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestLoginEndsWithItsContext(t *testing.T) {
	for name, said := range map[string]string{
		"silent":             "",
		"silent in a header": "R\x00",
		"silent in a body":   authOk[:6],
		"silent once in":     authOk,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			address := serve(t, func(conn net.Conn) error {
				io.WriteString(conn, said)
				cancel()
				_, err := io.Copy(io.Discard, conn)
				return err
			})
			_, err := dial.Login(ctx, &dial.Config{Network: "tcp", Address: address, User: "alice"})
			var e *dial.Error
			if !errors.Is(err, context.Canceled) || !errors.As(err, &e) || e.Op != dial.OpLogin {
				t.Errorf("Login = %v, want canceled", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := dial.Login(ctx, &dial.Config{Network: "tcp", Address: serve(t, say()), User: "alice"})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Login with a cancelled context = %v", err)
	}
}

func TestLoginTellsWhenNobodyListens(t *testing.T) {
	nobody, err := freeport.Addr()
	if err != nil {
		t.Fatal(err)
	}
	_, err = loginTo(t, nobody)
	var e *dial.Error
	if !errors.Is(err, syscall.ECONNREFUSED) || !errors.As(err, &e) || e.Op != dial.OpConnect {
		t.Errorf("Login = %v, want connection refused", err)
	}
}

// queryScript logs in and, at the first query, sends parts.
func queryScript(parts ...string) script {
	return func(conn net.Conn) error {
		io.WriteString(conn, authOk+ready)
		var header [5]byte
		if _, err := io.ReadFull(conn, header[:]); err != nil {
			return err
		}
		return say(parts...)(conn)
	}
}

func TestQueryRefusesRubbish(t *testing.T) {
	oneColumn := message('T', "\x00\x01a\x00"+strings.Repeat("\x00", 18))
	big := message('D', "\x00\x01\x00\x01\x00\x00"+strings.Repeat("x", 1<<16))
	tests := []struct {
		name  string
		reply string
		text  string
	}{
		{"row without description", message('D', "\x00\x00"), "does not match"},
		{"row with more columns", oneColumn + message('D', "\x00\x02\xff\xff\xff\xff\xff\xff\xff\xff"), "does not match"},
		{"negative field length", oneColumn + message('D', "\x00\x01\xff\xff\xff\xfe"), "truncated"},
		{"field beyond the message", oneColumn + message('D', "\x00\x01\x00\x00\x00\x05abcd"), "truncated"},
		{"row cut in a length", oneColumn + message('D', "\x00\x01\x00\x00"), "truncated"},
		{"row with a tail", oneColumn + message('D', "\x00\x01\x00\x00\x00\x01ab"), "too many"},
		{"65535 columns and no row", message('T', "\xff\xff") + message('D', "\xff\xff"), "truncated"},
		{"empty description", message('T', ""), "RowDescription of 0 bytes"},
		{"COPY out", message('H', "\x00\x00\x00"), "'H' in reply"},
		{"COPY in", message('G', "\x00\x00\x00"), "'G' in reply"},
		{"authentication", authOk, "'R' in reply"},
		{"too much", oneColumn + strings.Repeat(big, 17), "bytes are allowed here"},
		{"one row of 2 GB", oneColumn + "D\x7f\xff\xff\xff", "bytes are allowed here"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := loginTo(t, serve(t, queryScript(tt.reply)))
			if err != nil {
				t.Fatal(err)
			}
			rows, err := conn.Query(t.Context(), "SELECT")
			if rows != nil || !errors.Is(err, dial.ErrProtocol) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Query = %v, %v, want a protocol violation that says %q", rows, err, tt.text)
			}
			if _, err := conn.Query(t.Context(), "SELECT"); !errors.Is(err, dial.ErrClosed) {
				t.Errorf("next Query = %v, want closed", err)
			}
		})
	}
}

// An error without SQLSTATE or severity is still an error, and the connection
// goes on.
func TestQueryTakesBareError(t *testing.T) {
	conn, err := loginTo(t, serve(t, queryScript(message('E', "\x00"), ready)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = conn.Query(t.Context(), "SELECT")
	var e *wire.Error
	if !errors.As(err, &e) || string(e.Raw) != "\x00" {
		t.Errorf("Query = %v, want the server's error", err)
	}
}

// Cancel returns when the server has closed, not before.
func TestCancelWaitsForServer(t *testing.T) {
	var closing atomic.Bool
	address := serve(t, func(net.Conn) error {
		closing.Store(true)
		return nil
	})
	if err := dial.Cancel(t.Context(), &dial.Config{Network: "tcp", Address: address}, 7, []byte("four")); err != nil {
		t.Fatal(err)
	}
	if !closing.Load() {
		t.Error("Cancel returned while the server was at it")
	}
}

func TestCancelErrors(t *testing.T) {
	if err := dial.Cancel(t.Context(), &dial.Config{Network: "tcp", Address: serve(t, say("E"))}, 7, []byte("four")); !errors.Is(err, dial.ErrProtocol) {
		t.Errorf("server that answers: %v, want a protocol violation", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	err := dial.Cancel(ctx, &dial.Config{Network: "tcp", Address: serve(t, say())}, 7, []byte("four"))
	if !errors.Is(err, context.DeadlineExceeded) || opOf(err) != dial.OpCancel {
		t.Errorf("silent server: %v, want deadline exceeded, and that the request may have been carried out", err)
	}
	secured, err := tlsconf.Connecting(tlsconf.Options{Mode: tlsconf.Require}, false)
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]*dial.Config{
		"refused": {Network: "tcp", Address: "127.0.0.1:1"},
		"no TLS":  {Network: "tcp", Address: serve(t, say("N")), TLS: secured},
	} {
		if err := dial.Cancel(t.Context(), cfg, 7, []byte("four")); opOf(err) != dial.OpConnect {
			t.Errorf("%s: %v, want that nothing was sent", name, err)
		}
	}
}

// opOf is in what a connection went wrong.
func opOf(err error) dial.Op {
	var e *dial.Error
	if !errors.As(err, &e) {
		return ""
	}
	return e.Op
}
