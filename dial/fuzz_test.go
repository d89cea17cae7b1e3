package dial

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/jackc/pgproto3/v2"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/wire"
)

// tape is a connection whose peer says what is on the tape, then closes.
type tape struct {
	net.Conn
	io.Reader
}

func (t tape) Read(b []byte) (int, error)  { return t.Reader.Read(b) }
func (t tape) Write(b []byte) (int, error) { return len(b), nil }
func (t tape) Close() error                { return nil }

// play logs in at a tape and asks a query.
func play(r io.Reader) (c *Conn, rows []Row, err error) {
	c = &Conn{socket: tape{Reader: r}, stream: stream{conn: tape{Reader: r}, budget: loginBudget}}
	cfg := Config{User: "alice", Credential: auth.Credential{Password: "pencil"}, Rand: zeros{}}
	if err = c.login(&cfg); err != nil {
		return c, nil, err
	}
	c.stream.budget = queryBudget
	rows, err = c.rows([]byte("SELECT"), "12n")
	return c, rows, err
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// Whatever a server sends: no panic, no more memory than twice what it has sent,
// the same outcome however the bytes are cut, and only known kinds of error.
func FuzzServer(f *testing.F) {
	greeting := wire.AppendAuthentication(nil, wire.AuthOk, nil)
	greeting = wire.AppendParameterStatus(greeting, wire.Param{Name: "TimeZone", Value: "UTC"})
	greeting = wire.AppendBackendKeyData(greeting, 7, []byte("four"))
	greeting = wire.AppendReadyForQuery(greeting, 'I')
	f.Add(wire.AppendAuthenticationSASL(nil, "SCRAM-SHA-256"))
	f.Add(wire.AppendAuthentication(nil, wire.AuthMD5Password, []byte("salt")))
	f.Add(wire.Fatal(wire.CodeInvalidPassword, "no", "").Append(slices.Clone(greeting[:9])))
	reply, _ := (&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("a")}}}).Encode(greeting)
	reply, _ = (&pgproto3.DataRow{Values: [][]byte{[]byte("1")}}).Encode(reply)
	reply, _ = (&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}).Encode(reply)
	f.Add(wire.AppendReadyForQuery(reply, 'I'))
	f.Add([]byte("Ecould not fork new process\n\x00"))
	f.Fuzz(func(t *testing.T, said []byte) {
		c, rows, err := play(bytes.NewReader(said))
		if limit := 2*len(said) + 2*readSize; cap(c.stream.buf) > limit {
			t.Fatalf("%d bytes of buffer for %d bytes received", cap(c.stream.buf), len(said))
		}
		checkError(t, err)
		c2, rows2, err2 := play(iotest.OneByteReader(bytes.NewReader(said)))
		if !slices.EqualFunc(rows, rows2, slices.Equal[Row]) || (err == nil) != (err2 == nil) ||
			!slices.Equal(c.parameters, c2.parameters) {
			t.Fatalf("byte by byte: %v, %v, at once: %v, %v", rows2, err2, rows, err)
		}
	})
}

func checkError(t *testing.T, err error) {
	t.Helper()
	var own *wire.Error
	var secret *auth.SecretError
	known := err == nil || errors.As(err, &own) || errors.As(err, &secret) || errors.Is(err, ErrProtocol) ||
		errors.Is(err, auth.ErrExchange) || errors.Is(err, io.EOF)
	if !known {
		t.Fatalf("unexpected kind of error: %v", err)
	}
}

func FuzzParseRow(f *testing.F) {
	f.Add([]byte("\x00\x02\xff\xff\xff\xff\x00\x00\x00\x01a"))
	f.Add([]byte("\x00\x01\xff\xff\xff\xfe"))
	f.Add([]byte("\x00\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		columns := -1
		if len(body) >= 2 {
			columns = int(binary.BigEndian.Uint16(body))
		}
		row, err := parseRow(body, columns)
		if err != nil {
			return
		}
		again := binary.BigEndian.AppendUint16(nil, uint16(len(row)))
		for _, v := range row {
			if v.Null {
				again = append(again, 0xff, 0xff, 0xff, 0xff)
				continue
			}
			again = binary.BigEndian.AppendUint32(again, uint32(len(v.Text)))
			again = append(again, v.Text...)
		}
		if !bytes.Equal(again, body) {
			t.Fatalf("re-encoded to %q, was %q", again, body)
		}
		// The oracle panics on rows that are refused here.
		var other pgproto3.DataRow
		if err := other.Decode(body); err != nil || len(other.Values) != len(row) {
			t.Fatalf("pgproto3: %v, %d values, want %d", err, len(other.Values), len(row))
		}
		for i, v := range row {
			if v.Null != (other.Values[i] == nil) || v.Text != string(other.Values[i]) {
				t.Fatalf("column %d is %v, pgproto3 has %q", i, v, other.Values[i])
			}
		}
	})
}

// An announced length gets no memory: what is kept has arrived.
func TestStreamKeepsOnlyWhatArrived(t *testing.T) {
	announced := []byte{'D', 0, 0x0f, 0, 0}
	s := stream{conn: tape{Reader: bytes.NewReader(append(announced, make([]byte, 1000)...))}, budget: 1 << 20}
	if _, _, err := s.next(); !errors.Is(err, io.EOF) {
		t.Fatalf("next = %v, want EOF", err)
	}
	if cap(s.buf) > readSize {
		t.Errorf("%d bytes of buffer for 1005 bytes received", cap(s.buf))
	}
}

// A message of any size around the buffer's comes out whole, with its
// neighbours.
func TestStreamAcrossBufferEnds(t *testing.T) {
	for _, size := range []int{0, 1, readSize - 6, readSize - 5, readSize - 4, 3*readSize + 1} {
		var said []byte
		for _, n := range []int{3, size, 4000, 2} {
			said = append(said, 'x')
			said = binary.BigEndian.AppendUint32(said, uint32(n+4))
			said = append(said, bytes.Repeat([]byte{byte(n)}, n)...)
		}
		s := stream{conn: tape{Reader: bytes.NewReader(said)}, budget: 1 << 20}
		for _, n := range []int{3, size, 4000, 2} {
			typ, body, err := s.next()
			if err != nil || typ != 'x' || !bytes.Equal(body, bytes.Repeat([]byte{byte(n)}, n)) {
				t.Fatalf("message of %d beside %d: %q, %d bytes, %v", n, size, typ, len(body), err)
			}
		}
		if len(s.unread()) != 0 || s.budget != 1<<20-len(said) {
			t.Errorf("size %d: %d bytes left over, budget %d", size, len(s.unread()), s.budget)
		}
	}
}
