package corpus

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

// Authentication requests, PostgreSQL documentation, "Message Formats".
const (
	authOk           = 0
	authCleartext    = 3
	authMD5          = 5
	authSASL         = 10
	authSASLContinue = 11
	authSASLFinal    = 12
)

// maxMessage bounds what the player keeps of one server message. The corpus has
// none larger; more means that the peer has lost the protocol.
const maxMessage = 64 << 20

// LoginError is an ErrorResponse that came in place of the welcome.
type LoginError struct {
	Code    string // SQLSTATE
	Message string
}

// Error gives message and SQLSTATE.
func (e *LoginError) Error() string {
	return fmt.Sprintf("login: %s (SQLSTATE %s)", e.Message, e.Code)
}

// saltedPasswords remembers PBKDF2 results: a test logs in thousands of times
// with one password, and 4096 rounds each would be most of its run time. The
// zero value is ready; it is safe for concurrent use.
type saltedPasswords struct {
	mu   sync.Mutex
	keys map[string][]byte
}

func (s *saltedPasswords) get(password string, salt []byte, rounds int) ([]byte, error) {
	id := fmt.Sprintf("%d:%x:%s", rounds, salt, password)
	s.mu.Lock()
	defer s.mu.Unlock()
	if key, ok := s.keys[id]; ok {
		return key, nil
	}
	key, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	if err != nil {
		return nil, err
	}
	if s.keys == nil {
		s.keys = make(map[string][]byte)
	}
	s.keys[id] = key
	return key, nil
}

// login says the startup packet and proves the password, through send and r. It
// returns the welcome.
type login struct {
	target Target
	params []Param
	salted *saltedPasswords
	send   func([]byte) error
	r      *bufio.Reader

	// Of the SCRAM exchange under way.
	clientFirst string // client-first-message-bare
	serverProof []byte // expected ServerSignature
}

func (l *login) run() ([]byte, error) {
	if err := l.send(startupPacket(l.target, l.params)); err != nil {
		return nil, err
	}
	var welcome []byte
	ok := false
	for {
		raw, err := readMessage(l.r)
		if err != nil {
			return nil, fmt.Errorf("login: %w", err)
		}
		typ, body := raw[0], raw[5:]
		switch {
		case typ == 'E':
			return nil, loginError(body)
		case !ok && typ == 'R':
			if ok, err = l.authenticate(body); err != nil {
				return nil, fmt.Errorf("login: %w", err)
			}
		case !ok:
			return nil, fmt.Errorf("login: %c before AuthenticationOk", typ)
		default:
			welcome = append(welcome, raw...)
			if typ == 'Z' {
				return welcome, nil
			}
		}
	}
}

func startupPacket(t Target, params []Param) []byte {
	body := binary.BigEndian.AppendUint32(nil, protocolVersion)
	for _, p := range append([]Param{{"user", t.User}, {"database", t.Database}}, params...) {
		body = appendCString(appendCString(body, p.Name), p.Value)
	}
	body = append(body, 0)
	out := binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))
	return append(out, body...)
}

// authenticate answers one authentication request. It reports AuthenticationOk.
func (l *login) authenticate(body []byte) (ok bool, err error) {
	if len(body) < 4 {
		return false, errors.New("short authentication request")
	}
	request, rest := binary.BigEndian.Uint32(body), body[4:]
	switch request {
	case authOk:
		return true, nil
	case authCleartext:
		return false, l.send(message('p', appendCString(nil, l.target.Password)))
	case authMD5:
		return false, l.send(message('p', appendCString(nil, md5Answer(l.target, rest))))
	case authSASL:
		return false, l.scramFirst(rest)
	case authSASLContinue:
		return false, l.scramFinal(string(rest))
	case authSASLFinal:
		return false, l.scramVerify(string(rest))
	}
	return false, fmt.Errorf("authentication request %d is not supported", request)
}

func md5Answer(t Target, salt []byte) string {
	inner := md5.Sum([]byte(t.Password + t.User))
	outer := md5.Sum(append([]byte(hex.EncodeToString(inner[:])), salt...))
	return "md5" + hex.EncodeToString(outer[:])
}

// scramFirst sends client-first-message, RFC 5802 section 7.
func (l *login) scramFirst(mechanisms []byte) error {
	const mechanism = "SCRAM-SHA-256"
	if !bytes.Contains(mechanisms, []byte(mechanism+"\x00")) {
		return fmt.Errorf("no %s among %q", mechanism, mechanisms)
	}
	nonce := make([]byte, 18)
	rand.Read(nonce)
	l.clientFirst = "n=,r=" + base64.StdEncoding.EncodeToString(nonce)
	first := "n,," + l.clientFirst
	body := appendCString(nil, mechanism)
	body = binary.BigEndian.AppendUint32(body, uint32(len(first)))
	return l.send(message('p', append(body, first...)))
}

// scramFinal answers server-first-message with the proof.
func (l *login) scramFinal(serverFirst string) error {
	var nonce, salt64 string
	var rounds int
	for attr := range strings.SplitSeq(serverFirst, ",") {
		switch {
		case strings.HasPrefix(attr, "r="):
			nonce = attr[2:]
		case strings.HasPrefix(attr, "s="):
			salt64 = attr[2:]
		case strings.HasPrefix(attr, "i="):
			rounds, _ = strconv.Atoi(attr[2:])
		}
	}
	salt, err := base64.StdEncoding.DecodeString(salt64)
	if err != nil || rounds < 1 || nonce == "" {
		return fmt.Errorf("server-first-message %q", serverFirst)
	}
	salted, err := l.salted.get(l.target.Password, salt, rounds)
	if err != nil {
		return err
	}
	withoutProof := "c=biws,r=" + nonce
	exchange := l.clientFirst + "," + serverFirst + "," + withoutProof
	clientKey := hmacSHA256(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	proof := hmacSHA256(stored[:], exchange)
	for i := range proof {
		proof[i] ^= clientKey[i]
	}
	l.serverProof = hmacSHA256(hmacSHA256(salted, "Server Key"), exchange)
	return l.send(message('p', []byte(withoutProof+",p="+base64.StdEncoding.EncodeToString(proof))))
}

// scramVerify checks that the server knows the verifier too.
func (l *login) scramVerify(serverFinal string) error {
	if serverFinal != "v="+base64.StdEncoding.EncodeToString(l.serverProof) {
		return errors.New("wrong server signature")
	}
	return nil
}

func hmacSHA256(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// loginError reads SQLSTATE and message of an ErrorResponse.
func loginError(body []byte) error {
	var e LoginError
	for field := range bytes.SplitSeq(body, []byte{0}) {
		switch {
		case bytes.HasPrefix(field, []byte("C")):
			e.Code = string(field[1:])
		case bytes.HasPrefix(field, []byte("M")):
			e.Message = string(field[1:])
		}
	}
	return &e
}

// readMessage reads one whole server message, header included.
func readMessage(r *bufio.Reader) ([]byte, error) {
	header, err := r.Peek(5)
	if err != nil {
		if len(header) > 0 && errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w inside a header: %q", io.ErrUnexpectedEOF, header)
		}
		return nil, err
	}
	n := binary.BigEndian.Uint32(header[1:])
	if n < 4 || n > maxMessage {
		return nil, fmt.Errorf("message %q of %d bytes", header[0], n)
	}
	msg := make([]byte, n+1)
	if got, err := io.ReadFull(r, msg); err != nil {
		return nil, fmt.Errorf("inside a message, %d of %d bytes: %w", got, n+1, err)
	}
	return msg, nil
}
