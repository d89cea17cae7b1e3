package tlsconf

import "fmt"

// Mode is libpq's sslmode, with PgBouncer's meanings for each side.
type Mode uint8

// The modes, each stricter than the one before.
const (
	Disable    Mode = iota
	Allow           // clients: as Prefer; servers: only where they refuse plain TCP
	Prefer          // where the other side wants it
	Require         // always, with whomever
	VerifyCA        // always, with a certificate that the CA has signed
	VerifyFull      // the same, and to servers: in the host's name
)

// String gives the mode's name in the configuration.
func (m Mode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("tlsconf.Mode(%d)", uint8(m))
}

// modeNames are in the order of the modes.
var modeNames = [...]string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
