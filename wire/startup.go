package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// The first four bytes of a startup packet: a protocol version (major in the
// high half, minor in the low one) or one of the request codes, which sit in
// the otherwise unused major version 1234.
const (
	ProtocolVersion30 = 3 << 16
	ProtocolVersion32 = 3<<16 | 2

	// latestProtocol is the last one spoken here. Nothing ever spoke 3.1.
	latestProtocol = ProtocolVersion32

	CancelRequestCode = 1234<<16 | 5678
	SSLRequestCode    = 1234<<16 | 5679
	GSSENCRequestCode = 1234<<16 | 5680
)

// MaxStartupPacket bounds the body of a startup packet in bytes, the length
// word not counted. It is PostgreSQL's MAX_STARTUP_PACKET_LENGTH: a client that
// PostgreSQL would take is taken here too.
const MaxStartupPacket = 10000

// Bounds of the secret of a cancel request in bytes: always 4 in protocol 3.0,
// up to 256 since 3.2.
const (
	minCancelKey = 4
	maxCancelKey = 256
)

// Startup is one startup packet: a StartupMessage, or one of the three
// requests that come in its place.
type Startup struct {
	// Code is the protocol version (major version 3, any minor one) or a
	// request code.
	Code uint32

	// Params are the pairs of a StartupMessage in the order they came, "user",
	// "database", "options" and "replication" among them. Names may repeat.
	Params []Param

	// ProcessID and SecretKey name the session that a CancelRequest is about.
	ProcessID uint32
	SecretKey []byte
}

// StartupLength reads the length word, the first four bytes that a client
// sends, and returns how many bytes of the packet are still to come: 4 to
// MaxStartupPacket. Whatever lies outside is an *Error that ends the
// connection; it is found before anything is kept.
func StartupLength(hdr []byte) (n int, err error) {
	if len(hdr) < 4 {
		return 0, errStartupLength()
	}
	// The word counts itself. Unsigned arithmetic: a "negative" length is huge.
	word := binary.BigEndian.Uint32(hdr)
	if word < 8 || word > MaxStartupPacket+4 {
		return 0, errStartupLength()
	}
	return int(word) - 4, nil
}

// ParseStartup reads the body of a startup packet, the length word not
// included. What it returns shares no memory with body. Every error is an
// *Error to be sent before the connection is closed.
//
// Minor versions above those spoken here and unknown "_pq_." parameters are no
// errors: they call for NegotiateProtocolVersion, see Negotiate.
func ParseStartup(body []byte) (*Startup, error) {
	if len(body) < 4 || len(body) > MaxStartupPacket {
		return nil, errStartupLength()
	}
	s := &Startup{Code: binary.BigEndian.Uint32(body)}
	body = body[4:]
	switch s.Code {
	case SSLRequestCode, GSSENCRequestCode:
		if len(body) != 0 {
			return nil, errStartupLength()
		}
		return s, nil
	case CancelRequestCode:
		return s, s.parseCancel(body)
	}
	if s.Code>>16 != 3 {
		return nil, UnsupportedProtocol(s.Code)
	}
	return s, s.parseParams(body)
}

func (s *Startup) parseCancel(body []byte) error {
	if len(body) < 4+minCancelKey || len(body) > 4+maxCancelKey {
		return Fatal(CodeProtocolViolation, "invalid length of query cancel packet", "")
	}
	s.ProcessID = binary.BigEndian.Uint32(body)
	s.SecretKey = bytes.Clone(body[4:])
	return nil
}

// parseParams reads pairs of NUL-terminated strings up to an empty name, which
// has to be the last byte of the packet.
func (s *Startup) parseParams(body []byte) error {
	// One copy for all names and values, which are slices of it.
	rest := string(body)
	for {
		name, after, ok := strings.Cut(rest, "\x00")
		if !ok {
			return errStartupLayout()
		}
		if name == "" {
			rest = after
			break
		}
		value, after, ok := strings.Cut(after, "\x00")
		if !ok {
			return errStartupLayout()
		}
		s.Params = append(s.Params, Param{Name: name, Value: value})
		rest = after
	}
	if rest != "" {
		return errStartupLayout()
	}
	if user, _ := s.Get("user"); user == "" {
		return Fatal(CodeInvalidAuthorization, "no PostgreSQL user name specified in startup packet", "")
	}
	return nil
}

// Get returns the value of a parameter. Of a name that was sent more than once
// the last value counts, as in PostgreSQL.
func (s *Startup) Get(name string) (value string, ok bool) {
	for _, p := range slices.Backward(s.Params) {
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}

// Database returns the database asked for: the user's name when none is given
// or it is empty.
func (s *Startup) Database() string {
	if db, _ := s.Get("database"); db != "" {
		return db
	}
	user, _ := s.Get("user")
	return user
}

// Version is the protocol that is spoken with this client: the one it asked for,
// or the last that is known here.
func (s *Startup) Version() uint32 { return min(s.Code, latestProtocol) }

// Negotiate says whether the client must be told, by NegotiateProtocolVersion,
// that it gets less than it asked for: Version, and none of the protocol
// extensions returned in unknown (names that begin with "_pq_."). Since
// PostgreSQL 19 libpq asks for both on purpose, to find servers that ignore it.
func (s *Startup) Negotiate() (unknown []string, needed bool) {
	for _, p := range s.Params {
		if strings.HasPrefix(p.Name, "_pq_.") {
			unknown = append(unknown, p.Name)
		}
	}
	return unknown, s.Code > latestProtocol || len(unknown) > 0
}

// Append appends the whole packet, length word included. What ParseStartup has
// read comes out as the same bytes.
func (s *Startup) Append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, s.Code)
	switch s.Code {
	case SSLRequestCode, GSSENCRequestCode:
	case CancelRequestCode:
		dst = binary.BigEndian.AppendUint32(dst, s.ProcessID)
		dst = append(dst, s.SecretKey...)
	default:
		for _, p := range s.Params {
			dst = appendString(dst, p.Name)
			dst = appendString(dst, p.Value)
		}
		dst = append(dst, 0)
	}
	putLength(dst[start:], len(dst)-start)
	return dst
}

// appendString appends a NUL-terminated string. A NUL inside would shift all
// that follows, and PostgreSQL can hold none, so it is left out.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, strings.ReplaceAll(s, "\x00", "")...)
	return append(dst, 0)
}

// UnsupportedProtocol refuses a startup packet for its code, which may be a request
// that has been made before.
func UnsupportedProtocol(code uint32) *Error {
	return Fatal(CodeFeatureNotSupported, fmt.Sprintf("unsupported frontend protocol %d.%d: server supports 3.0 to %d.%d",
		code>>16, code&0xffff, latestProtocol>>16, latestProtocol&0xffff), "")
}

func errStartupLength() *Error {
	return Fatal(CodeProtocolViolation, "invalid length of startup packet", "")
}

func errStartupLayout() *Error {
	return Fatal(CodeProtocolViolation,
		"invalid startup packet layout: expected terminator as last byte", "")
}
