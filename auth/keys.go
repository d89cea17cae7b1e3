package auth

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
)

// Keys are the SCRAM keys of one user for one salt and iteration count. With
// them pgvip logs in to every server whose verifier has that salt and count.
type Keys struct {
	ClientKey  [keySize]byte
	StoredKey  [keySize]byte
	ServerKey  [keySize]byte
	Salt       []byte
	Iterations int
}

// Credential is what pgvip has in hand to log in to a server as a user. Any
// part may be empty; all empty is enough only where the server trusts.
type Credential struct {
	Password string
	MD5      string // "md5" and the hash of password and user name
	Keys     *Keys

	// Verifier says that a SCRAM verifier is stored, which opens nothing by
	// itself: it is for the operator who reads why a login failed.
	Verifier bool
}

// Opens reports whether there is anything to log in with.
func (c Credential) Opens() bool { return c.Password != "" || c.MD5 != "" || c.Keys != nil }

// have tells the operator what the credential consists of.
func (c Credential) have() string {
	switch {
	case c.Password != "":
		return PlainSecret.String()
	case c.Keys != nil:
		return "SCRAM keys"
	case c.MD5 != "":
		return MD5Secret.String()
	case c.Verifier:
		return "a SCRAM verifier, which opens no server before a client of the user has logged in by SCRAM"
	}
	return NoSecret.String()
}

// deriveKeys turns a password into its keys, RFC 5802 section 3. It costs
// iterations times two hashes (about a millisecond for 4096).
func deriveKeys(password string, salt []byte, iterations int) (*Keys, error) {
	salted, err := pbkdf2.Key(sha256.New, saslPrep(password), salt, iterations, keySize)
	if err != nil {
		return nil, fmt.Errorf("derive SCRAM keys: %w", err)
	}
	k := &Keys{Salt: salt, Iterations: iterations}
	k.ClientKey = hmacSHA256(salted, "Client Key")
	k.ServerKey = hmacSHA256(salted, "Server Key")
	k.StoredKey = sha256.Sum256(k.ClientKey[:])
	return k, nil
}

// Verifier returns what a server would store for these keys.
func (k *Keys) Verifier() *Verifier {
	return &Verifier{Iterations: k.Iterations, Salt: k.Salt, StoredKey: k.StoredKey, ServerKey: k.ServerKey}
}

func hmacSHA256(key []byte, message string) (sum [keySize]byte) {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	h.Sum(sum[:0])
	return sum
}

// KeyCache remembers derived keys, so that a thousand logins of one user cost
// one derivation. It holds no password: entries are found by a keyed hash of
// password, salt and count. A nil cache remembers nothing. It may be used from
// several goroutines.
type KeyCache struct {
	// Immutable after NewKeyCache.
	secret []byte
	limit  int

	mu      sync.Mutex
	entries map[[keySize]byte]*Keys
}

// NewKeyCache makes a cache of at most limit entries.
func NewKeyCache(limit int) *KeyCache {
	secret := make([]byte, keySize)
	_, _ = rand.Read(secret) // never fails, see crypto/rand
	return &KeyCache{secret: secret, limit: limit, entries: make(map[[keySize]byte]*Keys)}
}

// derive returns the keys for password, which the caller must not change.
// Goroutines that ask for the same new keys at the same time each derive them:
// that wastes a millisecond once, waiting for each other would cost a lock.
func (c *KeyCache) derive(password string, salt []byte, iterations int) (*Keys, error) {
	if c == nil || c.limit < 1 {
		return deriveKeys(password, salt, iterations)
	}
	id := c.id(password, salt, iterations)
	c.mu.Lock()
	keys := c.entries[id]
	c.mu.Unlock()
	if keys != nil {
		return keys, nil
	}
	keys, err := deriveKeys(password, salt, iterations)
	if err != nil {
		return nil, err
	}
	c.put(id, keys)
	return keys, nil
}

func (c *KeyCache) put(id [keySize]byte, keys *Keys) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for old := range c.entries {
		if len(c.entries) < c.limit {
			break
		}
		// Any entry will do: a full cache only costs time.
		delete(c.entries, old)
	}
	c.entries[id] = keys
}

// id hashes its inputs with their lengths, so that no two sets of inputs look
// alike.
func (c *KeyCache) id(password string, salt []byte, iterations int) (sum [keySize]byte) {
	h := hmac.New(sha256.New, c.secret)
	var numbers [24]byte
	binary.BigEndian.PutUint64(numbers[0:], uint64(len(password)))
	binary.BigEndian.PutUint64(numbers[8:], uint64(len(salt)))
	binary.BigEndian.PutUint64(numbers[16:], uint64(iterations))
	h.Write(numbers[:])
	h.Write([]byte(password))
	h.Write(salt)
	h.Sum(sum[:0])
	return sum
}
