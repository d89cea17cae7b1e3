package statement

import (
	"bytes"
	"encoding/binary"

	"github.com/pgvip/pgvip/wire"
)

const (
	// maxName is how much of a name counts: PostgreSQL keeps prepared statements
	// in a hash table with keys of NAMEDATALEN, 64 bytes, the last of which is NUL.
	maxName = 63
	// maxHead bounds how much of a message is collected to see the names in it.
	maxHead = 32 << 10
	// MaxText is the largest message with a named statement that is taken: its text
	// is kept for other servers.
	MaxText = 16 << 20
)

// cut takes a string off the front of b. ok is false without its NUL.
func cut(b []byte) (s, rest []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return nil, b, false
	}
	return b[:i], b[i+1:], true
}

// length is what the header at the start of m announces, header included.
func length(m []byte) int { return int(binary.BigEndian.Uint32(m[1:])) + 1 }

// Short reports that more is to be read before the message at the start of b can
// be given to Forward. It is for messages too large for a wire.Framer to collect.
func Short(b []byte) bool {
	if len(b) < wire.HeaderSize || length(b) <= wire.HoldMax || len(b) >= length(b) || len(b) >= maxHead {
		return false
	}
	body, ok := b[wire.HeaderSize:], true
	switch b[0] {
	case 'B':
		if _, body, ok = cut(body); ok {
			_, _, ok = cut(body)
		}
	case 'P', 'D', 'C':
		_, _, ok = cut(body)
	}
	return !ok
}

// Collected reports that the message at the start of m, not all of which is at
// hand, must be whole before it is given to Forward: the name that a statement
// has on servers comes from all of its text. The length is the message's.
func Collected(m []byte) (int, bool) {
	if m[0] != 'P' {
		return 0, false
	}
	name, _, ok := cut(m[wire.HeaderSize:])
	return length(m), ok && len(name) > 0
}

// target reads the body of a Describe or Close. ok is false when it is not well
// formed, which is the server's to say.
func target(body []byte) (kind byte, name []byte, ok bool) {
	if len(body) == 0 {
		return 0, nil, false
	}
	name, rest, ok := cut(body[1:])
	return body[0], name, ok && len(rest) == 0
}

func appendHeader(out []byte, typ byte, body int) []byte {
	return binary.BigEndian.AppendUint32(append(out, typ), uint32(body+4))
}

// appendRenamed appends the message m with the name that begins at m[at] replaced.
func appendRenamed(out, m []byte, at, old int, name string) []byte {
	out = appendHeader(out, m[0], length(m)-wire.HeaderSize-old+len(name))
	out = append(out, m[wire.HeaderSize:at]...)
	out = append(out, name...)
	return append(out, m[at+old:]...)
}

// appendParse appends a Parse; text is all that stands behind the name.
func appendParse[T string | []byte](out []byte, name string, text T) []byte {
	out = appendHeader(out, 'P', len(name)+1+len(text))
	out = append(append(out, name...), 0)
	return append(out, text...)
}

func appendClose(out []byte, name string) []byte {
	out = appendHeader(out, 'C', len(name)+2)
	out = append(append(out, 'S'), name...)
	return append(out, 0)
}

// key is the part of a name that counts.
func key(name []byte) []byte { return name[:min(len(name), maxName)] }

// putLength sets the length in the header of a message that is whole.
func putLength(m []byte) { binary.BigEndian.PutUint32(m[1:], uint32(len(m)-1)) }
