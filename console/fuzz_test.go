package console

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", ";", "SHOW POOLS;", `pause "a""b"`, "SET a = 'it''s'", "SET SESSION a TO b", "-- c", "/* c */ show", "'", "\"", "/*",
		"BEGIN ISOLATION LEVEL", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "set", "\x00", "show \xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		c, err := Parse(sql)
		if err != nil {
			if c != (Command{}) {
				t.Errorf("both a command and an error: %+v", c)
			}
			return
		}
		if again, err := Parse(sql + ";"); err == nil && c.Verb != again.Verb && !strings.Contains(sql, "--") {
			t.Errorf("%q is %q, and with a semicolon %q", sql, c.Verb, again.Verb)
		}
	})
}

func FuzzBind(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("p\x00s\x00\x00\x01\x00\x01\x00\x01\xff\xff\xff\xff\x00\x02\x00\x01\x00\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		b, err := decodeBind(body)
		if err == nil && 2*len(b.results) > len(body) {
			t.Errorf("%d formats in %d bytes", len(b.results), len(body))
		}
	})
}

// FuzzSession lets an operator say anything: the console must neither crash nor
// hang, and what it says must be messages.
func FuzzSession(f *testing.F) {
	f.Add([]byte("Q\x00\x00\x00\x0fSHOW POOLS\x00"))
	f.Add([]byte("P\x00\x00\x00\x13\x00SHOW STATE\x00\x00\x00B\x00\x00\x00\x0c\x00\x00\x00\x00\x00\x00\x00\x00E\x00\x00\x00\x09\x00\x00\x00\x00\x01S\x00\x00\x00\x04"))
	f.Add([]byte("C\x00\x00\x00\x06S\x00D\x00\x00\x00\x06P\x00H\x00\x00\x00\x04X\x00\x00\x00\x04"))
	f.Fuzz(func(t *testing.T, said []byte) {
		v := New(Options{Target: newFake()})
		conn := new(tape)
		newSession(v, conn, Login{Admin: true, Unread: said}).run()
		wellFramed(t, conn.Bytes())
	})
}

// tape is a connection whose peer has said everything, and that keeps what it is
// told.
type tape struct {
	bytes.Buffer
	net.Conn
}

func (*tape) Read([]byte) (int, error)         { return 0, io.EOF }
func (c *tape) Write(b []byte) (int, error)    { return c.Buffer.Write(b) }
func (*tape) SetReadDeadline(time.Time) error  { return nil }
func (*tape) SetWriteDeadline(time.Time) error { return nil }
func (*tape) Close() error                     { return nil }
func (*tape) LocalAddr() net.Addr              { return &net.UnixAddr{} }
func (*tape) RemoteAddr() net.Addr             { return &net.UnixAddr{} }

// wellFramed wants whole messages.
func wellFramed(t *testing.T, b []byte) {
	t.Helper()
	r := bufio.NewReader(bytes.NewReader(b))
	for {
		var head [5]byte
		_, err := io.ReadFull(r, head[:])
		if err == io.EOF {
			return
		}
		if err == nil {
			n := int(head[1])<<24 | int(head[2])<<16 | int(head[3])<<8 | int(head[4])
			_, err = r.Discard(n - 4)
		}
		if err != nil {
			t.Fatalf("what the console said ends inside a message: %v", err)
		}
	}
}
