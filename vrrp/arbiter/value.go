package arbiter

import (
	"encoding/json"
	"time"

	"github.com/pgvip/pgvip/vrrp/owner"
)

// unreadableHold is the promise that an owner key may stand for which cannot be
// read: longer than any that an owner makes.
const unreadableHold = 3 * time.Second

// recordOf reads the owner key. One that an operator has spoilt names nobody, and
// is taken over as that of a dead owner would be: nothing else can come of it.
func recordOf(value []byte, mod int64) owner.Record {
	var r owner.Record
	if err := json.Unmarshal(value, &r); err != nil || r.Hold < 0 {
		r = owner.Record{Hold: unreadableHold}
	}
	r.Mod = mod
	return r
}

// claimOf reads the claim key; one that cannot be read claims nothing.
func claimOf(value []byte, mod int64) owner.Claim {
	var c owner.Claim
	if err := json.Unmarshal(value, &c); err != nil {
		c = owner.Claim{}
	}
	c.Mod = mod
	return c
}
