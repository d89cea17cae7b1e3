package wire

import "fmt"

// HeaderSize is the length of a message header after startup: one type byte and
// a length word that counts itself but not the type byte.
const HeaderSize = 5

// HoldMax is the largest message, in bytes, that a Framer asks its caller to
// collect before it is handed out. A larger one is streamed in pieces, so that
// no peer can make pgvip hold more than this for the length it announced.
const HoldMax = 16 << 10

// Bounds of the announced length. Those of a frontend's messages are PostgreSQL's
// own (PQ_SMALL_MESSAGE_LIMIT, PQ_LARGE_MESSAGE_LIMIT): it closes the connection of
// whoever announces more, and here that would be a server lost. What cannot even be a
// positive int32 is no message of anybody's.
const (
	smallMessage = 10_000
	largeMessage = 1<<30 - 2
	maxMessage   = 1<<31 - 2
)

// Piece says what Framer.Next found at the start of the bytes it was given.
type Piece uint8

// What Framer.Next can find.
const (
	// Short: the bytes end inside a message that should be seen whole. Keep
	// them and come back with more.
	Short Piece = iota
	// Whole: one complete message, header included.
	Whole
	// First: the beginning of a message that is streamed, header included.
	First
	// More: a further part of a streamed message.
	More
	// Last: the final part of a streamed message.
	Last
	// Bad: the header is none. The stream cannot be followed any further.
	Bad
)

// Framer cuts one direction of a connection into messages. The zero value reads
// a frontend's messages (client to server); NewBackendFramer reads a backend's.
// It looks at headers only and owns no bytes.
type Framer struct {
	left    uint32 // bytes still to come of a streamed message
	backend bool
}

// NewBackendFramer returns a Framer for what a server sends.
func NewBackendFramer() Framer { return Framer{backend: true} }

// Next looks at the start of b and returns the length of the piece found there,
// its kind and the message type. For More and Last the type is 0, for Short the
// length is 0. The piece is valid as long as b is.
//
//	for len(b) > 0 {
//		typ, n, piece := f.Next(b)
//		if piece == wire.Short { break } // keep b
//		...
//		b = b[n:]
//	}
func (f *Framer) Next(b []byte) (typ byte, n int, piece Piece) {
	if f.left > 0 {
		return f.rest(b)
	}
	if len(b) < HeaderSize {
		return 0, 0, Short
	}
	length := uint32(b[1])<<24 | uint32(b[2])<<16 | uint32(b[3])<<8 | uint32(b[4])
	if length < 4 || length > smallMessage && length > f.longest(b[0]) {
		return b[0], 0, Bad
	}
	total := length + 1
	if total <= uint32(len(b)) {
		return b[0], int(total), Whole
	}
	if total <= HoldMax && !f.streams(b[0]) {
		return b[0], 0, Short
	}
	f.left = total - uint32(len(b))
	return b[0], len(b), First
}

// longest is the length that a message of this type may announce.
func (f *Framer) longest(typ byte) uint32 {
	if f.backend {
		return maxMessage
	}
	switch typ {
	case 'Q', 'F', 'P', 'B', 'd':
		return largeMessage
	}
	return smallMessage
}

// streams reports the types that nobody needs to see whole, however small.
func (f *Framer) streams(typ byte) bool {
	return typ == 'd' || f.backend && typ == 'D' // CopyData, DataRow
}

func (f *Framer) rest(b []byte) (typ byte, n int, piece Piece) {
	if len(b) == 0 {
		return 0, 0, Short
	}
	if uint32(len(b)) < f.left {
		f.left -= uint32(len(b))
		return 0, len(b), More
	}
	n = int(f.left)
	f.left = 0
	return 0, n, Last
}

// Between reports that the next byte begins a message.
func (f *Framer) Between() bool { return f.left == 0 }

// frontendTypes are the messages a client may send after login. 'p'
// (PasswordMessage and its kin) belongs to the login alone.
var frontendTypes = [256]bool{
	'B': true, 'C': true, 'D': true, 'E': true, 'F': true, 'H': true, 'P': true,
	'Q': true, 'S': true, 'X': true, 'c': true, 'd': true, 'f': true,
}

// Frontend reports whether a logged-in client may send a message of this type.
func Frontend(typ byte) bool { return frontendTypes[typ] }

// CheckFrontend explains the header at the start of b, which a Framer called
// Bad or whose type Frontend does not know, in PostgreSQL's own words
// (SocketBackend in tcop/postgres.c).
func CheckFrontend(b []byte) *Error {
	if len(b) == 0 || !Frontend(b[0]) {
		typ := 0
		if len(b) > 0 {
			typ = int(b[0])
		}
		return Fatal(CodeProtocolViolation, fmt.Sprintf("invalid frontend message type %d", typ), "")
	}
	return Fatal(CodeProtocolViolation, "invalid message length", "")
}
