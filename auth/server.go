package auth

import (
	"crypto/rand"
	"encoding/binary"
	"io"
)

// DefaultIterations is the SCRAM iteration count of verifiers that pgvip makes
// itself; PostgreSQL's and PgBouncer's default too.
const DefaultIterations = 4096

// saltSize is the length of the salts that pgvip makes, as PostgreSQL's.
const saltSize = 16

// ServerConfig tunes how clients are logged in. The zero value works.
type ServerConfig struct {
	// MockSecret makes the salts of users whose secret is no verifier or who do
	// not exist at all. Nodes that share it answer alike, and a restart changes
	// no salt, so that nobody can tell made-up users by that; empty means a
	// random one.
	MockSecret []byte
	// Iterations is the SCRAM count for the same users; 0 means
	// DefaultIterations. It should be that of the stored verifiers.
	Iterations int
	// MD5Share is how many of the users who do not exist are asked by method MD5
	// for an MD5 answer, 0 to 1; the others are asked for SCRAM. It should be the
	// share of those who do exist (UserList.MD5Share).
	MD5Share float64
	// Cache spares repeated derivations; nil for none.
	Cache *KeyCache
	// Rand is the source of nonces and salts; nil means crypto/rand.
	Rand io.Reader
}

// Server logs clients in. It is immutable; its Logins may run at the same time.
type Server struct {
	cfg ServerConfig
}

// NewServer makes a Server.
func NewServer(cfg ServerConfig) *Server {
	if len(cfg.MockSecret) == 0 {
		cfg.MockSecret = make([]byte, keySize)
		_, _ = rand.Read(cfg.MockSecret) // never fails, see crypto/rand
	}
	if cfg.Iterations == 0 {
		cfg.Iterations = DefaultIterations
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	return &Server{cfg: cfg}
}

// verifier returns what a SCRAM client is checked against, and whether it can
// succeed. Users without a fitting secret get a verifier that looks like all
// others and that no password matches.
func (s *Server) verifier(user string, secret Secret) (v *Verifier, doomed bool) {
	// For those who have a secret too, so that the time it takes tells nothing.
	salt := s.salt(user)
	unknown := &Verifier{Iterations: s.cfg.Iterations, Salt: salt,
		StoredKey: s.mock("stored key", user), ServerKey: s.mock("server key", user)}
	switch secret.kind {
	case SCRAMSecret:
		return secret.verifier, false
	case PlainSecret:
		keys, err := s.cfg.Cache.derive(secret.text, salt, s.cfg.Iterations)
		if err == nil {
			return keys.Verifier(), false
		}
	}
	return unknown, true
}

// salt is the same for a user at every login, whether the user exists or not.
func (s *Server) salt(user string) []byte {
	sum := s.mock("salt", user)
	return sum[:saltSize]
}

func (s *Server) mock(purpose, user string) [keySize]byte {
	return hmacSHA256(s.cfg.MockSecret, purpose+"\x00"+user)
}

// mocksMD5 says how a user who does not exist is asked by method MD5: always in
// the same way, and like as many others as there are.
func (s *Server) mocksMD5(user string) bool {
	sum := s.mock("share", user)
	return float64(binary.BigEndian.Uint32(sum[:])) < s.cfg.MD5Share*(1<<32)
}

// Warm derives what logins of users with a plain password need, so that not even
// their first takes longer than that of users who do not exist. turn runs each
// derivation and reports whether to go on.
func (s *Server) Warm(users *UserList, turn func(derive func()) bool) {
	for user, entry := range users.users {
		if entry.secret.kind == PlainSecret && !turn(func() { s.verifier(user, entry.secret) }) {
			return
		}
	}
}

// checkPassword compares a cleartext password with whatever is stored. A
// failure costs one derivation in every case, so that its time tells neither
// whether the user exists nor in what form the secret is kept.
func (s *Server) checkPassword(user, password string, secret Secret) bool {
	switch secret.kind {
	case PlainSecret:
		if equal(password, secret.text) {
			return true
		}
	case MD5Secret:
		if equal(HashMD5(password, user), secret.text) {
			return true
		}
	case SCRAMSecret:
		// Not through the cache: wrong passwords would push the right ones out.
		v := secret.verifier
		keys, err := deriveKeys(password, v.Salt, v.Iterations)
		return err == nil && equal(string(keys.StoredKey[:]), string(v.StoredKey[:]))
	}
	_, _ = deriveKeys(password, make([]byte, saltSize), s.cfg.Iterations)
	return false
}

// md5Hash returns the stored hash that an MD5 answer is checked against, and
// whether the check can succeed.
func (s *Server) md5Hash(user string, secret Secret) (hash string, doomed bool) {
	switch secret.kind {
	case MD5Secret:
		return secret.text, false
	case PlainSecret:
		return HashMD5(secret.text, user), false
	}
	unknown := s.mock("md5", user)
	return HashMD5(string(unknown[:]), user), true
}
