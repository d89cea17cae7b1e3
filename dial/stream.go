package dial

import (
	"encoding/binary"
	"fmt"
	"net"
)

// readSize is the least room made for one read, in bytes. A greeting of
// PostgreSQL fits in.
const readSize = 4096

// stream reads messages off a connection. How much the server may send in one
// operation is the budget; memory follows the bytes that have arrived, never
// an announced length.
type stream struct {
	conn   net.Conn
	buf    []byte
	r, w   int // buf[r:w] has arrived and is not read yet
	budget int // bytes that the server may still send
}

// next returns the type and body of the next message. The body is valid until
// the next call.
func (s *stream) next() (typ byte, body []byte, err error) {
	if err := s.fill(5); err != nil {
		return 0, nil, err
	}
	typ = s.buf[s.r]
	length := binary.BigEndian.Uint32(s.buf[s.r+1:])
	if length < 4 {
		return typ, nil, fmt.Errorf("%w: message %q of length %d", ErrProtocol, typ, length)
	}
	if uint64(length)+1 > uint64(s.budget) {
		return typ, nil, &lengthError{typ: typ, length: length, budget: s.budget}
	}
	size := int(length) + 1
	if err := s.fill(size); err != nil {
		return typ, nil, err
	}
	body = s.buf[s.r+5 : s.r+size]
	s.r += size
	s.budget -= size
	return typ, body, nil
}

// unread returns what has arrived and is not read yet.
func (s *stream) unread() []byte { return s.buf[s.r:s.w] }

// fill reads until n bytes are there to be read.
func (s *stream) fill(n int) error {
	for s.w-s.r < n {
		s.makeRoom()
		got, err := s.conn.Read(s.buf[s.w:])
		s.w += got
		if err != nil && s.w-s.r < n {
			return err
		}
	}
	return nil
}

// makeRoom grows the buffer only when it is full of bytes that have arrived: a
// peer has to send half of what it makes us allocate.
func (s *stream) makeRoom() {
	if s.r > 0 {
		s.w = copy(s.buf, s.buf[s.r:s.w])
		s.r = 0
	}
	if s.w == len(s.buf) {
		s.buf = append(s.buf, make([]byte, max(readSize, len(s.buf)))...)
	}
}

// lengthError is a message longer than the server may still send.
type lengthError struct {
	typ    byte
	length uint32
	budget int
}

func (e *lengthError) Error() string {
	return fmt.Sprintf("protocol violation: message %q of length %d, at most %d bytes are allowed here",
		e.typ, e.length, e.budget)
}

func (e *lengthError) Unwrap() error { return ErrProtocol }
