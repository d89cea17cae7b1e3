package null

import (
	"encoding/binary"
	"errors"
	"net"

	"golang.org/x/sys/unix"

	"github.com/pgvip/pgvip/wire"
)

const (
	firstBuffer = 8 << 10
	maxKnown    = 64 // statements whose replies a connection keeps
	maxMessage  = 64 << 20
	// bigReply is the size from which the socket's send buffer is raised, so
	// that the kernel takes the reply whole in one write.
	bigReply   = 128 << 10
	sendBuffer = 8 << 20
)

// Codes in place of a protocol version, PostgreSQL documentation 55.7.
const (
	codeCancel = 80877102
	codeSSL    = 80877103
	codeGSS    = 80877104
)

// errOver ends a connection without a word: Terminate, or a cancel request.
var errOver = errors.New("connection over")

// conn is one client of the null backend, owned by its goroutine.
type conn struct {
	server *Server
	sock   net.Conn
	pid    uint32

	in     []byte
	filled int
	out    []byte // reused: no allocation per query once it has grown
	raised bool   // the send buffer has been

	started bool
	status  byte // 'I', 'T' or 'E', as in ReadyForQuery
	params  []wire.Param
	changed []int // indexes into params to report before ReadyForQuery

	// Extended protocol. The unnamed ones stand apart: storing into a map
	// allocates the key.
	unnamedStmt   statement
	unnamedPortal portal
	stmts         map[string]statement
	portals       map[string]portal
	skipping      bool // after an error, until Sync
	known         map[string]*reply

	copying     *reply // COPY FROM STDIN under way
	copied      int    // CopyData messages seen
	copyByQuery bool   // begun by Query, which owes a ReadyForQuery
}

func newConn(s *Server, sock net.Conn) *conn {
	return &conn{
		server: s, sock: sock, pid: s.nextPID.Add(1),
		in: make([]byte, firstBuffer), status: 'I',
		stmts: map[string]statement{}, portals: map[string]portal{}, known: map[string]*reply{},
	}
}

// run serves the connection until it ends. All replies to what one read brought
// leave together, as those of PostgreSQL do that fit into its buffer.
func (c *conn) run() {
	for {
		n, err := c.sock.Read(c.in[c.filled:])
		if err != nil {
			return
		}
		c.filled += n
		used, err := c.feed(c.in[:c.filled])
		if len(c.out) > 0 && c.flush() != nil {
			return
		}
		if err != nil {
			return
		}
		c.filled = copy(c.in, c.in[used:c.filled])
		if c.filled == len(c.in) {
			// Doubled, never sized by the announced length: only bytes that
			// have come may cost memory.
			c.in = append(c.in, make([]byte, len(c.in))...)
		}
	}
}

// flush sends all that is queued in one write.
func (c *conn) flush() error {
	if len(c.out) >= bigReply && !c.raised {
		c.raiseSendBuffer()
	}
	_, err := c.sock.Write(c.out)
	c.out = c.out[:0]
	return err
}

// raiseSendBuffer makes room for a big reply. Beyond net.core.wmem_max it takes
// CAP_NET_ADMIN; without it the kernel takes what fits and the rest follows.
func (c *conn) raiseSendBuffer() {
	c.raised = true
	tcp, ok := c.sock.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
		}
	})
}

// feed handles every whole message in b and returns how many bytes it used.
func (c *conn) feed(b []byte) (used int, err error) {
	for {
		head := 1
		if !c.started {
			head = 0 // startup packets have no type byte
		}
		rest := b[used:]
		if len(rest) < head+4 {
			return used, nil
		}
		length := int(binary.BigEndian.Uint32(rest[head:]))
		if length < 4 || length > maxMessage {
			c.fatal(wire.CodeProtocolViolation, "invalid message length")
			return used, errOver
		}
		if len(rest) < head+length {
			return used, nil
		}
		body := rest[head+4 : head+length]
		used += head + length
		if !c.started {
			err = c.startup(body)
		} else {
			err = c.message(rest[0], body)
		}
		if err != nil {
			return used, err
		}
	}
}

// startup handles one packet before the session: encryption is declined, so
// several may come.
func (c *conn) startup(body []byte) error {
	if len(body) < 4 {
		c.fatal(wire.CodeProtocolViolation, "short startup packet")
		return errOver
	}
	switch code := binary.BigEndian.Uint32(body); {
	case code == codeSSL || code == codeGSS:
		c.out = append(c.out, 'N')
		return nil
	case code == codeCancel:
		c.server.cancels.Add(1)
		return errOver
	case code>>16 != 3:
		c.fatal(wire.CodeFeatureNotSupported, "unsupported frontend protocol")
		return errOver
	}
	c.started = true
	c.params = defaultParams()
	c.applyStartup(body[4:])
	c.welcome()
	return nil
}

// welcome is all that PostgreSQL sends after a trusted login.
func (c *conn) welcome() {
	c.out = append(c.out, 'R', 0, 0, 0, 8, 0, 0, 0, 0)
	for _, p := range c.params {
		c.out = appendParameterStatus(c.out, p)
	}
	c.changed = c.changed[:0]
	c.out = append(c.out, 'K', 0, 0, 0, 12)
	c.out = binary.BigEndian.AppendUint32(c.out, c.pid)
	c.out = binary.BigEndian.AppendUint32(c.out, ^c.pid)
	c.ready()
}

// ready ends a query or a batch. Since PostgreSQL 14 changed parameters are
// reported just before, not where they change.
func (c *conn) ready() {
	for _, i := range c.changed {
		c.out = appendParameterStatus(c.out, c.params[i])
	}
	c.changed = c.changed[:0]
	c.out = append(c.out, 'Z', 0, 0, 0, 5, c.status)
}

// fatal queues the last message of a connection; the caller returns errOver.
func (c *conn) fatal(code, message string) {
	c.out = wire.Fatal(code, message, "").Append(c.out)
}

// fail reports an error of a statement; a transaction is aborted by it.
func (c *conn) fail(code, message string) {
	e := wire.Error{Severity: wire.SeverityError, Code: code, Message: message}
	c.out = e.Append(c.out)
	if c.status == 'T' {
		c.status = 'E'
	}
}
