package statement

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/wire"
)

// patience bounds what should take no time at all, so that a hang is an error.
const patience = 20 * time.Second

// tester is what testing.TB and rapid.T have in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// backend is a connection to PostgreSQL with its books.
type backend struct {
	t       tester
	conn    net.Conn
	replies wire.Replies
	known   *Server
	holder  *front // the client that has it; nil for none
}

// connect logs in to PostgreSQL. The connection is closed when t ends.
func connect(t testing.TB) *backend {
	t.Helper()
	conn, err := net.DialTimeout("tcp", postgres(t).Addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	b := &backend{t: t, conn: conn}
	b.write(pgscript.Startup("user", lab.TrustUser, "database", lab.AppDatabase))
	for {
		if typ, _ := b.read(); typ == 'Z' {
			b.replies.SetStatus('I')
			return b
		}
	}
}

func (b *backend) write(m []byte) {
	b.conn.SetDeadline(time.Now().Add(patience))
	if _, err := b.conn.Write(m); err != nil {
		b.t.Fatalf("write: %v", err)
	}
}

// read reads one message.
func (b *backend) read() (typ byte, m []byte) {
	m = make([]byte, wire.HeaderSize)
	if _, err := io.ReadFull(b.conn, m); err != nil {
		b.t.Fatalf("read: %v (%d outstanding)", err, b.replies.Outstanding())
	}
	m = append(m, make([]byte, binary.BigEndian.Uint32(m[1:])-4)...)
	if _, err := io.ReadFull(b.conn, m[wire.HeaderSize:]); err != nil {
		b.t.Fatalf("read: %v", err)
	}
	return m[0], m
}

// renew makes the connection as good as new for another round.
func (b *backend) renew(t tester) {
	b.t = t
	for _, sql := range []string{"ROLLBACK", "DISCARD ALL"} {
		b.write(pgscript.Query(sql))
		for typ := byte(0); typ != 'Z'; typ, _ = b.read() {
		}
	}
	b.replies = wire.Replies{}
	b.replies.SetStatus('I')
	b.holder = nil
}

// got notes a message and reports whether it is the client's.
func (b *backend) got(typ byte, m []byte) bool {
	var action wire.Action
	var err error
	if typ == 'Z' {
		action, err = b.replies.GotReady(m[5])
	} else {
		action, err = b.replies.Got(typ)
	}
	if err != nil {
		b.t.Fatalf("message %c %q: %v", typ, m, err)
	}
	return action == wire.Forward
}

// direct is a client without a proxy: what it sends and what it sees.
func (b *backend) direct(messages [][]byte) []string {
	for _, m := range messages {
		b.replies.Sent(m[0], wire.Forward)
		b.write(m)
	}
	var seen []string
	for b.replies.Outstanding() > 0 {
		typ, m := b.read()
		b.got(typ, m)
		seen = append(seen, show(m))
	}
	return seen
}

// front is a client behind the proxy's books.
type front struct {
	client Client
	server *backend
	limit  int
	out    []byte
	seen   []string // what the client has got
}

// send gives messages to the server in one write, as far as none has to wait.
func (f *front) send(messages ...[]byte) {
	b := f.server
	f.out = f.out[:0]
	var raw []byte
	for i := 0; i < len(messages); {
		m := messages[i]
		out, verdict := b.known.Forward(f.out, raw, m)
		switch verdict {
		case Sent:
			f.out, raw = out, nil
		case Pass:
			raw = append(raw, m...)
			if m[0] == 'H' {
				f.synthesise()
			}
		case Wait:
			b.write(append(append(f.out, raw...), 'H', 0, 0, 0, 4))
			f.out, raw = f.out[:0], nil
			for !b.known.Resolved() {
				f.receive()
			}
			continue
		}
		i++
	}
	b.write(append(f.out, raw...))
}

// synthesise gives the client the answers that are to be made up now.
func (f *front) synthesise() {
	b := f.server
	for {
		before := b.replies.Done()
		typ, ok := b.replies.Synthetic()
		if !ok {
			return
		}
		b.known.Got(typ, before)
		f.seen = append(f.seen, show([]byte{typ, 0, 0, 0, 4}))
	}
}

// receive takes one message from the server.
func (f *front) receive() {
	b := f.server
	f.synthesise()
	if b.replies.Outstanding() == 0 {
		return
	}
	typ, m := b.read()
	switch typ {
	case 'E':
		m = b.known.Error(m)
	case 'C':
		b.known.Completed(m[wire.HeaderSize:], true)
	}
	before := b.replies.Done()
	forward := b.got(typ, m)
	if typ == 't' {
		b.known.Parameters(m, true)
	}
	b.known.Got(typ, before)
	if forward {
		f.seen = append(f.seen, show(m))
	}
	f.synthesise()
}

// borrow takes a server.
func (f *front) borrow(b *backend) {
	f.server, b.holder = b, f
	b.known.Lend(&f.client, f.limit)
}

// release gives the server back, if it is free.
func (f *front) release() bool {
	if !f.server.replies.Free() {
		return false
	}
	f.server.known.Return()
	f.server.holder = nil
	f.server = nil
	return true
}

// turn is one exchange that ends settled.
func (f *front) turn(messages ...[]byte) []string {
	f.seen = nil
	f.send(messages...)
	for f.server.replies.Outstanding() > 0 {
		f.receive()
	}
	return f.seen
}

// show writes a message as the tests compare it. Of an error counts what a client
// decides by.
func show(m []byte) string {
	body := m[wire.HeaderSize:]
	switch m[0] {
	case 'E', 'N':
		e := wire.ParseError(body)
		return fmt.Sprintf("%c %s %s %s %s", m[0], e.Severity, e.Code, e.Message, e.Detail)
	default:
		return strings.TrimSpace(fmt.Sprintf("%c %q", m[0], body))
	}
}

func parse(name, sql string, types ...uint32) []byte {
	body := pgscript.Strings(name, sql)
	body = binary.BigEndian.AppendUint16(body, uint16(len(types)))
	for _, oid := range types {
		body = binary.BigEndian.AppendUint32(body, oid)
	}
	return pgscript.Message('P', body)
}

// bind binds text parameters.
func bind(portal, name string, values ...string) []byte {
	body := append(pgscript.Strings(portal, name), 0, 0)
	body = binary.BigEndian.AppendUint16(body, uint16(len(values)))
	for _, v := range values {
		body = append(binary.BigEndian.AppendUint32(body, uint32(len(v))), v...)
	}
	return pgscript.Message('B', append(body, 0, 0))
}

func describe(kind byte, name string) []byte {
	return pgscript.Message('D', append([]byte{kind}, pgscript.Strings(name)...))
}

func closing(kind byte, name string) []byte {
	return pgscript.Message('C', append([]byte{kind}, pgscript.Strings(name)...))
}

func execute(portal string) []byte {
	return pgscript.Message('E', append(pgscript.Strings(portal), 0, 0, 0, 0))
}

func syncing() []byte  { return pgscript.Message('S', nil) }
func flushing() []byte { return pgscript.Message('H', nil) }
