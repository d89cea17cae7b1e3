package auth

import "strconv"

// Method is how a client has to prove itself.
type Method int

// The methods. The zero Method is none of them.
const (
	Trust    Method = iota + 1
	Password        // in clear text
	MD5             // or SCRAM, where the stored secret is a verifier
	SCRAM
	Any    // whoever it is, known or not
	Cert   // the name in the client's certificate
	Peer   // the owner of the process at the other end of a Unix socket
	Reject // nobody
)

// String returns the method's name in PgBouncer's auth_type or pg_hba.conf.
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
	case Any:
		return "any"
	case Cert:
		return "cert"
	case Peer:
		return "peer"
	case Reject:
		return "reject"
	}
	return "auth.Method(" + strconv.Itoa(int(m)) + ")"
}
