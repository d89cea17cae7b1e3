package auth

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds on the iteration count that a server may ask for when pgvip has to
// derive keys from a password. RFC 7677 section 4 asks for 4096 at least: a
// false server that asks for less makes guessing the password cheaper. A
// million is above every recommendation in print (OWASP: 600,000) and costs
// about 0.3 s of CPU, which is all that a hostile server can take at a time.
const (
	DefaultMinIterations = 4096
	MaxIterations        = 1_000_000
)

// ErrExchange is wrapped by every error that says a server broke the rules of
// authentication.
var ErrExchange = errors.New("authentication exchange")

// scramClient is the client's half of one SCRAM-SHA-256 exchange, run with a
// password or with keys that a client has shown.
type scramClient struct {
	user       string
	credential Credential
	cache      *KeyCache
	min        int    // least iteration count
	binding    []byte // the channel binding of our TLS; nil without
	plus       bool   // the server has offered to be bound by it

	nonce       string
	keys        *Keys
	authMessage string
}

// first returns client-first. The user name stays empty as libpq leaves it: the
// server goes by that of the startup packet.
func (c *scramClient) first() []byte { return []byte(c.gs2() + c.firstBare()) }

// gs2 is the header before client-first: what we know of channel binding.
func (c *scramClient) gs2() string {
	switch {
	case c.plus:
		return "p=" + bindingType + ",,"
	case c.binding != nil:
		return "y,,"
	}
	return "n,,"
}

// choose picks a mechanism from the server's offer; "" when it knows none of ours.
func (c *scramClient) choose(offered []string) string {
	c.plus = c.binding != nil && slices.Contains(offered, mechanismPlus)
	switch {
	case c.plus:
		return mechanismPlus
	case slices.Contains(offered, mechanism):
		return mechanism
	}
	return ""
}

func (c *scramClient) firstBare() string { return "n=,r=" + c.nonce }

// next reads server-first and returns client-final.
func (c *scramClient) next(serverFirst []byte) ([]byte, error) {
	text := string(serverFirst)
	in := scanner{rest: text}
	nonce := in.next('r')
	saltText := in.next('s')
	countText := in.next('i')
	in.extensions(0)
	if in.end() != nil {
		return nil, fmt.Errorf("%w: malformed server-first-message", ErrExchange)
	}
	if !isNonce(nonce) || !strings.HasPrefix(nonce, c.nonce) || nonce == c.nonce {
		return nil, fmt.Errorf("%w: server's nonce does not extend ours", ErrExchange)
	}
	salt, err := parseSalt(saltText)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrExchange, err)
	}
	iterations, err := parseIterations(countText)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrExchange, err)
	}
	if c.keys, err = c.keysFor(salt, iterations); err != nil {
		return nil, err
	}
	channel := c.gs2()
	if c.plus {
		channel += string(c.binding)
	}
	withoutProof := "c=" + encode64([]byte(channel)) + ",r=" + nonce
	c.authMessage = c.firstBare() + "," + text + "," + withoutProof
	proof := clientProof(c.keys.ClientKey, c.keys.StoredKey, c.authMessage)
	return []byte(withoutProof + ",p=" + encode64(proof[:])), nil
}

// keysFor finds the keys for the salt and count that the server named.
func (c *scramClient) keysFor(salt []byte, iterations int) (*Keys, error) {
	if c.credential.Password == "" {
		keys := c.credential.Keys
		if keys.Iterations != iterations || string(keys.Salt) != string(salt) {
			return nil, &SecretError{User: c.user, Method: mechanism,
				Held: "a SCRAM verifier with another salt or iteration count than the server's",
				Remedy: "copy the role's rolpassword from the server's pg_authid again, or give the plain " +
					"password (a server where the role does not exist makes up a salt)"}
		}
		return keys, nil
	}
	if iterations < c.min || iterations > MaxIterations {
		return nil, fmt.Errorf("%w: server asks for %d SCRAM iterations, allowed are %d to %d",
			ErrExchange, iterations, c.min, MaxIterations)
	}
	return c.cache.derive(c.credential.Password, salt, iterations)
}

// finish reads server-final: only a server that knows the verifier can sign.
func (c *scramClient) finish(serverFinal []byte) error {
	in := scanner{rest: string(serverFinal)}
	if strings.HasPrefix(in.rest, "e=") {
		return fmt.Errorf("%w: server refused with %q", ErrExchange, in.value())
	}
	signatureText := in.next('v')
	in.extensions(0)
	var signature [keySize]byte
	if in.end() != nil || !decodeKey(&signature, signatureText) {
		return fmt.Errorf("%w: malformed server-final-message", ErrExchange)
	}
	want := hmacSHA256(c.keys.ServerKey[:], c.authMessage)
	if subtle.ConstantTimeCompare(signature[:], want[:]) != 1 {
		return fmt.Errorf("%w: server's signature is wrong: it does not know the user's secret", ErrExchange)
	}
	return nil
}
