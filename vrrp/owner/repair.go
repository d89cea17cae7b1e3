package owner

// repair names the rules of the protocol that were learnt from histories that went
// wrong. All are in force, always. The tests take one away at a time and must then
// find two
// owners (trap_test.go).
type repair uint32

const (
	// The refute window is as long as the owner's own record says.
	windowOfPromise repair = 1 << iota
	// While a claim stands, a read confirms nothing.
	claimBlocks
	// Who has acknowledged does not own before that has run out.
	keepPromise
	// All peers must acknowledge, not just one.
	everyPeer
	// Before a longer promise is used it stands in the record.
	promiseInRecord
	// A shorter promise counts before the record says so.
	capWhileShortening
	// Late acknowledgements of longer grants count as short ones once the owner has
	// asked for short ones.
	shortGrants
	// Nobody owns right after its own start: it may have promised not to.
	startWait
	// What was promised for an outage is known after a restart.
	rememberPromise
	// Who takes over by an offer adds the address after the release, or once the old
	// owner's promise has run out.
	transferWait
	// Without etcd every peer must agree before the address is added.
	askAll
	// A successor to a record adds nothing while the record's own predecessor may hold.
	inheritWait
	// A solo hold without etcd needs evidence that nobody has etcd.
	outageEvidence
)

// on says whether the rule is in force.
func (m *Machine) on(r repair) bool { return m.off&r == 0 }
