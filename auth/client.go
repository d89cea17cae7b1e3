package auth

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/pgvip/pgvip/wire"
)

// SecretError says that a server wants what pgvip does not have. It is written
// for the operator, who has to supply the secret.
type SecretError struct {
	User   string
	Method string // what the server asks for
	Held   string // what pgvip has instead
	Remedy string
}

// Error names the user, what the server asks for and what is missing.
func (e *SecretError) Error() string {
	return fmt.Sprintf("user %q: server asks for %s: held here is %s: %s", e.User, e.Method, e.Held, e.Remedy)
}

// ClientConfig says who logs in to a server, and with what.
type ClientConfig struct {
	User       string
	Credential Credential

	// Cache spares repeated derivations of SCRAM keys from a password; nil for
	// none.
	Cache *KeyCache
	// MinIterations is the least SCRAM iteration count accepted from a server
	// when keys are derived from a password; 0 means DefaultMinIterations.
	MinIterations int
	// Binding is the channel binding of the TLS to the server (its
	// tls-server-end-point); nil without TLS.
	Binding []byte
	// Rand is the source of nonces; nil means crypto/rand.
	Rand io.Reader
}

// clientPhase is what a Client waits for.
type clientPhase int

const (
	awaitRequest clientPhase = iota // any Authentication message
	awaitVerdict                    // AuthenticationOk: the answer is sent
	awaitSASLContinue
	awaitSASLFinal
	clientOver
)

// Client logs pgvip in at a server. Each Authentication message goes to Step:
//
//	awaitRequest --Ok--> clientOver
//	    |--Cleartext, MD5--> awaitVerdict --Ok--> clientOver
//	    `--SASL--> awaitSASLContinue --> awaitSASLFinal --> awaitVerdict
//
// AuthenticationOk in the middle of SASL is refused: the server would not have
// proved that it knows the secret.
type Client struct {
	cfg   ClientConfig
	phase clientPhase
	scram *scramClient
}

// NewClient prepares one login.
func NewClient(cfg ClientConfig) *Client {
	if cfg.MinIterations == 0 {
		cfg.MinIterations = DefaultMinIterations
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	return &Client{cfg: cfg}
}

// Step reads the body of an Authentication message ('R') and returns the whole
// message to send, if any. done says that the server let pgvip in. Errors are a
// *SecretError or wrap ErrExchange; after one the login is over.
func (c *Client) Step(body []byte) (send []byte, done bool, err error) {
	send, done, err = c.step(body)
	if err != nil {
		// A server that failed to prove itself must not get in by an Ok.
		c.phase = clientOver
	}
	return send, done, err
}

func (c *Client) step(body []byte) (send []byte, done bool, err error) {
	if len(body) < 4 {
		return nil, false, fmt.Errorf("%w: Authentication message of %d bytes", ErrExchange, len(body))
	}
	code, data := binary.BigEndian.Uint32(body), body[4:]
	switch {
	case code == wire.AuthOk && (c.phase == awaitRequest || c.phase == awaitVerdict):
		c.phase = clientOver
		return nil, true, nil
	case code == wire.AuthSASLContinue && c.phase == awaitSASLContinue:
		return c.stepContinue(data)
	case code == wire.AuthSASLFinal && c.phase == awaitSASLFinal:
		c.phase = awaitVerdict
		return nil, false, c.scram.finish(data)
	case c.phase == awaitRequest:
		send, err = c.answer(code, data)
		return send, false, err
	}
	return nil, false, fmt.Errorf("%w: Authentication message %d out of turn", ErrExchange, code)
}

// answer replies to the server's first request.
func (c *Client) answer(code uint32, data []byte) ([]byte, error) {
	cred := c.cfg.Credential
	switch code {
	case wire.AuthCleartextPassword:
		if cred.Password == "" {
			return nil, c.missing("a cleartext password", "give the plain password")
		}
		c.phase = awaitVerdict
		return wire.AppendPassword(nil, cred.Password), nil
	case wire.AuthMD5Password:
		return c.answerMD5(data)
	case wire.AuthSASL:
		return c.answerSASL(data)
	case 2, 7, 8, 9:
		return nil, fmt.Errorf("%w: server asks for Kerberos, GSSAPI or SSPI (%d), which pgvip cannot do", ErrExchange, code)
	}
	return nil, fmt.Errorf("%w: unknown request %d", ErrExchange, code)
}

func (c *Client) answerMD5(salt []byte) ([]byte, error) {
	if len(salt) != saltSizeMD5 {
		return nil, fmt.Errorf("%w: MD5 salt of %d bytes", ErrExchange, len(salt))
	}
	cred := c.cfg.Credential
	stored := cred.MD5
	if cred.Password != "" {
		stored = HashMD5(cred.Password, c.cfg.User)
	}
	if !isMD5Hash(stored) {
		return nil, c.missing("an MD5 password", "give the plain password or the MD5 hash")
	}
	c.phase = awaitVerdict
	return wire.AppendPassword(nil, answerMD5(stored, salt)), nil
}

func (c *Client) answerSASL(data []byte) ([]byte, error) {
	cred := c.cfg.Credential
	c.scram = &scramClient{user: c.cfg.User, credential: cred, cache: c.cfg.Cache,
		min: c.cfg.MinIterations, binding: c.cfg.Binding}
	// A list of strings, each with its NUL, closed by an empty one.
	list, ok := bytes.CutSuffix(data, []byte{0, 0})
	chosen := c.scram.choose(strings.Split(string(list), "\x00"))
	if !ok || chosen == "" {
		return nil, fmt.Errorf("%w: server offers SASL mechanisms %q, pgvip knows %s", ErrExchange, data, mechanism)
	}
	if cred.Password == "" && cred.Keys == nil {
		return nil, c.missing(mechanism, "give the plain password, or let the client log in by SCRAM "+
			"against the same verifier as the server's")
	}
	var err error
	if c.scram.nonce, err = newNonce(c.cfg.Rand); err != nil {
		return nil, fmt.Errorf("draw a nonce: %w", err)
	}
	c.phase = awaitSASLContinue
	return wire.AppendSASLInitialResponse(nil, chosen, c.scram.first()), nil
}

func (c *Client) stepContinue(data []byte) (send []byte, done bool, err error) {
	reply, err := c.scram.next(data)
	if err != nil {
		return nil, false, err
	}
	c.phase = awaitSASLFinal
	return wire.AppendSASLResponse(nil, reply), false, nil
}

func (c *Client) missing(method, remedy string) error {
	return &SecretError{User: c.cfg.User, Method: method, Held: c.cfg.Credential.have(), Remedy: remedy}
}
