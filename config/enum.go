package config

// AuthType is how clients prove who they are: PgBouncer's auth_type.
type AuthType uint8

// The ways of authentication. AuthMD5 asks a user whose secret is a SCRAM
// verifier for SCRAM, as PgBouncer does. AuthAny ignores the user, AuthHBA asks
// auth_hba_file for the way.
const (
	AuthUnknown AuthType = iota
	AuthTrust
	AuthPlain
	AuthMD5
	AuthSCRAM
	AuthAny
	AuthCert
	AuthPeer
	AuthHBA
)

// String gives the name in the file.
func (t AuthType) String() string {
	switch t {
	case AuthUnknown:
		return "unknown"
	case AuthTrust:
		return "trust"
	case AuthPlain:
		return "plain"
	case AuthMD5:
		return "md5"
	case AuthSCRAM:
		return "scram-sha-256"
	case AuthAny:
		return "any"
	case AuthCert:
		return "cert"
	case AuthPeer:
		return "peer"
	case AuthHBA:
		return "hba"
	default:
		panic("BUG: AuthType out of range")
	}
}

// PoolMode is when a server goes back to its pool: PgBouncer's pool_mode.
type PoolMode uint8

// The pool modes.
const (
	PoolSession PoolMode = iota
	PoolTransaction
	PoolStatement
)

// String gives the name in the file.
func (m PoolMode) String() string {
	switch m {
	case PoolSession:
		return "session"
	case PoolTransaction:
		return "transaction"
	case PoolStatement:
		return "statement"
	default:
		panic("BUG: PoolMode out of range")
	}
}

// SessionState is what transaction and statement mode do with a server on which
// a client has left more than a transaction: session_state.
type SessionState uint8

// The policies. StateReset cleans the server before anybody else gets it,
// StatePin leaves it to the client until that goes, StateRefuse gives an error
// to the statement that would leave state behind.
const (
	StateReset SessionState = iota
	StatePin
	StateRefuse
)

// String gives the name in the file.
func (s SessionState) String() string {
	switch s {
	case StateReset:
		return "reset"
	case StatePin:
		return "pin"
	case StateRefuse:
		return "refuse"
	default:
		panic("BUG: SessionState out of range")
	}
}
