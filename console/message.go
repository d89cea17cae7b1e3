package console

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"

	"github.com/pgvip/pgvip/wire"
)

// mostMessage bounds what an operator may send at once: commands are short.
const mostMessage = 64 << 10

// readMessage reads one message. What a peer announces costs no memory before it
// is known to be within bounds. A *wire.Error is for the client.
func readMessage(r *bufio.Reader) (typ byte, body []byte, err error) {
	var head [wire.HeaderSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	switch {
	case n < 4 || !wire.Frontend(head[0]):
		return 0, nil, wire.CheckFrontend(head[:])
	case n > mostMessage:
		return 0, nil, wire.Fatal(wire.CodeProgramLimitExceeded, "message too long for the admin console", "")
	}
	body = make([]byte, n-4)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, err
	}
	return head[0], body, nil
}

// decoder takes the fields of a message apart. After the first that is not there
// it fails, and every other with it.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) take(n int) []byte {
	if d.failed || n < 0 || n > len(d.rest) {
		d.failed = true
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) int16() int {
	if b := d.take(2); b != nil {
		return int(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (d *decoder) int32() int {
	if b := d.take(4); b != nil {
		return int(int32(binary.BigEndian.Uint32(b)))
	}
	return 0
}

func (d *decoder) string() string {
	i := bytes.IndexByte(d.rest, 0)
	if i < 0 {
		d.failed = true
		return ""
	}
	return string(d.take(i + 1)[:i])
}

// end gives PostgreSQL's error for a message that is not what its type asks for.
func (d *decoder) end() error {
	if d.failed || len(d.rest) > 0 {
		return refuse(wire.CodeProtocolViolation, "invalid message format", "")
	}
	return nil
}

// bind is a Bind message. The console takes no parameters, so they are only
// counted.
type bind struct {
	portal, statement string
	parameters        int
	results           formats
}

func decodeBind(body []byte) (bind, error) {
	d := &decoder{rest: body}
	b := bind{portal: d.string(), statement: d.string()}
	for n := d.int16(); n > 0 && !d.failed; n-- {
		d.int16()
	}
	b.parameters = d.int16()
	for n := b.parameters; n > 0 && !d.failed; n-- {
		if size := d.int32(); size > 0 {
			d.take(size)
		}
	}
	for n := d.int16(); n > 0 && !d.failed; n-- {
		b.results = append(b.results, uint16(d.int16()))
	}
	return b, d.end()
}

// formats are the format codes of results: none means text, one is that of every
// column.
type formats []uint16

func (f formats) code(column int) uint16 {
	switch len(f) {
	case 0:
		return 0
	case 1:
		return f[0]
	default:
		return f[column]
	}
}

// check looks whether the codes fit to this number of columns.
func (f formats) check(columns int) error {
	if len(f) > 1 && len(f) != columns {
		return refuse(wire.CodeProtocolViolation, "bind message has the wrong number of result formats", "")
	}
	for _, code := range f {
		if code > 1 {
			return refuse(wire.CodeInvalidParameterValue, "unsupported format code", "")
		}
	}
	return nil
}
