package owner

import "time"

// Record is the value of the owner key. It carries no lease: an owner that loses
// etcd goes on owning.
type Record struct {
	Owner string `json:"owner"` // node
	Boot  string `json:"boot"`  // of its main process
	Term  int64  `json:"term"`
	// Taken is the owner's clock when it took this term.
	Taken time.Duration `json:"taken"`
	// Hold is the longest promise that the owner may be living on: for that long
	// after a claim nobody else may own.
	Hold time.Duration `json:"hold"`
	// Wait is how long from the record's writing on the owner before may still have
	// the address, when it was taken over by its offer; 0 once that is settled.
	Wait    time.Duration `json:"wait,omitempty"`
	Fitness Fitness       `json:"fitness"`

	Mod int64 `json:"-"` // the key's mod revision; 0 when there is no key
}

// deed names one ownership. The term alone does not: one that was taken without
// etcd may be taken again by who has not heard of it.
type deed struct {
	node, boot string
	term       int64
	taken      time.Duration
}

func (r Record) deed() deed { return deed{r.Owner, r.Boot, r.Term, r.Taken} }

// Claim is the value of the claim key: somebody takes the owner for dead.
type Claim struct {
	Node   string `json:"node"`
	Boot   string `json:"boot"`
	Record int64  `json:"record"` // mod revision of the record that it is against

	Mod int64 `json:"-"` // the key's mod revision; 0 when there is no key
}

// Snapshot is both keys as they stood at one revision of etcd.
type Snapshot struct {
	Revision int64
	Record   Record
	Claim    Claim
}

// open says whether the claim is against the record as it stands.
func (s Snapshot) open() bool { return s.Claim.Mod != 0 && s.Claim.Record == s.Record.Mod }

// Reply is what etcd said.
type Reply struct {
	// Snapshot shows the keys after the request; it is taken by the request's own
	// transaction, or by the linearizable read itself.
	Snapshot Snapshot
	// Committed says that the guards held and the writes are done.
	Committed bool
	// Err says that the outcome is unknown.
	Err error
}
