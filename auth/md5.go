package auth

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/hex"
)

// saltSizeMD5 is the length of the salt of an MD5 challenge in bytes.
const saltSizeMD5 = 4

// HashMD5 returns what PostgreSQL stores for an MD5 password: "md5" and the
// hash of password and user name.
func HashMD5(password, user string) string {
	return md5Prefix + hexMD5(password+user)
}

// answerMD5 is the response to a challenge: the stored hash, without its
// prefix, hashed once more together with the salt.
func answerMD5(stored string, salt []byte) string {
	return md5Prefix + hexMD5(stored[len(md5Prefix):]+string(salt))
}

// hexMD5: broken as a hash, but the protocol knows no other.
func hexMD5(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

// equal compares secrets in a time that tells nothing about where they differ.
func equal(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}
