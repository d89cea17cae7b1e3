package config

// AuthType is how clients prove who they are: PgBouncer's auth_type.
type AuthType uint8

// The ways of authentication. AuthMD5 asks a user whose secret is a SCRAM
// verifier for SCRAM, as PgBouncer does.
const (
	AuthUnknown AuthType = iota
	AuthTrust
	AuthPlain
	AuthMD5
	AuthSCRAM
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
	default:
		panic("BUG: AuthType out of range")
	}
}

// PoolMode is when a server goes back to its pool: PgBouncer's pool_mode.
type PoolMode uint8

// The pool modes. PoolInherit stands only in User: the database decides.
const (
	PoolInherit PoolMode = iota
	PoolSession
	PoolTransaction
	PoolStatement
)

// String gives the name in the file.
func (m PoolMode) String() string {
	switch m {
	case PoolInherit:
		return "inherit"
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
