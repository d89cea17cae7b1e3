package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// keySize is the length of every key of SCRAM-SHA-256 in bytes.
const keySize = sha256.Size

// maxSalt bounds a salt in bytes. PostgreSQL makes salts of 16.
const maxSalt = 255

const (
	mechanism      = "SCRAM-SHA-256"
	verifierPrefix = mechanism + "$"
	md5Prefix      = "md5"
	md5Length      = len(md5Prefix) + 32
)

// Kind tells in what form a user's secret is known.
type Kind int

// The forms of a Secret. The zero Kind is that of the zero Secret, which no
// login can match.
const (
	NoSecret Kind = iota
	PlainSecret
	MD5Secret
	SCRAMSecret
)

// String names the kind for operators.
func (k Kind) String() string {
	switch k {
	case NoSecret:
		return "no secret"
	case PlainSecret:
		return "a plain password"
	case MD5Secret:
		return "an MD5 hash"
	case SCRAMSecret:
		return "a SCRAM verifier"
	}
	panic("BUG: unknown auth.Kind " + strconv.Itoa(int(k)))
}

// Secret is what is stored for a user: a plain password, an MD5 hash or a SCRAM
// verifier. It is immutable.
type Secret struct {
	kind     Kind
	text     string    // plain password or MD5 hash
	verifier *Verifier // SCRAMSecret only
}

// ParseSecret reads a secret as PostgreSQL stores it in pg_authid and PgBouncer
// in its auth_file: "md5" and 32 hexadecimal digits, or
// "SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey", or else a plain password.
// The empty text gives the zero Secret.
//
// PostgreSQL takes a damaged verifier for a plain password. Here it is an error:
// it is surely a copy gone wrong, and nobody could log in with it. The error
// does not contain the secret.
func ParseSecret(text string) (Secret, error) {
	switch {
	case text == "":
		return Secret{}, nil
	case strings.ContainsRune(text, 0):
		return Secret{}, errors.New("secret contains a zero byte")
	case isMD5Hash(text):
		return Secret{kind: MD5Secret, text: text}, nil
	case strings.HasPrefix(text, verifierPrefix):
		v, err := ParseVerifier(text)
		if err != nil {
			return Secret{}, err
		}
		return Secret{kind: SCRAMSecret, verifier: v}, nil
	}
	return Secret{kind: PlainSecret, text: text}, nil
}

// Kind returns the form of the secret.
func (s Secret) Kind() Kind { return s.kind }

// Credential returns what the secret alone lets pgvip log in with: nothing for
// a verifier, whose ClientKey only a client can show.
func (s Secret) Credential() Credential {
	switch s.kind {
	case PlainSecret:
		return Credential{Password: s.text}
	case MD5Secret:
		return Credential{MD5: s.text}
	case SCRAMSecret:
		return Credential{Verifier: true}
	}
	return Credential{}
}

// equal reports whether both say the same.
func (s Secret) equal(t Secret) bool {
	if s.kind != t.kind || s.kind != SCRAMSecret {
		return s.kind == t.kind && s.text == t.text
	}
	return s.verifier.Encode() == t.verifier.Encode()
}

// isMD5Hash applies PostgreSQL's own test (get_password_type): lower case only.
func isMD5Hash(text string) bool {
	if len(text) != md5Length || !strings.HasPrefix(text, md5Prefix) {
		return false
	}
	return strings.Trim(text[len(md5Prefix):], "0123456789abcdef") == ""
}

// Verifier is what a server keeps of a SCRAM password: enough to check a proof,
// not enough to make one.
type Verifier struct {
	Iterations int
	Salt       []byte
	StoredKey  [keySize]byte
	ServerKey  [keySize]byte
}

// ParseVerifier reads SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey. It is
// strict (canonical numbers and base64), so that Encode gives back the same
// text.
func ParseVerifier(text string) (*Verifier, error) {
	rest, ok := strings.CutPrefix(text, verifierPrefix)
	head, keys, ok2 := strings.Cut(rest, "$")
	iterations, salt, ok3 := strings.Cut(head, ":")
	stored, server, ok4 := strings.Cut(keys, ":")
	if !ok || !ok2 || !ok3 || !ok4 {
		return nil, errors.New("SCRAM verifier: not of the form SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey")
	}
	v := &Verifier{}
	var err error
	if v.Iterations, err = parseIterations(iterations); err != nil {
		return nil, fmt.Errorf("SCRAM verifier: %w", err)
	}
	if v.Salt, err = parseSalt(salt); err != nil {
		return nil, fmt.Errorf("SCRAM verifier: %w", err)
	}
	if !decodeKey(&v.StoredKey, stored) {
		return nil, errors.New("SCRAM verifier: StoredKey is not 32 bytes in base64")
	}
	if !decodeKey(&v.ServerKey, server) {
		return nil, errors.New("SCRAM verifier: ServerKey is not 32 bytes in base64")
	}
	return v, nil
}

// Encode writes the verifier as PostgreSQL stores it.
func (v *Verifier) Encode() string {
	return fmt.Sprintf("%s%d:%s$%s:%s", verifierPrefix, v.Iterations,
		encode64(v.Salt), encode64(v.StoredKey[:]), encode64(v.ServerKey[:]))
}

// parseIterations reads a count as RFC 5802 writes it: a positive number
// without sign and leading zeros. PostgreSQL keeps it in an int32.
func parseIterations(text string) (int, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 1 || n > math.MaxInt32 || strconv.FormatInt(n, 10) != text {
		return 0, errors.New("iteration count is not a positive number")
	}
	return int(n), nil
}

func parseSalt(text string) ([]byte, error) {
	if len(text) > base64.StdEncoding.EncodedLen(maxSalt) {
		return nil, errors.New("salt is too long")
	}
	salt, err := decode64(text)
	if err != nil || len(salt) == 0 || len(salt) > maxSalt {
		return nil, errors.New("salt is not valid base64")
	}
	return salt, nil
}

func decodeKey(key *[keySize]byte, text string) bool {
	if len(text) != base64.StdEncoding.EncodedLen(keySize) {
		return false
	}
	raw, err := decode64(text)
	return err == nil && len(raw) == keySize && copy(key[:], raw) == keySize
}

func encode64(raw []byte) string { return base64.StdEncoding.EncodeToString(raw) }

// decode64 refuses what would not re-encode to the same text: set padding bits,
// and the line breaks that encoding/base64 skips even when strict.
func decode64(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, base64.CorruptInputError(strings.IndexAny(text, "\r\n"))
	}
	return base64.StdEncoding.Strict().DecodeString(text)
}
