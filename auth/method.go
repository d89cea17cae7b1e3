package auth

import (
	"fmt"
	"strconv"
)

// Method is how a client has to prove itself.
type Method int

// The methods. The zero Method is none of them.
const (
	Trust    Method = iota + 1
	Password        // in clear text
	MD5             // or SCRAM, where the stored secret is a verifier
	SCRAM
)

// String returns the method's name in PgBouncer's auth_type.
func (m Method) String() string {
	switch m {
	case Trust:
		return "trust"
	case Password:
		return "plain"
	case MD5:
		return "md5"
	case SCRAM:
		return "scram-sha-256"
	}
	return "auth.Method(" + strconv.Itoa(int(m)) + ")"
}

// ParseMethod reads a method by PgBouncer's name, or "password", which is
// pg_hba.conf's name for plain.
func ParseMethod(name string) (Method, error) {
	if name == "password" {
		return Password, nil
	}
	for _, m := range []Method{Trust, Password, MD5, SCRAM} {
		if m.String() == name {
			return m, nil
		}
	}
	return 0, fmt.Errorf("unknown authentication method %q", name)
}
