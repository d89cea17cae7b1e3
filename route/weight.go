package route

import (
	"slices"
	"strconv"
)

// weight is a server's share of the reads: what is configured here, else what
// Patroni's tag says, else 1.
func (b *builder) weight(name string) int {
	if p := b.in.Policy.Servers[name]; p.Weighted {
		return min(max(p.Weight, 0), MaxWeight)
	}
	if m := b.in.Topology.Member(name); m != nil {
		if w, err := strconv.Atoi(m.Tags[WeightTag]); err == nil && w >= 0 && w <= MaxWeight {
			return w
		}
	}
	return 1
}

// share is the weight that counts now, in steps of a slow start.
func (s Standing) share() int { return max(s.Weight*s.Throttle/warmStep, 1) }

// mostTurns bounds a round of turns. Weights that need more are made coarser.
const mostTurns = 4096

// turnsOf lays out one round of turns by smooth weighted round robin: each node
// gets as many as its share says, spread as evenly as can be. It depends on
// nothing but the shares, so that everybody who counts along agrees.
func turnsOf(t *Table) []*Node {
	shares := make([]int, len(t.Replicas))
	sum := 0
	for i, n := range t.Replicas {
		shares[i] = t.Standing(n).share()
		sum += shares[i]
	}
	divisor := 0
	for i := range shares {
		if sum > mostTurns {
			shares[i] = max(shares[i]*mostTurns/sum, 1)
		}
		divisor = gcd(shares[i], divisor)
	}
	sum = 0
	for i := range shares {
		shares[i] /= divisor
		sum += shares[i]
	}
	if sum == len(shares) {
		return t.Replicas // all alike
	}
	turns := make([]*Node, 0, sum)
	credit := make([]int, len(shares))
	for range sum {
		best := 0
		for i := range credit {
			credit[i] += shares[i]
			if credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= sum
		turns = append(turns, t.Replicas[best])
	}
	return turns
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Replica gives the read node of turn n, nil when there is none. The counter is
// the caller's: one for the whole process (rule 2).
func (t *Table) Replica(n uint64) *Node {
	turns := t.turns
	if len(turns) == 0 {
		turns = t.Replicas
	}
	switch {
	case len(turns) > 0:
		return turns[n%uint64(len(turns))]
	case t.Reads == ReadsOnPrimary:
		return t.Primary
	default:
		return nil
	}
}

// Reader gives the read node of turn n as Balance wants it. load tells how many
// readers a node has; it is asked only where that counts.
func (t *Table) Reader(n uint64, load func(*Node) int) *Node {
	if t.Balance != LeastConn || len(t.Replicas) < 2 {
		return t.Replica(n)
	}
	// Equals take turns, or the first would get every burst.
	first := int(n % uint64(len(t.Replicas)))
	var best *Node
	var bestLoad, bestShare int
	for _, r := range slices.Concat(t.Replicas[first:], t.Replicas[:first]) {
		l, share := load(r)+1, t.Standing(r).share()
		if best == nil || l*bestShare < bestLoad*share {
			best, bestLoad, bestShare = r, l, share
		}
	}
	return best
}
