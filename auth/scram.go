package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"strings"
)

// maxSASLMessage bounds the body of a message of a SASL exchange in bytes, as
// PostgreSQL's PG_MAX_SASL_MESSAGE_LENGTH does, which counts the length word too. It
// is checked before any other work.
const maxSASLMessage = 1024 - 4

// Channel binding ties a proof to the TLS connection that it was made for, so that
// whoever sits in the middle of two cannot pass it on (RFC 5802 section 6). The
// data that both sides must agree on is the hash of the server's certificate, RFC
// 5929 section 4. The flag before a SCRAM message says what a client knows of it:
//
//	p=tls-server-end-point   it binds; the mechanism is SCRAM-SHA-256-PLUS
//	y                        it could, and thinks that the server cannot
//	n                        it cannot
const (
	mechanismPlus = mechanism + "-PLUS"
	bindingType   = "tls-server-end-point"
)

// nonceSize is the number of random bytes in our part of a nonce, before
// base64: as many as PostgreSQL uses.
const nonceSize = 18

// errAttribute says that a SCRAM message is not what its grammar asks for.
var errAttribute = errors.New("malformed attribute")

// scanner reads a SCRAM message attribute by attribute: "r=...,s=...,i=...".
// The first fault stays in err and makes every later read empty.
type scanner struct {
	rest string
	// read has a bit for each attribute letter met, to refuse repetitions.
	read uint64
	err  error
}

// next reads the attribute of the given letter.
func (s *scanner) next(letter byte) string {
	if s.err == nil && (len(s.rest) < 2 || s.rest[0] != letter) {
		s.err = errAttribute
	}
	return s.value()
}

// value reads whatever attribute comes next.
func (s *scanner) value() string {
	if s.err != nil {
		return ""
	}
	if len(s.rest) < 2 || !isLetter(s.rest[0]) || s.rest[1] != '=' {
		s.err = errAttribute
		return ""
	}
	bit := uint64(1) << (s.rest[0] - 'A')
	if s.read&bit != 0 {
		s.err = errAttribute
		return ""
	}
	s.read |= bit
	value, rest, more := strings.Cut(s.rest[2:], ",")
	if more && rest == "" {
		s.err = errAttribute
		return ""
	}
	s.rest = rest
	return value
}

// extensions skips optional extensions up to the attribute of the letter until,
// or to the end if it is 0. RFC 5802 section 5.1: unknown ones are ignored,
// and the letters that have a meaning are none.
func (s *scanner) extensions(until byte) {
	for s.err == nil && s.rest != "" && s.rest[0] != until {
		if strings.IndexByte("aceimnprsv", s.rest[0]) >= 0 {
			s.err = errAttribute
		}
		s.value()
	}
}

// end reports the first fault; a message with something left over is one.
func (s *scanner) end() error {
	if s.err == nil && s.rest != "" {
		s.err = errAttribute
	}
	return s.err
}

func isLetter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// isNonce: printable ASCII without the comma, at least one (RFC 5802 section 7).
func isNonce(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' || text[i] == ',' {
			return false
		}
	}
	return text != ""
}

// newNonce draws our part of the nonce.
func newNonce(random io.Reader) (string, error) {
	raw := make([]byte, nonceSize)
	if _, err := io.ReadFull(random, raw); err != nil {
		return "", err
	}
	return encode64(raw), nil
}

// clientProof is ClientKey XOR ClientSignature, RFC 5802 section 3. Applied to a
// proof instead of a key it gives back the key.
func clientProof(key, storedKey [keySize]byte, authMessage string) [keySize]byte {
	signature := hmacSHA256(storedKey[:], authMessage)
	for i := range key {
		key[i] ^= signature[i]
	}
	return key
}

// keyFromProof recovers the ClientKey from a proof and says whether it is the
// one that v was made from.
func keyFromProof(proof [keySize]byte, v *Verifier, authMessage string) ([keySize]byte, bool) {
	key := clientProof(proof, v.StoredKey, authMessage)
	stored := sha256.Sum256(key[:])
	return key, subtle.ConstantTimeCompare(stored[:], v.StoredKey[:]) == 1
}
