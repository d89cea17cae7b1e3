package owner

import "cmp"

// Fitness is how well a node could serve clients now. The zero value is the worst.
type Fitness struct {
	Listening bool `json:"listening,omitempty"` // client ports accept
	Blind     bool `json:"blind,omitempty"`     // without news of the cluster
	Healthy   int  `json:"healthy,omitempty"`   // servers that are up
	Weight    int  `json:"weight,omitempty"`    // of tracked scripts, added to the priority
	// Fault says that this node must not own: an interface is down, a script of
	// weight 0 fails, or the operator drains it.
	Fault bool `json:"fault,omitempty"`
}

// Compare returns +1 when f is fitter than g, -1 when it is less fit, and 0 when
// only priorities tell them apart. Ports that accept come first, then news of the
// cluster, then servers.
func (f Fitness) Compare(g Fitness) int {
	return cmp.Or(
		-order(f.Fault, g.Fault),
		order(f.Listening, g.Listening),
		-order(f.Blind, g.Blind),
		cmp.Compare(f.Healthy, g.Healthy),
	)
}

func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
